"""What commands need to look at a spool: the configuration and the readers. It loads no rules and no listener."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.config import load
from gateway.config.model import Config
from gateway.spool.view import ShardedView


def read_config(path: Path, copies: bool = False) -> Config:
    """The configuration with what the environment adds. Raises ConfigErrors.

    With `copies` nothing is said of the maps: the last good copy stands in for one that is broken.
    """
    return load.load(path, os.environ, check_maps=not copies)


def find_spool(path: Path) -> Path:
    """The spool of a configuration file, even while the rest of the file is wrong. Raises ConfigErrors."""
    return load.find_spool(path, os.environ)


def open_reader(config: Config) -> ShardedView:
    """The spool to look at, whether the gateway runs or not. Raises SpoolUnusable."""
    return ShardedView(config.server.spool)
