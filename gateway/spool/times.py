"""Stored times under a jumping wall clock: every time moves along, so that ages and waits stay the same. The
modification time of the lock is the time of the shard's last check, its access time the machine's running time by then.
The database has the seconds by which times were moved since that check."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from gateway.model.value import Value, replace
from gateway.spool import codec
from gateway.spool.disk import find_boot, read_boot
from gateway.spool.queries import QUERIES

_BACK = 10.0
"""Seconds by which the clock may be wrong without having been set."""
LONGEST_GAP = 86_400.0
"""The longest gap between checks, in seconds, that counts as elapsed time. Mail that could not be tried in a longer gap
does not expire, nor does mail that arrived under a wrong clock."""
_RECENT = 86_400.0
"""Traces of so many seconds move along. Older ones were written under another clock, which may have been right."""
_SAME = 1.0
"""Seconds by which two measurements of one jump may differ."""
_AT_ONCE = 1000


class Look(Value):
    """The last check of a shard."""

    at: int
    """Its time by the wall clock of then, in nanoseconds."""
    elapsed: float | None
    """Seconds for which the machine has run since then. None when they are unknown, as after its restart."""


def last_look(lock: int, monotonic: float) -> Look | None:
    """The last check; None when there was none."""
    with suppress(OSError):
        state = os.fstat(lock)
        if not state.st_size:
            return None  # just created
        elapsed = monotonic - state.st_atime_ns / 1e9
        # A program that has read the file, or an older version, has stored the wall clock there, which is far ahead.
        known = elapsed >= 0 and read_boot(lock) == find_boot()
        return Look(state.st_mtime_ns, elapsed if known else None)
    return None


def note_look(lock: int, now: float, monotonic: float) -> None:
    """Record a check now."""
    with suppress(OSError):
        os.utime(lock, ns=(round(monotonic * 1e9), round(now * 1e9)))


def find_move(last: float | None, now: float, elapsed: float | None = None) -> float:
    """Seconds by which stored times have to move: the clock was set, or the gap between checks was long. Usually 0.

    `elapsed` is the machine's running time since the last check. Without it, a clock that was set forward counts as a
    long gap.
    """
    if last is None:
        return 0.0
    if elapsed is not None:
        move = now - last - min(elapsed, LONGEST_GAP)
        return move if abs(move) > _BACK else 0.0
    if last - now > _BACK:
        return now - last
    return max(now - last - LONGEST_GAP, 0.0)


def moved_since(connection: sqlite3.Connection, looked: int | None) -> float:
    """Seconds by which times were moved after that check; usually 0, because a check follows each move."""
    row = connection.execute(QUERIES["read_move"], (looked,)).fetchone()
    return float(row[0]) if row else 0.0


def move_at_start(connection: sqlite3.Connection, look: Look | None, now: float) -> float:
    """Move times when the clock was set or the gap between checks was long; returns the seconds of the move since that
    check."""
    if look is None:
        return 0.0
    done = moved_since(connection, look.at)
    seconds = find_move(look.at / 1e9 + done, now, look.elapsed)
    if seconds:
        connection.execute("BEGIN IMMEDIATE")
        move_times(connection, look.at, done + seconds, now - done - seconds)
        connection.execute("COMMIT")
    return done + seconds


def move_times(connection: sqlite3.Connection, looked: int | None, seconds: float, before: float) -> None:
    """Move every time that a decision depends on by so many seconds since that check, inside a transaction that the
    caller holds. Times already moved move by the rest. `before` is the time on the old clock."""
    done = moved_since(connection, looked)
    if abs(seconds - done) > _SAME:
        _move_all(connection, seconds - done, before + done)
        connection.execute(QUERIES["write_move"], (looked, seconds))


def _move_all(connection: sqlite3.Connection, seconds: float, before: float) -> None:
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
