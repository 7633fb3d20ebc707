"""The needs of commands that read a spool: the configuration and the readers. It loads no rules and no listener."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.config import load
from gateway.config.model import Config
from gateway.spool.view import ShardedView


def read_config(path: Path, copies: bool = False) -> Config:
    """The configuration with values from the environment. Raises ConfigErrors.

    With `copies` faults of maps are not reported: the last good copy replaces a broken one.
    """
    return load.load(path, os.environ, check_maps=not copies)


def find_spool(path: Path) -> Path:
    """The spool of a configuration file, even if the file has other mistakes. Raises ConfigErrors."""
    return load.find_spool(path, os.environ)


def open_reader(config: Config) -> ShardedView:
    """A reader of the spool, whether the gateway runs or not. Raises SpoolUnusable."""
    return ShardedView(config.server.spool)
