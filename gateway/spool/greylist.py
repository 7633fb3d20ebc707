"""The rows of the greylist, bounded even in a flood. Every function that writes runs inside a transaction that its
caller holds."""

from __future__ import annotations

import sqlite3

from gateway.model.history import Acquaintance
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_MOST_ROWS = 100_000
"""Accepted senders are removed last."""
_FORGOTTEN_AT_ONCE = 2000


def remember(connection: sqlite3.Connection, known: Acquaintance) -> None:
    """Store an entry. An accepted sender stays accepted until its entry expires."""
    row = (codec.as_text(known.key), known.first, known.passed, known.expires)
    connection.execute(QUERIES["remember_acquaintance"], row)


def recall(connection: sqlite3.Connection, key: str) -> Acquaintance | None:
    """The entry of a sender; it may have expired."""
    row = connection.execute(QUERIES["recall_acquaintance"], (codec.as_text(key),)).fetchone()
    return Acquaintance(key, row[0], bool(row[1]), row[2]) if row else None


def forget(connection: sqlite3.Connection, now: float) -> int:
    """Remove expired entries and those beyond the limit; gives their number."""
    expired = connection.execute(QUERIES["forget_expired"], (now, _FORGOTTEN_AT_ONCE)).rowcount
    surplus = connection.execute(QUERIES["count_acquaintances"]).fetchone()[0] - _MOST_ROWS
    if surplus <= 0:
        return expired
    return expired + connection.execute(QUERIES["forget_surplus"], (min(surplus, _FORGOTTEN_AT_ONCE),)).rowcount
