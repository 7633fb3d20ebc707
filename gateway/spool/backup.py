"""A copy of a shard as it is at one instant, taken beside a running gateway. It is a spool by itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gateway.spool.disk import CONTENT, DATABASE, Disk, SpoolUnusable, sync_directory
from gateway.spool.queries import QUERIES

_TRIES = 20
_PAGES_AT_ONCE = 512


def back_up_shard(shard: Path, target: Path, tell: Callable[[int, int], None] = lambda done, all: None) -> int:
    """Copy a shard's directory to `target`, which must not be there; how many content files it has. `tell` gets pages
    done and pages in all. Raises SpoolUnusable."""
    disk = Disk()
    try:
        for made in (target.parent, target, target / CONTENT):
            made.mkdir(mode=0o700, parents=True, exist_ok=made == target.parent)
        connection = disk.connect(shard / DATABASE, True)
        try:
            for _ in range(_TRIES):
                _copy_files(shard, target, {entry.name for entry in (shard / CONTENT).iterdir()})
                # From here on the connection sees one instant. What has come since the line above is copied now; what
                # has gone since, and is named at that instant, makes it begin anew.
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
    """How many were gone. A file that is whole is never changed: on one file system a second name for it is enough."""
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
    """A new file that nobody else may read, whatever the umask."""
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
    """Only what is named, and all of it on stable storage."""
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
