"""Rows of messages whose client has not been told yet that they are stored. What a dead process left are those of
clients that never will be. Every function runs inside a transaction that its caller holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from gateway.plan.repetition import REMEMBERED
from gateway.spool import codec
from gateway.spool.queries import QUERIES


def put(connection: sqlite3.Connection, n: int, fingerprint: bytes, received: float) -> None:
    """A message is stored, and its client is not told yet."""
    connection.execute(QUERIES["insert_unanswered"], (n, fingerprint, received))


def note(connection: sqlite3.Connection, answers: Collection[tuple[str, bool]]) -> None:
    """Ids of messages, each with whether its client was told."""
    for query, told in (("forget_answered", True), ("mark_unheard", False)):
        ids = [codec.as_text(id) for id, heard in answers if heard is told]
        if ids:
            connection.execute(QUERIES[query], (json.dumps(ids),))


def find(connection: sqlite3.Connection, fingerprint: bytes, now: float) -> str | None:
    """The message of this fingerprint whose client was not told."""
    row = connection.execute(QUERIES["find_unheard"], (fingerprint, now - REMEMBERED)).fetchone()
    return row[0] if row else None


def are_there_any(connection: sqlite3.Connection) -> bool:
    """Some client was not told."""
    return bool(connection.execute(QUERIES["any_unheard"]).fetchone()[0])


def forget(connection: sqlite3.Connection, now: float) -> int:
    """Remove those whose retry would have come; how many went."""
    return connection.execute(QUERIES["forget_unanswered"], (now - REMEMBERED,)).rowcount
