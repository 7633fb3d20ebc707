"""The needs of commands that read a spool: the configuration and the readers. It loads no rules and no listener."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gateway.config import load
from gateway.config.load import PartialConfig
from gateway.config.model import Config
from gateway.spool.view import ShardedView


def read_config(path: Path, copies: bool = False) -> Config:
    """The configuration with values from the environment. Raises ConfigErrors.

    With `copies` faults of maps are not reported: the last good copy replaces a broken one.
    """
    return load.load(path, os.environ, check_maps=not copies)


def read_partly(path: Path, warn: Callable[[str], None] | None = None) -> PartialConfig:
    """The valid part of the configuration, for commands that are needed in an emergency; `warn` is called with the
    mistakes. Raises ConfigErrors when the file does not say where the spool is."""
    found = load.load_partly(path, os.environ)
    if found.mistakes and warn is not None:
        warn(found.warn())
    return found


def open_reader(config: Config) -> ShardedView:
    """A reader of the spool, whether the gateway runs or not. Raises SpoolUnusable."""
    return ShardedView(config.server.spool)
