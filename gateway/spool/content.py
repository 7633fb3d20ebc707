"""Files for content too large for a row: written while it arrives, durable before the row that names them."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Lock

from gateway.model.message import Content
from gateway.ports import ContentAltered, SpoolFull
from gateway.spool.disk import Disk, sync_directory

_THREADS = 4
CHUNK = 1_048_576
"""Octets read at a time."""
_PIECE = 262_144
"""Octets collected before they are written."""
_FAR_BEHIND = 4_194_304
"""Octets waiting in memory for a slow disk, from which on `drain` waits."""
_MOST_BEHIND = 16_777_216
"""Octets that may wait in this way if no caller uses `drain`."""
_LONGEST_WAIT = 0.02
"""Seconds for which the loop may wait for the thread to open a file that is already that far behind."""
_SYNC_EVERY = 8_388_608
"""Octets after which a growing file is synced, so that the last sync before the reply is short."""


class ContentStore:
    """The content directory of a shard."""

    def __init__(self, directory: Path, disk: Disk, reserve: int, new_name: Callable[[], str]) -> None:
        self.directory = directory
        self.disk = disk
        self.reserve = reserve
        self.unowned: set[str] = set()
        """Finished files that no commit has taken: their writers may still discard them."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool-content")
        self._closed = False
        self._new_name = new_name

    def create(self) -> ContentFile:
        """A new file. It does not exist on disk before its first octets."""
        return ContentFile(self, self._new_name())

    def name_of(self, content: Content) -> str | None:
        """The file's name, which a row stores so that a spool can be moved. None for content in memory."""
        return None if content.data is not None else Path(content.path).name

    def path_of(self, name: str | None) -> str:
        """The reverse of `name_of`."""
        return str(self.directory / name) if name else ""

    def submit(self, step: Callable[[], None]) -> bool:
        """Run `step` in a thread; False once the store is closed."""
        if not self._closed:
            self._threads.submit(step)
        return not self._closed

    def remove(self, names: Collection[str]) -> None:
        """Unlink files soon. The next start removes one that a crash left behind."""
        for name in names:
            self.submit(partial((self.directory / name).unlink, missing_ok=True))

    def sweep(self, wanted: Collection[str]) -> int:
        """Unlink every file that no row names; gives their number. Allowed only before the first write."""
        orphans = [entry.path for entry in os.scandir(self.directory) if entry.name not in wanted]
        for path in orphans:
            os.unlink(path)
        return len(orphans)

    async def read(self, content: Content) -> AsyncIterator[bytes]:
        """The octets in chunks. A large file is read in a thread. Raises ContentAltered when the file is gone."""
        if content.data is not None:
            for start in range(0, len(content.data), CHUNK):
                yield content.data[start : start + CHUNK]
            return
        loop = asyncio.get_running_loop()
        try:
            file = await loop.run_in_executor(self._threads, io.FileIO, content.path)
        except FileNotFoundError:
            raise ContentAltered(f"content file {content.path} is missing") from None
        with file:
            while chunk := await loop.run_in_executor(self._threads, file.read, CHUNK):
                yield chunk

    async def close(self) -> None:
        """Finish the steps under way."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)


class ContentFile:
    """A ContentWriter. Its steps run in a thread, strictly one after the other; the loop only passes octets to it."""

    def __init__(self, store: ContentStore, name: str) -> None:
        self._store = store
        self._name = name
        self._path = store.directory / name
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._offset = 0
        self._lock = Lock()
        self._steps: deque[Callable[[], None]] = deque()
        self._stepping = False
        self._behind = 0
        self._unsynced = 0
        self._descriptor = -1
        self._opened = Event()
        self._error: OSError | None = None
        self._over = False

    def write(self, chunk: bytes) -> None:
        """Take octets. Never waits; `finish` reports a disk failure."""
        if self._over or self._error is not None:
            return
        self._buffer.append(chunk)
        self._buffered += len(chunk)
        if self._buffered >= _PIECE:
            self._flush()

    async def drain(self) -> None:
        """Wait for a disk that is far behind, so that reading from the client is no faster than writing."""
        if self._behind > _FAR_BEHIND:
            caught_up: Future[None] = Future()
            if self._step(partial(caught_up.set_result, None)):
                await asyncio.shield(asyncio.wrap_future(caught_up))

    async def finish(self) -> str:
        """Make file and directory entry durable; returns the path. Raises SpoolFull, and the file is then removed."""
        self._flush()
        self._over = True
        sealed: Future[None] = Future()
        if not self._step(partial(self._seal, sealed)):
            raise SpoolFull("the spool is closed")
        try:
            # A cancelled caller must not cancel the thread's step: the step discards the file, or the next start does.
            await asyncio.shield(asyncio.wrap_future(sealed))
        except OSError as error:
            raise SpoolFull(f"content file: {error.strerror or error}") from error
        return str(self._path)

    def discard(self) -> None:
        """Remove the file, unless a commit has taken it."""
        self._buffer.clear()
        self._buffered = 0
        self._step(self._give_up if self._over else self._drop)
        self._over = True

    def _flush(self) -> None:
        octets, offset = b"".join(self._buffer), self._offset
        self._offset += self._buffered
        self._buffer.clear()
        self._buffered = 0
        if self._behind > _MOST_BEHIND and self._opened.wait(_LONGEST_WAIT):
            # The disk is slower than the client. A short write in the loop keeps the memory bounded.
            self._put(octets, offset)
            return
        with self._lock:
            self._behind += len(octets)
        self._step(partial(self._write_behind, octets, offset))

    def _step(self, step: Callable[[], None]) -> bool:
        """Queue a step; False when the store is closed, so that the step will not run."""
        with self._lock:
            self._steps.append(step)
            if self._stepping:
                return True
            self._stepping = self._store.submit(self._run)
            return self._stepping

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._steps:
                    self._stepping = False
                    return
                step = self._steps.popleft()
            step()

    def _write_behind(self, octets: bytes, offset: int) -> None:
        if self._error is None:
            self._put(octets, offset)
            self._sync_now_and_then(len(octets))
        with self._lock:
            self._behind -= len(octets)

    def _put(self, octets: bytes, offset: int) -> None:
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._opened.set()
            rest = memoryview(octets)
            while rest:
                done = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[done:], offset + done
        except OSError as error:
            self._error = error

    def _sync_now_and_then(self, octets: int) -> None:
        self._unsynced += octets
        if self._unsynced < _SYNC_EVERY or self._error is not None:
            return
        self._unsynced = 0
        try:
            if self._store.disk.free(self._store.directory) < self._store.reserve:
                raise OSError(errno.ENOSPC, "the disk is almost full")
            self._store.disk.sync(self._descriptor)
        except OSError as error:
            # Never synced again after a failure: the kernel may have dropped the pages and would report success.
            self._error = error

    def _seal(self, sealed: Future[None]) -> None:
        try:
            if self._error is not None:
                raise self._error
            self._store.disk.sync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            sync_directory(self._store.directory, self._store.disk)
        except OSError as error:
            self._drop()
            sealed.set_exception(error)
        else:
            self._store.unowned.add(self._name)
            sealed.set_result(None)

    def _give_up(self) -> None:
        """Discarded after `finish`: a finished file without a commit is removed."""
        if self._name in self._store.unowned:
            self._store.unowned.discard(self._name)
            self._drop()

    def _drop(self) -> None:
        """If a broken disk keeps the file, the next start removes it."""
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):
            if descriptor >= 0:
                os.close(descriptor)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
