"""A copy of a shard at one instant, made while the gateway runs. The copy is a spool by itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gateway.spool import greylist, senders, unanswered
from gateway.spool.disk import CONTENT, DATABASE, Disk, SpoolUnusable, sync_directory
from gateway.spool.queries import QUERIES
from gateway.spool.rows import RetentionPeriods

_PURGED_AT_ONCE = 400
_FREE_PAGES_KEPT = 4096
"""Freed pages are reused: only pages beyond this number are returned to the file system."""
_PAGES_FREED_AT_ONCE = 512
PURGED_OCTETS = 4_194_304
"""Octets that one round may write to the log."""


def purge(connection: sqlite3.Connection, retention: RetentionPeriods, now: float) -> tuple[int, tuple[str, ...]]:
    """Number of removed rows and pages, and the content files that no row names any more."""
    stale = connection.execute(QUERIES["stale_messages"], (now, _PURGED_AT_ONCE)).fetchall()
    connection.executemany(QUERIES["delete_message"], ((n,) for n, _ in stale))
    before = now - retention.trace_seconds
    traces = connection.execute(QUERIES["stale_traces"], (before, _PURGED_AT_ONCE)).fetchall()
    traces += _find_surplus(connection, retention.refused_octets)
    connection.executemany(QUERIES["delete_attempts"], traces)
    connection.executemany(QUERIES["delete_acts"], traces)
    connection.executemany(QUERIES["delete_trace"], traces)
    forgotten = senders.forget(connection) + greylist.forget(connection, now) + unanswered.forget(connection, now)
    freed = shrink(connection)
    return len(stale) + len(traces) + forgotten + freed, tuple(path for _, path in stale if path)


def _find_surplus(connection: sqlite3.Connection, most: int) -> list[tuple[int]]:
    """The oldest traces of refused mail beyond the limit, so that a flood cannot fill the disk."""
    surplus = connection.execute(QUERIES["refused_octets"]).fetchone()[0] - most
    found: list[tuple[int]] = []
    if surplus > 0:
        for n, octets in connection.execute(QUERIES["oldest_refused"], (_PURGED_AT_ONCE,)):
            found.append((n,))
            surplus -= octets
            if surplus <= 0:
                break
    return found


def shrink(connection: sqlite3.Connection, keep: int = _FREE_PAGES_KEPT) -> int:
    """Return some free pages to the file system; gives their number. One at a time: Python's sqlite3 takes a single
    step of this pragma."""
    free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    surplus = max(min(free - keep, _PAGES_FREED_AT_ONCE), 0)
    for _ in range(surplus):
        connection.execute("PRAGMA incremental_vacuum(1)")
    return surplus


_TRIES = 20
_PAGES_AT_ONCE = 512


def back_up_shard(shard: Path, target: Path, tell: Callable[[int, int], None] = lambda done, all: None) -> int:
    """Copy a shard's directory to `target`, which must not exist; gives the number of content files. `tell` gets pages
    done and pages in all. Raises SpoolUnusable."""
    disk = Disk()
    try:
        for made in (target.parent, target, target / CONTENT):
            made.mkdir(mode=0o700, parents=True, exist_ok=made == target.parent)
        connection = disk.connect(shard / DATABASE, True)
        try:
            for _ in range(_TRIES):
                _copy_files(shard, target, {entry.name for entry in (shard / CONTENT).iterdir()})
                # From here on the connection sees one instant. Files that were added since the line above are copied
                # now. If a file named at that instant was removed since, the copy starts again.
                connection.execute("BEGIN")
                named = {name for (name,) in connection.execute(QUERIES["content_paths"])}
                if not _copy_files(shard, target, named - _names(target)):
                    _copy_database(connection, target / DATABASE, tell)
                    _finish(target, named, disk)
                    return len(named)
                connection.execute("ROLLBACK")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise SpoolUnusable(f"backup of {shard} to {target}: {error}") from error
    raise SpoolUnusable(f"backup of {shard}: large messages come and go too fast, try again")


def _names(target: Path) -> set[str]:
    return {entry.name for entry in (target / CONTENT).iterdir()}


def _copy_files(shard: Path, target: Path, names: set[str]) -> int:
    """Number of missing files. A complete file never changes, so a second name for it is enough on one file system."""
    missing = 0
    for name in names - _names(target):
        try:
            os.link(shard / CONTENT / name, target / CONTENT / name)
        except FileNotFoundError:
            missing += 1
        except OSError:
            try:
                with (shard / CONTENT / name).open("rb") as source, _create(target / CONTENT / name) as copy:
                    shutil.copyfileobj(source, copy)
            except FileNotFoundError:
                (target / CONTENT / name).unlink(missing_ok=True)
                missing += 1
    return missing


def _create(path: Path) -> BinaryIO:
    """A new file that no other account may read, whatever the umask."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _copy_database(connection: sqlite3.Connection, path: Path, tell: Callable[[int, int], None]) -> None:
    _create(path).close()
    copy = Disk().connect(path, False)
    try:
        connection.backup(copy, pages=_PAGES_AT_ONCE, progress=lambda status, left, all: tell(all - left, all))
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the copy is damaged")
    finally:
        copy.close()


def _finish(target: Path, named: set[str], disk: Disk) -> None:
    """Keep only the named files, all of them on stable storage."""
    for name in _names(target) - named:
        (target / CONTENT / name).unlink()
    for path in (target / DATABASE, *(target / CONTENT).iterdir()):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
    for directory in (target / CONTENT, target, target.parent):
        sync_directory(directory, disk)
