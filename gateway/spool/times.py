"""Stored times under a jumping wall clock: every time moves along, so that ages and waits stay the same. The
modification time of the lock is the time of the shard's last check."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from gateway.model.value import replace
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_BACK = 10.0
"""Seconds by which the clock may be behind the last check without having been set back."""
LONGEST_GAP = 86_400.0
"""The longest gap between checks, in seconds, that counts as elapsed time. Mail that could not be tried in a longer gap
does not expire, nor does mail that arrived under a wrong clock."""
_RECENT = 86_400.0
"""Traces of so many seconds move along. Older ones were written under another clock, which may have been right."""
_AT_ONCE = 1000


def last_look(lock: Path) -> float | None:
    """The time of the shard's last check, by the wall clock of then; None when it is not known."""
    with suppress(OSError):
        return lock.stat().st_mtime
    return None


def note_look(lock: Path, now: float) -> None:
    """Record a check now."""
    with suppress(OSError):
        os.utime(lock, (now, now))


def find_move(last: float | None, now: float) -> float:
    """Seconds by which stored times have to move: the clock was set back, or the gap between checks was long. Usually
    0."""
    if last is None:
        return 0.0
    if last - now > _BACK:
        return now - last
    return max(now - last - LONGEST_GAP, 0.0)


def move_times(connection: sqlite3.Connection, seconds: float, before: float) -> None:
    """Move every time that a decision depends on, inside a transaction that the caller holds. `before` is the time on
    the old clock."""
    for query in ("move_transfers", "move_messages", "move_holds", "move_unanswered", "move_greylist"):
        connection.execute(QUERIES[query], {"seconds": seconds})
    connection.execute(QUERIES["move_traces"], {"seconds": seconds, "since": before - _RECENT})
    after = -1
    while rows := connection.execute(QUERIES["read_bodies"], (after, _AT_ONCE)).fetchall():
        after = rows[-1][0]
        connection.executemany(QUERIES["write_body"], [(body, n) for n, old in rows if (body := _move(old, seconds))])


def _move(body: bytes, seconds: float) -> bytes | None:
    """A transfer's body with the moved time of reception; None when it cannot be read."""
    try:
        transfer = codec.TRANSFER.unpack(body)
    except codec.Unreadable:
        return None
    return codec.TRANSFER.pack(replace(transfer, created=transfer.created + seconds))
