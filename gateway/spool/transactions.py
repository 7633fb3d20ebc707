"""One transaction for many writes: each is all or nothing, and one failure does not undo the others."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.ports import SpoolDoubtful, SpoolFull

_LOCKED = 5000
"""Milliseconds to wait while another process has the database locked; the loop does not wait."""


@dataclass(slots=True)
class WriteJob:
    """One caller's write."""

    work: Callable[[sqlite3.Connection], Any]
    octets: int
    durable: bool
    quick: bool
    settled: Callable[[Any], None] | None
    future: asyncio.Future[Any] | None
    result: Any = None
    error: Exception | None = None


class Transactions:
    """The transactions of the writing connection, one after the other. Used by the loop and by a thread, never by both
    at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._durable = True
        self.suspect = False
        """An fsync failed: nothing is written until the log has been checked."""
        self._doubtful = False
        """The last COMMIT failed, perhaps after it had written everything."""
        self._retrying = False
        """A write that found the disk full is tried once more, alone."""
        connection.execute("PRAGMA busy_timeout = 0")

    def begin(self, jobs: Sequence[WriteJob]) -> bool:
        """Begin a transaction and put the rows of all jobs. False on an error: `write` then begins again."""
        try:
            self._put_all(jobs)
        except Exception:
            return False
        return True

    def end(self, jobs: Sequence[WriteJob]) -> None:
        """Commit the transaction."""
        try:
            self._commit()
        except sqlite3.Error as error:
            with self._patience():
                self._fall_back(jobs, error)

    def write(self, jobs: Sequence[WriteJob]) -> None:
        """Run a whole transaction."""
        with self._patience():
            self._write(jobs)

    def _write(self, jobs: Sequence[WriteJob]) -> None:
        try:
            self._doubtful = False
            self._roll_back()
            self._heal()
            self._put_all(jobs)
            self._commit()
        except Exception as error:
            self._fall_back(jobs, error)

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        self._connection.execute(f"PRAGMA busy_timeout = {_LOCKED}")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")

    def _put_all(self, jobs: Sequence[WriteJob]) -> None:
        self._doubtful = False
        self._set_durable(any(job.durable for job in jobs))
        self._connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            self._apply(job)

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.suspect = self._doubtful = not _is_full(error)
            raise

    def _apply(self, job: WriteJob) -> None:
        """Run one job. No savepoint: two more statements cost more than most jobs."""
        changes = self._connection.total_changes
        job.error = None
        try:
            job.result = job.work(self._connection)
        except Exception as error:
            if self._connection.total_changes != changes or not self._connection.in_transaction:
                raise
            # The job failed before it wrote anything, so the others need not start again.
            job.error = _as_refusal(error)

    def _fall_back(self, jobs: Sequence[WriteJob], error: Exception) -> None:
        """Nothing of the batch is kept. Each job gets a transaction of its own, so that a faulty job, or one too large
        for a nearly full disk, fails alone. After a failed fsync no job is tried again."""
        alone = len(jobs) > 1 and not self.suspect
        with contextlib.suppress(sqlite3.Error):
            self._roll_back()
            self._heal()
        if _is_full(error) and not self.suspect:
            # The log may restart within the room that it has.
            self.checkpoint()
            alone = alone or not self._retrying
        if not alone:
            for job in jobs:
                job.error = job.error or _as_refusal(error, self._doubtful and self.suspect)
            return
        for job in jobs:
            self._retrying = len(jobs) == 1
            try:
                self._write([job])
            finally:
                self._retrying = False

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _heal(self) -> None:
        """After a failed fsync the kernel may have dropped written pages, and a failed transaction may be complete in
        the log. A full checkpoint moves the good part to the database file and empties the log; until one succeeds, no
        write is accepted."""
        if self.suspect:
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise sqlite3.OperationalError("the log cannot be emptied yet after an fsync error")
            self.suspect = False

    def checkpoint(self, truncate: bool = False) -> None:
        """Move the log into the database file; `truncate` also empties the log's file, unless it is being read."""
        if self.suspect:
            return
        mode = "TRUNCATE" if truncate else "PASSIVE"
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except Exception as error:
            # The thread goes on after any error: without it nothing would ever be written again.
            self.suspect = not _is_full(error)

    def _set_durable(self, durable: bool) -> None:
        """FULL syncs the log at each commit; NORMAL leaves it to the next commit under FULL. Both keep the order."""
        if durable != self._durable:
            self._connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            self._durable = durable

    def close(self) -> None:
        self._connection.close()


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _as_refusal(error: Exception, doubtful: bool = False) -> Exception:
    """The exception for the caller: SpoolFull for a fault of the disk, the error itself for a faulty write. `doubtful`:
    a failed transaction may still be complete in the log."""
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)
    ):
        kind = SpoolDoubtful if doubtful else SpoolFull
        refusal = kind(f"{error} ({getattr(error, 'sqlite_errorname', 'no code')})")
        refusal.__cause__ = error
        return refusal
    return error
