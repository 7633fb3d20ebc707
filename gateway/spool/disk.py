"""The directory of a spool: its owner, its file system, and the calls that reach the disk."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.model.value import Value

# fmt: off
_NETWORK = frozenset((
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "wekafs",
))
# fmt: on
DATABASE = "spool.db"
"""The database in each shard; SQLite puts two files with the same beginning of the name beside it."""
LOCK = "lock"
BALLAST = "ballast"
"""A file in each shard that is removed when the disk is too full to start or to record an outcome."""
CONTENT = "content"
"""The directory with the files of large messages, beside the database."""
_LOCAL_FUSE = frozenset(("fuse.fuse-overlayfs", "fuse.portal"))
"""Every other `fuse.*` is refused: most are remote, and none documents that locks and fsync work."""


class SpoolUnusable(Exception):
    """The spool cannot be opened; the text names the directory and gives the reason."""


class SpoolUnmade(SpoolUnusable):
    """It has no tables yet: its gateway is still creating it."""


class SpoolInUse(SpoolUnusable):
    """Another process owns it."""


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    # isolation_level None: Python begins no transaction of its own. Connections are used by one thread at a time.
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    # A damaged row must not stop the reading of others: its own reader finds the fault.
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    return connection


def _free(path: Path) -> int:
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")


class Disk(Value):
    """The spool's calls to the operating system, replaceable in a test by a failing disk."""

    connect: Callable[[Path, bool], sqlite3.Connection] = _connect
    """Opens a database file, read-only or not."""
    sync: Callable[[int], None] = os.fsync
    """Bring a file or directory to stable storage."""
    free: Callable[[Path], int] = _free
    """Octets left on the file system of a path."""
    mounts: Callable[[], str] = _mounts
    """The mount table, as proc(5) describes mountinfo."""


def find_filesystem(path: str, mounts: str) -> str:
    """Type of the file system that holds an absolute path; empty when the table does not say."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, types = left.split(" "), right.split(" ")
        if len(fields) < 5 or not types[0]:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]).rstrip("/")
        # Of two mounts on one point, the later hides the earlier.
        if (path == point or path.startswith(point + "/")) and len(point) >= best:
            best, kind = len(point), types[0]
    return kind


def is_network(kind: str) -> bool:
    """True for a file system that may lose a lock, or acknowledge an fsync that did not happen."""
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def make_shard(directory: Path, shard: str, disk: Disk) -> Path:
    """The shard's directory, made with its parents if absent, readable only for our account. Raises SpoolUnusable."""
    path = directory / shard
    try:
        for made in (directory, path, path / CONTENT):
            if not made.is_dir() and not made.is_symlink():
                made.mkdir(mode=0o700, parents=True)
                sync_directory(made.parent, disk)
            claim_directory(made, may_be_link=made == directory)
        for file in path.iterdir():
            if file.name.startswith(DATABASE):
                claim_file(file)
        kind = find_filesystem(str(path.resolve()), disk.mounts())
    except OSError as error:
        raise SpoolUnusable(f"spool {directory}: {error.strerror or error}") from error
    if is_network(kind):
        raise SpoolUnusable(f"spool {directory} is on a network file system ({kind}): put it on a local disk")
    return path


def make_ballast(path: Path, octets: int) -> bool:
    """Reserve room for a full disk, unless it exists already; False when there is no room."""
    ballast = path / BALLAST
    try:
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, octets)
        finally:
            os.close(descriptor)
    except OSError:
        drop_ballast(path)
        return False
    return True


def drop_ballast(path: Path) -> bool:
    """Release that room. False when there was none."""
    try:
        (path / BALLAST).unlink()
    except OSError:
        return False
    return True


def claim_directory(path: Path, may_be_link: bool = False) -> None:
    """Make the directory ours alone: an account that may write to it can make us send and delete. Raises
    SpoolUnusable."""
    if path.is_symlink() and not may_be_link:
        raise SpoolUnusable(f"spool {path} is a link: put the directory itself there")
    found = path.stat()
    _check_owner(path, found)
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
        return
    group = found.st_mode & stat.S_IWGRP and found.st_gid not in (os.getegid(), *os.getgroups())
    if found.st_mode & stat.S_IWOTH or group:
        raise SpoolUnusable(f"spool {path} can be written to by others: chmod 700 {path}")


def claim_file(path: Path) -> None:
    """The same for a file that contains mail. Raises SpoolUnusable."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise SpoolUnusable(f"spool {path} is not a file of its own: put the file itself there")
    _check_owner(path, found)
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o600)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise SpoolUnusable(
            f"spool {path} belongs to user {found.st_uid}, and this is user {os.geteuid()}: run it as that user, "
            f"or chown -R {os.geteuid()} {path}"
        )


def sync_directory(path: Path, disk: Disk) -> None:
    """Make a directory's entries durable: fsync of a file does not bring its name to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def lock_shard(path: Path) -> int:
    """Own the shard until the returned descriptor is closed or the process ends. Raises SpoolUnusable, SpoolInUse."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NOATIME, 0o600)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise SpoolUnusable(f"spool {path}: cannot open its lock: {why}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, _PID, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SpoolInUse(f"spool {path} is in use by another process (pid {owner})") from None
    except OSError as error:
        os.close(descriptor)
        raise SpoolUnusable(f"spool {path}: cannot lock it: {error.strerror}") from error
    return descriptor


_PID = 32
"""Octets of the lock's line with the owner; the machine's boot id follows it."""


def sign_lock(descriptor: int) -> None:
    """Record the owner, for people, and the machine's boot id. This changes the time of the last check, so times must
    be moved first."""
    # Written in place, because a full disk has no room for more.
    with suppress(OSError):
        os.pwrite(descriptor, f"{os.getpid():<{_PID - 1}}\n{find_boot()}\n".encode("ascii"), 0)


def read_boot(descriptor: int) -> str:
    """The machine's boot id in the lock."""
    return os.pread(descriptor, 128, _PID).decode("ascii", "replace").strip()


def find_boot() -> str:
    """The machine's current boot id."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"
