"""Group commit: all writes that wait together become one transaction and one fsync.

The loop itself puts the rows of a small write, because handing the interpreter's lock to a thread and back for each
statement costs more than the statement. Only steps that may wait for the disk or take long run in the thread. The two
never use the connection at the same time.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from gateway.model.value import Value
from gateway.ports import SpoolFull
from gateway.spool.disk import Disk, SpoolUnusable, drop_ballast, sync_directory
from gateway.spool.queries import QUERIES, check_version, migrate
from gateway.spool.times import Look, move_at_start
from gateway.spool.transactions import Transactions, WriteJob

T = TypeVar("T")

_MOST_WAITING = 512
"""Writes that may wait; the callers of further writes wait outside (promise P7)."""
_MOST_IN_BATCH = 128
_MOST_OCTETS_IN_BATCH = 8_388_608
"""Octets that one transaction may keep in memory before it is written."""
_MOST_IN_LOOP = 32
_MOST_OCTETS_IN_LOOP = 1_048_576
"""Jobs, and octets of them, whose rows the loop puts at once."""
_PATIENCE = 0.005
"""Seconds for which the first write of a batch waits for others, while the loop is busy with work that may bring
some."""
_IDLE_ROUND = 0.00005
"""Longest round of the loop, in seconds, that counts as idle; on a slow machine, twice the shortest round so far."""
_IDLE_ROUNDS = 2
"""Consecutive idle rounds after which no commit need wait for further writes."""
_LONG_LOG = 16_777_216
_PAGES_OF_JOB = 32_768
"""Octets of log for a job's pages besides its content, roughly."""


class _Batch(Value):
    """Jobs of one transaction."""

    jobs: Sequence[WriteJob]
    begun: bool
    """The transaction is open, with the rows of every job in it."""


class Writer:
    """Owns the writing connection. Each job is all or nothing, and a failing job does not undo the others."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._transactions = Transactions(connection)
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._waiting: deque[WriteJob] = deque()
        self._since = 0.0
        """The arrival of the first waiting job."""
        self._looking = False
        self._looked = 0.0
        self._shortest = float("inf")
        """The shortest round of the loop, in seconds."""
        self._idle = 0
        self._busy = False
        """The thread has the connection."""
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._closed = False
        self._logged = 0
        self._shortens = False
        self.refused = False
        """The last write that had to be on stable storage failed."""
        self.unwritten = 0
        """Failed writes that no caller waited for."""
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
        """Do `work` inside a transaction and return its result once that is committed, on stable storage if `durable`.

        A `quick` one is a few statements on single rows; it may be called in the loop. `settled` is called with the
        result, in the loop, even when the caller was cancelled. Raises SpoolFull when the work could not be stored, and
        any exception of `work`; then nothing of it was kept. `work` may be called more than once.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        await self._put(WriteJob(work, octets, durable, quick, settled, future))
        return await future

    async def post(self, work: Callable[[sqlite3.Connection], object], *, octets: int = 0, quick: bool = False) -> None:
        """Do `work` soon, not necessarily on stable storage; returns as soon as it has a place in the queue."""
        await self._put(WriteJob(work, octets, False, quick, None, None))

    def shorten(self) -> None:
        """Return the log's room to the file system after the next write."""
        self._shortens = True

    async def close(self) -> None:
        """Write the waiting jobs, then end the thread and close the connection."""
        if not self._closed:
            self._closed = True
            self._end_when_idle()
        await asyncio.to_thread(self._thread.join)

    async def _put(self, job: WriteJob) -> None:
        await self._room.acquire()
        if self._closed:
            self._room.release()
            raise SpoolFull("the spool is closed")
        if not self._waiting:
            self._since = perf_counter()
        self._waiting.append(job)
        self._stir()

    def _stir(self) -> None:
        """Start the writing of waiting jobs as soon as the connection is free."""
        if self._waiting and not self._busy and not self._looking:
            self._looking = True
            self._looked, self._idle = perf_counter(), 0
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Once a round of the loop: begin when the loop is idle, because no further write will come. Otherwise wait a
        little, because further writes share the sync."""
        now = perf_counter()
        round, self._looked = now - self._looked, now
        self._shortest = min(self._shortest, round)
        self._idle = self._idle + 1 if round <= max(_IDLE_ROUND, 2 * self._shortest) else 0
        ready = self._idle >= _IDLE_ROUNDS or now - self._since > _PATIENCE or len(self._waiting) >= _MOST_IN_BATCH
        if ready:
            self._looking = False
            self._begin()
        else:
            self._loop.call_soon(self._look)

    def _begin(self) -> None:
        """The next batch: a small one's rows are put here, and its commit runs in the thread."""
        jobs: list[WriteJob] = []
        octets = 0
        while self._waiting and len(jobs) < _MOST_IN_BATCH and octets < _MOST_OCTETS_IN_BATCH:
            job = self._waiting.popleft()
            jobs.append(job)
            octets += job.octets
        small = len(jobs) <= _MOST_IN_LOOP and octets < _MOST_OCTETS_IN_LOOP and all(job.quick for job in jobs)
        self._since = perf_counter()
        self._busy = True
        self._batches.put(_Batch(jobs, small and not self._transactions.suspect and self._transactions.begin(jobs)))

    def _answer(self, batch: _Batch) -> None:
        """In the loop: one wake-up for the whole batch."""
        for job in batch.jobs:
            self._room.release()
            try:
                self._answer_one(job)
            except Exception as error:
                # The job is written all the same, and the others wait for their answers.
                self._loop.call_exception_handler({"message": "after a write", "exception": error})

    def _answer_one(self, job: WriteJob) -> None:
        if job.durable and (job.error is None or isinstance(job.error, SpoolFull)):
            self.refused = job.error is not None
        if job.future is None:
            self.unwritten += job.error is not None
        elif not job.future.done():
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)
        # Called before the caller goes on: that is the loop's next turn.
        if job.error is None and job.settled is not None:
            job.settled(job.result)

    def _answer_and_free(self, batch: _Batch) -> None:
        self._answer(batch)
        self._free()

    def _free(self) -> None:
        """The thread no longer uses the connection."""
        self._busy = False
        self._stir()
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._closed and not self._busy and not self._waiting:
            self._batches.put(None)

    def _run(self) -> None:
        """The body of the thread."""
        while (batch := self._batches.get()) is not None:
            try:
                if batch.begun:
                    self._transactions.end(batch.jobs)
                else:
                    self._transactions.write(batch.jobs)
            except Exception as error:
                # The thread goes on after any error: the next batch may succeed.
                for job in batch.jobs:
                    job.error = job.error or error
            try:
                if self._shortens or self._is_log_long(batch):
                    # Done here, once the batch has its answers, not in COMMIT.
                    self._loop.call_soon_threadsafe(self._answer, batch)
                    self._logged = 0
                    self._transactions.checkpoint(truncate=self._shortens)
                    self._shortens = False
                    self._loop.call_soon_threadsafe(self._free)
                else:
                    self._loop.call_soon_threadsafe(self._answer_and_free, batch)
            except RuntimeError:
                # The loop is gone, so no caller waits for the answer.
                break
        self._transactions.close()

    def _is_log_long(self, batch: _Batch) -> bool:
        self._logged += sum(job.octets + _PAGES_OF_JOB for job in batch.jobs)
        return self._logged >= _LONG_LOG and not self._transactions.suspect


def open_database(path: Path, now: float, disk: Disk, look: Look | None) -> tuple[sqlite3.Connection, float]:
    """Like `_open_database`, with the room of the ballast if there is no other."""
    try:
        return _open_database(path, now, disk, look)
    except SpoolUnusable:
        if not drop_ballast(path.parent):
            raise
    return _open_database(path, now, disk, look)


def _open_database(path: Path, now: float, disk: Disk, look: Look | None) -> tuple[sqlite3.Connection, float]:
    """The writing connection, its tables up to date, leases of a dead process ended, and the seconds by which times
    were moved. Raises SpoolUnusable."""
    try:
        # SQLite gives the files beside the database the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        connection = disk.connect(path, False)
    except (sqlite3.Error, OSError) as error:
        raise SpoolUnusable(f"spool {path.parent}: {error}") from error
    try:
        if check_version(connection, str(path.parent)) == 0:
            # Only an empty file accepts these two.
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise SpoolUnusable(f"spool {path.parent}: its file system cannot hold a write-ahead log")
        # FULL is per connection: each commit is on stable storage when it returns.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -8192")
        # Debian's SQLite zeroes deleted data, which writes every message's content to the log a second time.
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute("PRAGMA temp_store = MEMORY")
        migrate(connection, str(path.parent))
        moved = move_at_start(connection, look, now)
        connection.execute(QUERIES["recover_leases"], {"now": now})
        connection.execute(QUERIES["mark_all_unheard"])
        sync_directory(path.parent, disk)
    except BaseException as error:
        connection.close()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise SpoolUnusable(f"spool {path.parent}: {error}") from error
        raise
    return connection, moved
