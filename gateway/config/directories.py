"""Directories on other servers, as [routing] and [submission] name them: what the services need of each."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class MapSource(Protocol):
    """A directory of addresses somewhere else."""

    @property
    def name(self) -> str: ...

    def fetch(self, into: Path) -> bool:
        """Write all its addresses as a CSV map; False when nothing has changed since the last time that this wrote
        one. Blocks, but not beyond the configured time. Raises MapUnavailable."""

    def forget(self) -> None:
        """What was written last is of no use: the next one is written whether it has changed or not."""


class LoginSource(Protocol):
    """A directory of people who may log in."""

    def check(self, name: str, password: str) -> bool:
        """It is this person's password. Blocks; raises LoginsUnavailable when nobody can tell."""


class LoginsUnavailable(Exception):
    """The directory did not answer; the text says why."""


class MapUnavailable(Exception):
    """A map could not be fetched; the text says why."""
