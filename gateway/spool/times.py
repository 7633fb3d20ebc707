"""Times of what is stored, and a wall clock that jumps: every time moves along, so that ages and waits stay what they
were. The lock's time of change says when the shard was looked after last.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from gateway.model.value import replace
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_BACK = 10.0
"""Seconds by which the clock may be behind the last look without having been set back."""
LONGEST_GAP = 86_400.0
"""Seconds for which nobody looked that count as time at most: mail that could not be tried meanwhile is not given up,
and a clock that was wrong when the mail came is no reason to."""
_RECENT = 86_400.0
"""Traces of so many seconds move along: older ones were written under another clock, perhaps a right one."""
_AT_ONCE = 1000


def last_look(lock: Path) -> float | None:
    """When the shard was looked after last, by the wall clock of then; None when that is not known."""
    with suppress(OSError):
        return lock.stat().st_mtime
    return None


def note_look(lock: Path, now: float) -> None:
    """It is looked after now."""
    with suppress(OSError):
        os.utime(lock, (now, now))


def find_move(last: float | None, now: float) -> float:
    """Seconds by which stored times have to move: the clock was set back, or nobody looked for long. 0 as a rule."""
    if last is None:
        return 0.0
    if last - now > _BACK:
        return now - last
    return max(now - last - LONGEST_GAP, 0.0)


def move_times(connection: sqlite3.Connection, seconds: float, before: float) -> None:
    """Move every time that decides about anything, inside a transaction that the caller holds. `before` is the time
    that it was on the old clock."""
    for query in ("move_transfers", "move_messages", "move_holds", "move_unanswered", "move_greylist"):
        connection.execute(QUERIES[query], {"seconds": seconds})
    connection.execute(QUERIES["move_traces"], {"seconds": seconds, "since": before - _RECENT})
    after = -1
    while rows := connection.execute(QUERIES["read_bodies"], (after, _AT_ONCE)).fetchall():
        after = rows[-1][0]
        connection.executemany(QUERIES["write_body"], [(body, n) for n, old in rows if (body := _move(old, seconds))])


def _move(body: bytes, seconds: float) -> bytes | None:
    """A transfer's body with the other time of reception; None when it cannot be read."""
    try:
        transfer = codec.TRANSFER.unpack(body)
    except codec.Unreadable:
        return None
    return codec.TRANSFER.pack(replace(transfer, created=transfer.created + seconds))
