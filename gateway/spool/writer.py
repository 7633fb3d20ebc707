"""Group commit: all writes that wait together become one transaction and one fsync.

The rows of a small write are put by the loop itself, because handing the interpreter's lock to a thread and back for
each statement costs more than the statement; only what may wait for the disk or take long is left to the thread. The
two never have the connection at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from gateway.ports import SpoolFull

T = TypeVar("T")

_MOST_WAITING = 512
"""Writes that may wait; whoever brings more waits outside (promise P7)."""
_MOST_IN_BATCH = 128
_MOST_OCTETS_IN_BATCH = 8_388_608
"""What one transaction may hold in memory before it is written."""
_MOST_OCTETS_IN_LOOP = 1_048_576
"""What the loop copies into the database at once."""
_PATIENCE = 0.005
"""Seconds for which the first write of a batch waits for company while the loop is busy with what may bring some."""
_IDLE_ROUND = 0.00005
"""A round of the loop that took no longer had nothing to do."""
_IDLE_ROUNDS = 2
"""So many of them one after the other: nothing is on its way that a commit could wait for."""
_LONG_LOG = 16_777_216
_PAGES_OF_JOB = 32_768
"""Octets of log that a job's pages take besides its content, roughly."""
_LOCKED = 5000
"""Milliseconds for which the thread waits for a stranger that has the database locked; the loop does not wait."""


@dataclass(slots=True)
class _Job:
    """One caller's write."""

    work: Callable[[sqlite3.Connection], Any]
    octets: int
    durable: bool
    quick: bool
    settled: Callable[[Any], None] | None
    future: asyncio.Future[Any] | None
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Jobs of one transaction."""

    jobs: Sequence[_Job]
    begun: bool
    """It is open, with the rows of every job in it."""


class Writer:
    """Owns the writing connection. Each job is all or nothing, and a job that fails takes no other with it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA busy_timeout = 0")
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._waiting: deque[_Job] = deque()
        self._since = 0.0
        """When the first of those came."""
        self._looking = False
        self._looked = 0.0
        self._idle = 0
        self._busy = False
        """The thread has the connection."""
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._closed: asyncio.Future[None] | None = None
        self._suspect = False
        self._durable = True
        self._logged = 0
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
        quick: bool = False,
        settled: Callable[[T], None] | None = None,
    ) -> T:
        """Do `work` inside a transaction and give its result once that is committed, on stable storage if `durable`.

        A `quick` one is a few statements on single rows; it may be called in the loop. `settled` is called with the
        result, in the loop, even when the caller was cancelled. Raises SpoolFull when it could not be stored, and
        whatever `work` raised; then nothing of it was kept. `work` may be called more than once.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        await self._put(_Job(work, octets, durable, quick, settled, future))
        return await future

    async def post(self, work: Callable[[sqlite3.Connection], object], *, quick: bool = False) -> None:
        """Do `work` soon, not necessarily on stable storage; returns as soon as it has a place in the queue."""
        await self._put(_Job(work, 0, False, quick, None, None))

    async def close(self) -> None:
        """Write what waits, then end the thread and close the connection."""
        if self._closed is None:
            self._closed = self._loop.create_future()
            if not self._waiting and not self._busy:
                self._closed.set_result(None)
            await asyncio.shield(self._closed)
            self._batches.put(None)
            await asyncio.to_thread(self._thread.join)

    async def _put(self, job: _Job) -> None:
        await self._room.acquire()
        if self._closed is not None:
            self._room.release()
            raise SpoolFull("the spool is closed")
        if not self._waiting:
            self._since = perf_counter()
        self._waiting.append(job)
        self._stir()

    def _stir(self) -> None:
        """See to it that what waits is written, as soon as the connection is free."""
        if self._waiting and not self._busy and not self._looking:
            self._looking = True
            self._looked, self._idle = perf_counter(), 0
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Once a round of the loop: begin when it has nothing else to do, because then nobody else will come; else a
        little later, because who comes meanwhile shares the sync."""
        now = perf_counter()
        self._idle = self._idle + 1 if now - self._looked < _IDLE_ROUND else 0
        self._looked = now
        ready = self._idle >= _IDLE_ROUNDS or now - self._since > _PATIENCE or len(self._waiting) >= _MOST_IN_BATCH
        if ready:
            self._looking = False
            self._begin()
        else:
            self._loop.call_soon(self._look)

    def _begin(self) -> None:
        """The next batch: its rows here when it is small, and its end in the thread."""
        jobs: list[_Job] = []
        octets = 0
        while self._waiting and len(jobs) < _MOST_IN_BATCH and octets < _MOST_OCTETS_IN_BATCH:
            job = self._waiting.popleft()
            jobs.append(job)
            octets += job.octets
        small = octets < _MOST_OCTETS_IN_LOOP and not self._suspect and all(job.quick for job in jobs)
        self._since = perf_counter()
        self._busy = True
        self._batches.put(_Batch(jobs, small and self._put_rows(jobs)))

    def _put_rows(self, jobs: Sequence[_Job]) -> bool:
        """Begin the transaction in the loop. False when something is wrong: then the thread begins it again."""
        try:
            self._put_all(jobs)
        except Exception:
            return False
        return True

    def _answer(self, batch: _Batch) -> None:
        """In the loop: one wake-up for the whole batch."""
        for job in batch.jobs:
            self._room.release()
            if job.error is None and job.settled is not None:
                job.settled(job.result)
            if job.future is None:
                self.unwritten += job.error is not None
            elif job.future.done():
                continue
            elif job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)

    def _answer_and_free(self, batch: _Batch) -> None:
        self._answer(batch)
        self._free()

    def _free(self) -> None:
        """The thread has done with the connection."""
        self._busy = False
        self._stir()
        if self._closed is not None and not self._waiting and not self._closed.done():
            self._closed.set_result(None)

    def _run(self) -> None:
        """The thread."""
        while (batch := self._batches.get()) is not None:
            try:
                self._finish(batch)
            except Exception as error:
                # Whatever it was, the thread goes on: the next batch may fare better.
                for job in batch.jobs:
                    job.error = job.error or error
            try:
                if self._is_log_long(batch):
                    # Here, when the batch has its answers, not in COMMIT.
                    self._loop.call_soon_threadsafe(self._answer, batch)
                    self._checkpoint()
                    self._loop.call_soon_threadsafe(self._free)
                else:
                    self._loop.call_soon_threadsafe(self._answer_and_free, batch)
            except RuntimeError:
                # The loop is gone: nobody is left to hear the answer.
                break
        self._connection.close()

    def _finish(self, batch: _Batch) -> None:
        if not batch.begun:
            self._write(batch.jobs)
            return
        try:
            self._commit()
        except sqlite3.Error as error:
            self._fall_back(batch.jobs, error)

    def _write(self, jobs: Sequence[_Job]) -> None:
        """A whole transaction."""
        self._connection.execute(f"PRAGMA busy_timeout = {_LOCKED}")
        try:
            self._roll_back()
            self._heal()
            self._put_all(jobs)
            self._commit()
        except Exception as error:
            self._fall_back(jobs, error)
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")

    def _put_all(self, jobs: Sequence[_Job]) -> None:
        self._set_durable(any(job.durable for job in jobs))
        self._connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            self._apply(job)

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._suspect = not _is_full(error)
            raise

    def _apply(self, job: _Job) -> None:
        """Run one job. No savepoint: two more statements cost more than most jobs."""
        changes = self._connection.total_changes
        job.error = None
        try:
            job.result = job.work(self._connection)
        except Exception as error:
            if self._connection.total_changes != changes or not self._connection.in_transaction:
                raise
            # It failed before it wrote anything, so the others need not be begun again.
            job.error = _as_refusal(error)

    def _fall_back(self, jobs: Sequence[_Job], error: Exception) -> None:
        """Nothing of the batch is kept. Each job gets a transaction of its own, so that one that is wrong, or too
        large for a disk that is nearly full, fails alone. After a failed fsync none is tried again."""
        alone = len(jobs) > 1 and not self._suspect
        with contextlib.suppress(sqlite3.Error):
            self._roll_back()
            self._heal()
        if not alone:
            for job in jobs:
                job.error = _as_refusal(error)
            return
        for job in jobs:
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

    def _is_log_long(self, batch: _Batch) -> bool:
        self._logged += sum(job.octets + _PAGES_OF_JOB for job in batch.jobs)
        return self._logged >= _LONG_LOG and not self._suspect

    def _checkpoint(self) -> None:
        """Move the log into the database file."""
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
