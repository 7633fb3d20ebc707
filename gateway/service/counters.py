"""Counters in files that all workers' processes share, so that any of them can show the sum.

A worker that takes a dead one's place goes on with its files: a counter never falls, and there are never more files
than workers.
"""

from __future__ import annotations

import errno
import os
from itertools import product
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

DIRECTORY = "metrics"
"""Below the spool's: the one place that a gateway can surely write to."""
_KINDS = ("counter", "histogram")
_OCTETS = 262_144
"""Of a file: several times what all counters of a worker take."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def clear_counters(spool: Path, workers: int) -> bool:
    """Begin anew. Before the first worker counts. False when there is no room for the files: then each worker shows
    its own counts. Raises OSError for a spool that cannot be written to."""
    directory = spool / DIRECTORY
    try:
        for made in (spool, directory):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink():
            raise OSError(errno.ELOOP, f"{DIRECTORY} is a link")
        for file in directory.glob("*.db"):
            file.unlink()
        for worker, kind in product(range(workers), _KINDS):
            _allocate(directory / f"{kind}_{worker}.db")
    except OSError as error:
        if error.errno in _NO_ROOM:
            return False
        raise OSError(error.errno, f"spool {spool} cannot be written to: {error.strerror}") from error
    return True


def _allocate(path: Path) -> None:
    """Room for a file that is mapped: one with holes ends the process when the disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _OCTETS)
    finally:
        os.close(descriptor)


def share_counters(spool: Path, worker: int) -> CollectorRegistry:
    """From now on metrics that this process makes are kept in the shared files; gives what shows the sum of all."""
    directory = str(spool / DIRECTORY)
    os.environ[_VARIABLE] = directory
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return registry
