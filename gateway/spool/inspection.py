"""Looking over a whole shard: can each row be read, is all content there and what was received, is everything in one
state. It changes nothing, needs no lock, and may run beside the gateway."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.spool import codec
from gateway.spool.content import CHUNK
from gateway.spool.disk import CONTENT, DATABASE, Disk, SpoolUnusable
from gateway.spool.queries import QUERIES

_AT_ONCE = 200
"""Rows looked at in one transaction, so that the gateway's log is not held up."""


@dataclass(slots=True)
class Inspection:
    """What was found."""

    traces: int = 0
    messages: int = 0
    octets: int = 0
    """Of content."""
    waiting: int = 0
    """Transfers."""
    held: int = 0
    """Transfers that are kept back."""
    unclaimed_files: int = 0
    """Content files that no row names: just being written, or left by a crash and removed at the next start."""
    problems: list[str] = field(default_factory=list)


def inspect_shard(shard: Path, found: Inspection, tell: Callable[[int], None] = lambda done: None) -> None:
    """Add what is found in a shard's directory. `tell` gets the number of rows seen now and then. Raises SpoolUnusable
    when there is nothing to look at."""
    try:
        connection = Disk().connect(shard / DATABASE, True)
        try:
            found.problems += _check_pages(connection, shard)
            for table, look in (
                ("trace", _look_at_trace),
                ("message", _look_at_message),
                ("transfer", _look_at_transfer),
            ):
                for done, row in enumerate(_rows(connection, f"inspect_{table}")):
                    look(connection, shard, row, found)
                    if done % _AT_ONCE == 0:
                        tell(done)
            _look_at_files(connection, shard, found)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SpoolUnusable(f"spool {shard} cannot be read: {error}") from error


def _check_pages(connection: sqlite3.Connection, shard: Path) -> list[str]:
    said = [line for (line,) in connection.execute("PRAGMA quick_check")]
    return [] if said == ["ok"] else [f"{shard / DATABASE}: {line}" for line in said]


def _rows(connection: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """All rows by their number, a few at a time."""
    after = 0
    while rows := connection.execute(QUERIES[query], (after, _AT_ONCE)).fetchall():
        yield from rows
        after = rows[-1][0]


def _look_at_trace(connection: sqlite3.Connection, shard: Path, row: tuple[Any, ...], found: Inspection) -> None:
    n, id, body = row
    found.traces += 1
    _try_to_read(codec.TRACE, body, f"trace {id}", found)
    for (attempt,) in connection.execute(QUERIES["read_attempts"], (n,)):
        _try_to_read(codec.ATTEMPT, attempt, f"attempt of {id}", found)


def _look_at_message(connection: sqlite3.Connection, shard: Path, row: tuple[Any, ...], found: Inspection) -> None:
    n, id, size, sha256, path, data, idle = row
    found.messages += 1
    found.octets += size
    name = f"message {id}"
    if id is None:
        found.problems.append(f"message in row {n}: has no trace")
    if idle:
        found.problems.append(f"{name}: waits for nothing, is not held, and has no end")
    digest = hashlib.sha256(data or b"").digest() if path is None else _hash_file(shard / CONTENT / path)
    if digest == sha256:
        return
    # It may have ended since the row was read; then the row is gone too.
    if connection.execute(QUERIES["has_message"], (n,)).fetchone():
        found.problems.append(f"{name}: content is {'missing' if digest is None else 'not what was received'}")


def _look_at_transfer(connection: sqlite3.Connection, shard: Path, row: tuple[Any, ...], found: Inspection) -> None:
    n, id, wake, rcpts, body, has_message, held = row
    found.waiting += wake is not None
    found.held += wake is None
    if _try_to_read(codec.RECIPIENTS, rcpts, f"recipients of {id}", found) == ():
        found.problems.append(f"transfer {id}: has no recipient")
    _try_to_read(codec.TRANSFER, body, f"transfer {id}", found)
    if not has_message and connection.execute(QUERIES["has_transfer"], (n,)).fetchone():
        found.problems.append(f"transfer {id}: its message is gone")
    if wake is None and has_message and not held:
        found.problems.append(f"transfer {id}: is held, and its message is not")


def _look_at_files(connection: sqlite3.Connection, shard: Path, found: Inspection) -> None:
    there = {entry.name for entry in (shard / CONTENT).iterdir()}
    named = {name for (name,) in connection.execute(QUERIES["content_paths"])}
    found.unclaimed_files += len(there - named)


def _try_to_read(reader: codec.Codec[Any], octets: bytes, name: str, found: Inspection) -> Any:
    try:
        return reader.unpack(octets)
    except codec.Unreadable as error:
        found.problems.append(f"{name}: unreadable: {error}")
        return None


def _hash_file(path: Path) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()
