"""The thread that writes: all writes that wait together become one transaction and one fsync (group commit)."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.ports import SpoolFull

T = TypeVar("T")

_MOST_WAITING = 512
"""Writes that may wait; whoever brings more waits outside (promise P7)."""
_MOST_IN_BATCH = 128
_GATHER_SECONDS = 0.002
"""How long the first write of a batch waits for company, unless the last one had none."""
_MOST_OCTETS_IN_BATCH = 8_388_608
"""What one transaction may hold in memory before it is written."""
_LONG_LOG = 16_777_216
_PAGES_OF_JOB = 32_768
"""Octets of log that a job's pages take besides its content, roughly."""


@dataclass(slots=True)
class _Job:
    """One caller's write."""

    work: Callable[[sqlite3.Connection], Any]
    octets: int
    durable: bool
    settled: Callable[[Any], None] | None
    future: asyncio.Future[Any] | None
    result: Any = None
    error: Exception | None = None


class Writer:
    """Owns the writing connection. Each job is all or nothing, and a job that fails takes no other with it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._ended = False
        self._suspect = False
        self._durable = True
        self._logged = 0
        self._company = False
        """The last batch had several writes: the next probably has more than its first."""
        self.unwritten = 0
        """Writes that nobody waited for and that failed."""
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        octets: int = 0,
        durable: bool = True,
        settled: Callable[[T], None] | None = None,
    ) -> T:
        """Do `work` inside a transaction and give its result once that is committed, on stable storage if `durable`.

        `settled` is called with the result, in the writer's thread, even when the caller was cancelled. Raises
        SpoolFull when it could not be stored, and whatever `work` raised; then nothing of it was kept.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        await self._put(_Job(work, octets, durable, settled, future))
        return await future

    async def post(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do `work` soon, not necessarily on stable storage; returns as soon as it has a place in the queue."""
        await self._put(_Job(work, 0, False, None, None))

    async def _put(self, job: _Job) -> None:
        await self._room.acquire()
        if self._closed:
            self._room.release()
            raise SpoolFull("the spool is closed")
        self._jobs.put(job)

    async def close(self) -> None:
        """Write what waits, then end the thread and close the connection."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._ended:
            batch = self._take()
            self._company = len(batch) > 1
            try:
                self._write(batch)
            except Exception as error:
                # Whatever it was, the thread goes on: the next batch may fare better.
                for job in batch:
                    job.error = job.error or error
            try:
                self._loop.call_soon_threadsafe(self._answer, batch)
            except RuntimeError:
                # The loop is gone: nobody is left to hear the answer.
                break
            self._checkpoint(batch)
        self._connection.close()

    def _take(self) -> list[_Job]:
        """Wait for a job, then take all that came meanwhile."""
        batch: list[_Job] = []
        octets = 0
        job = self._jobs.get()
        if self._company:
            # Others are at work too: who comes within this time shares the sync, the statements and the wake-up.
            time.sleep(_GATHER_SECONDS)
        while job is not None:
            batch.append(job)
            octets += job.octets
            if len(batch) >= _MOST_IN_BATCH or octets >= _MOST_OCTETS_IN_BATCH:
                return batch
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch
        self._ended = True
        return batch

    def _answer(self, batch: list[_Job]) -> None:
        """In the loop: one wake-up for the whole batch."""
        for job in batch:
            self._room.release()
            if job.future is None:
                self.unwritten += job.error is not None
            elif job.future.done():
                continue
            elif job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)

    def _write(self, batch: list[_Job]) -> None:
        if not batch:
            return
        try:
            self._roll_back()
            self._heal()
            self._commit(batch)
        except Exception as error:
            self._fall_back(batch, error)
            return
        for job in batch:
            if job.error is None and job.settled is not None:
                job.settled(job.result)

    def _commit(self, batch: list[_Job]) -> None:
        self._set_durable(any(job.durable for job in batch))
        self._connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            self._apply(job)
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._suspect = not _is_full(error)
            raise

    def _apply(self, job: _Job) -> None:
        """Run one job. No savepoint: giving up the interpreter's lock twice more costs more than the job itself."""
        changes = self._connection.total_changes
        job.error = None
        try:
            job.result = job.work(self._connection)
        except Exception as error:
            if self._connection.total_changes != changes or not self._connection.in_transaction:
                raise
            # It failed before it wrote anything, so the others need not be begun again.
            job.error = _as_refusal(error)

    def _fall_back(self, batch: list[_Job], error: Exception) -> None:
        """Nothing of the batch is kept. Each job gets a transaction of its own, so that one that is wrong, or too
        large for a disk that is nearly full, fails alone. After a failed fsync none is tried again."""
        alone = len(batch) > 1 and not self._suspect
        with contextlib.suppress(sqlite3.Error):
            self._roll_back()
            self._heal()
        if not alone:
            for job in batch:
                job.error = _as_refusal(error)
            return
        for job in batch:
            self._write([job])

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _heal(self) -> None:
        """After a failed fsync the kernel may have dropped written pages, and a failed transaction may lie whole in
        the log. A full checkpoint brings the good part to the database file and empties the log; until one succeeds,
        nothing is accepted."""
        if self._suspect:
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise sqlite3.OperationalError("the log cannot be emptied yet after an fsync error")
            self._suspect = False

    def _checkpoint(self, batch: list[_Job]) -> None:
        """Move the log into the database file once it is long: here, when the batch has its answers, not in COMMIT."""
        self._logged += sum(job.octets + _PAGES_OF_JOB for job in batch)
        if self._logged < _LONG_LOG or self._suspect:
            return
        self._logged = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            self._suspect = not _is_full(error)

    def _set_durable(self, durable: bool) -> None:
        """FULL syncs the log at each commit, NORMAL leaves it to the next one that does: order is kept either way."""
        if durable != self._durable:
            self._connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            self._durable = durable


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _as_refusal(error: Exception) -> Exception:
    """What the caller is told: SpoolFull where the disk is to blame, the error itself where the write was wrong."""
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
    ):
        refusal = SpoolFull(f"{error} ({getattr(error, 'sqlite_errorname', 'no code')})")
        refusal.__cause__ = error
        return refusal
    return error
