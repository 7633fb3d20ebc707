"""The named statements of queries.sql and index.sql, and the steps of schema.sql, read once."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from importlib.resources import files

from gateway.spool.disk import SpoolUnusable

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_VERSION = re.compile(r"^-- version: (\d+)\n", re.MULTILINE)


def _read(name: str) -> str:
    return (files("gateway.spool") / name).read_text("utf-8")


def _split(text: str, heading: re.Pattern[str]) -> list[tuple[str, str]]:
    """(heading, text below it) pairs in order."""
    parts = heading.split(text)
    return [(parts[at], parts[at + 1].strip()) for at in range(1, len(parts), 2)]


QUERIES: Mapping[str, str] = dict(_split(_read("queries.sql"), _NAME))
"""Statement text by name."""

INDEX_QUERIES: Mapping[str, str] = dict(_split(_read("index.sql"), _NAME))
"""The statements of the search index, and those by which it is derived."""

STEPS: Sequence[str] = tuple(script for _, script in _split(_read("schema.sql"), _VERSION))
"""The script from each version to the next, beginning with an empty file."""


def check_version(connection: sqlite3.Connection, place: str, steps: Sequence[str] = STEPS) -> int:
    """The version of the tables, 0 for an empty file. Raises SpoolUnusable when a newer program wrote them."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(steps):
        raise SpoolUnusable(
            f"spool {place} has format {version}, written by a newer version; this one reads up to {len(steps)}"
        )
    return version


def migrate(connection: sqlite3.Connection, place: str, steps: Sequence[str] = STEPS) -> None:
    """Bring the tables up to date, a step and its version number in one transaction. Raises SpoolUnusable."""
    for version in range(check_version(connection, place, steps), len(steps)):
        script = f"BEGIN IMMEDIATE;\n{steps[version]}\nPRAGMA user_version = {version + 1};\nCOMMIT;"
        try:
            connection.executescript(script)
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise SpoolUnusable(f"spool {place} cannot be brought to format {version + 1}: {error}") from error
    connection.execute(QUERIES["make_move"])
