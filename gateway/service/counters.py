"""Counters in files that all workers' processes share, so that any of them can show the sum.

A worker that takes a dead one's place goes on with its files: a counter never falls, and there are never more files
than workers.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

DIRECTORY = "metrics"
"""Below the spool's: the one place that a gateway can surely write to."""
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def clear_counters(spool: Path) -> None:
    """Begin anew. Before the first worker counts. Raises OSError."""
    directory = spool / DIRECTORY
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)


def share_counters(spool: Path, worker: int) -> CollectorRegistry:
    """From now on metrics that this process makes are kept in the shared files; gives what shows the sum of all."""
    directory = str(spool / DIRECTORY)
    os.environ[_VARIABLE] = directory
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return registry
