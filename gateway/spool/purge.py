"""Removing what retention no longer asks for, a little at a time, inside a transaction that its caller holds."""

from __future__ import annotations

import sqlite3

from gateway.spool import greylist, senders, unanswered
from gateway.spool.queries import QUERIES
from gateway.spool.rows import RetentionPeriods

_PURGED_AT_ONCE = 400
_FREE_PAGES_KEPT = 4096
"""Freed pages are used again: only what goes beyond this many is given back to the file system."""
_PAGES_FREED_AT_ONCE = 512
PURGED_OCTETS = 4_194_304
"""What one round may write to the log."""


def purge(connection: sqlite3.Connection, retention: RetentionPeriods, now: float) -> tuple[int, tuple[str, ...]]:
    """How many rows and pages went, and the content files that no row names any more."""
    stale = connection.execute(QUERIES["stale_messages"], (now, _PURGED_AT_ONCE)).fetchall()
    connection.executemany(QUERIES["delete_message"], ((n,) for n, _ in stale))
    before = now - retention.trace_seconds
    traces = connection.execute(QUERIES["stale_traces"], (before, _PURGED_AT_ONCE)).fetchall()
    traces += _find_surplus(connection, retention.refused_octets)
    connection.executemany(QUERIES["delete_attempts"], traces)
    connection.executemany(QUERIES["delete_acts"], traces)
    connection.executemany(QUERIES["delete_trace"], traces)
    forgotten = senders.forget(connection) + greylist.forget(connection, now) + unanswered.forget(connection, now)
    freed = _shrink(connection)
    return len(stale) + len(traces) + forgotten + freed, tuple(path for _, path in stale if path)


def _find_surplus(connection: sqlite3.Connection, most: int) -> list[tuple[int]]:
    """The oldest traces of refused mail that there is no room for: whoever floods us must not fill the disk."""
    surplus = connection.execute(QUERIES["refused_octets"]).fetchone()[0] - most
    found: list[tuple[int]] = []
    if surplus > 0:
        for n, octets in connection.execute(QUERIES["oldest_refused"], (_PURGED_AT_ONCE,)):
            found.append((n,))
            surplus -= octets
            if surplus <= 0:
                break
    return found


def _shrink(connection: sqlite3.Connection) -> int:
    """Give some free pages back; how many. One at a time: Python's sqlite3 takes a single step of this pragma."""
    free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    surplus = max(min(free - _FREE_PAGES_KEPT, _PAGES_FREED_AT_ONCE), 0)
    for _ in range(surplus):
        connection.execute("PRAGMA incremental_vacuum(1)")
    return surplus
