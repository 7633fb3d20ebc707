"""A shard of the embedded spool: one directory, one owner, one writing connection."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.model.delivery import Act, Amendment, Claim, Intake, Settlement, Transfer
from gateway.model.message import Content
from gateway.ports import Clock, ContentWriter, Damage, HoldFull, SpoolDoubtful, SpoolFull, Storage
from gateway.spool import holding, unanswered
from gateway.spool.amendments import Plan, amend
from gateway.spool.backup import PURGED_OCTETS, purge, shrink
from gateway.spool.content import ContentStore
from gateway.spool.disk import (
    CONTENT,
    DATABASE,
    Disk,
    drop_ballast,
    lock_shard,
    make_ballast,
    make_shard,
    sign_lock,
)
from gateway.spool.queries import QUERIES
from gateway.spool.reader import SHARD, ReadOnlySpool
from gateway.spool.rows import RetentionPeriods, Rows
from gateway.spool.times import last_look, move_times, moved_since, note_look
from gateway.spool.writer import Writer, open_database

FindNow = Callable[[sqlite3.Connection], float]

RESERVE = 33_554_432
"""Octets of disk that receptions leave free, so that outcomes can still be written on a full disk."""

_OUTSIDE = 4
"""Divisor for the part of the reserve that must be free outside the database, regardless of the room inside."""
_BALLAST = 8
"""Divisor for the ballast's part of the reserve."""


class SqliteSpool:
    """`ports.Spool` on SQLite; its reader sees this shard alone. Made by `open`."""

    def __init__(self, clock: Clock, lock: int, store: ContentStore, rows: Rows, writer: Writer, reader: ReadOnlySpool):
        self._clock = clock
        self._lock = lock
        self._store = store
        self._rows = rows
        self._writer = writer
        self.reader = reader
        self._closed = False
        self._answers = unanswered.Answers(writer)
        self._has_ballast = False
        self._giving: asyncio.Task[None] | None = None
        self.moved = 0.0
        """Seconds by which all times were moved at the start."""
        self.has_unheard = False
        """Some client did not get its reply since the start."""

    @classmethod
    async def open(
        cls,
        directory: Path,
        clock: Clock,
        lease: float = 900.0,
        retention: RetentionPeriods | None = None,
        reserve: int = RESERVE,
        disk: Disk | None = None,
        shard: str = SHARD,
    ) -> SqliteSpool:
        """Own a shard of the spool in `directory`, made if absent, and repair its state after a crash.

        Transfers that a dead process had claimed are due at once; content files that no row names are removed. `lease`
        is in seconds, `reserve` in octets. Raises SpoolUnusable: owned by another process, on a network file system,
        written by a newer version, or not readable.
        """
        disk = disk or Disk()
        path = await asyncio.to_thread(make_shard, directory, shard, disk)
        lock = lock_shard(path)
        try:
            look = last_look(lock, clock.monotonic())
            connection, moved = await asyncio.to_thread(open_database, path / DATABASE, clock.now(), disk, look)
            try:
                store = ContentStore(path / CONTENT, disk, reserve, clock.new_id)
                named = {name for (name,) in connection.execute(QUERIES["content_paths"])}
                await asyncio.to_thread(store.sweep, named)
                rows = Rows(store, retention or RetentionPeriods(), lease)
                rows.let_readable_go(connection, clock.now())
                reader = ReadOnlySpool(directory, disk, shard)
                sign_lock(lock)
                note_look(lock, clock.now(), clock.monotonic())
            except BaseException:
                connection.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        made = cls(clock, lock, store, rows, Writer(connection), reader)
        made.moved = moved
        return made

    @property
    def path(self) -> Path:
        """The shard's directory."""
        return self._store.directory.parent

    async def commit(self, intake: Intake) -> None:
        """Store a reception. When it is not `durable` this returns at once, and a failure only counts in `unwritten`.

        Raises SpoolFull; then nothing is kept, not even a content file, unless it is SpoolDoubtful. Raises HoldFull;
        then the writer must discard the file.
        """
        if not intake.durable:
            await self._writer.post(
                partial(self._put, intake, self._find_now()), octets=_weigh(intake), quick=intake.hold is None
            )
            return
        content = intake.message.content if intake.message else None
        name = self._store.name_of(content) if content else None
        if name is not None:
            self._store.unowned.discard(name)
        try:
            await self._writer.run(
                partial(self._put, intake, self._find_now()), octets=_weigh(intake), quick=intake.hold is None
            )
        except HoldFull:
            if name is not None:
                self._store.unowned.add(name)
            raise
        except SpoolDoubtful:
            # A row without its file would be worse than a file without a row, which the next start removes.
            raise
        except Exception:
            if name is not None:
                self._store.remove((name,))
            raise

    def _put(self, intake: Intake, find_now: FindNow, connection: sqlite3.Connection) -> None:
        # A refusal for lack of room is still recorded, in a part of the reserve.
        reserve = self._store.reserve if intake.message is not None else self._store.reserve // 2
        free = self._store.disk.free(self._store.directory)
        if free < reserve and not is_enough(free, free_inside(connection), reserve):
            raise SpoolFull("the disk is almost full")
        self._rows.put(connection, intake, find_now(connection))

    def note_answer(self, id: str, heard: bool) -> None:
        """Note whether the client of a stored message got the reply. Written soon, with others."""
        self._answers.note(id, heard)
        self.has_unheard = self.has_unheard or not heard

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = True) -> str | None:
        """The stored message with one of these marks whose client did not get the reply."""
        return await self._writer.run(partial(self._find_unheard, marks, now), durable=False)

    def _find_unheard(self, marks: tuple[bytes, bytes], now: float, connection: sqlite3.Connection) -> str | None:
        self._answers.write_unheard(connection)
        return unanswered.find(connection, marks, now)

    @property
    def unwritten(self) -> int:
        """Receptions committed as not durable that could not be written."""
        return self._writer.unwritten

    def open_content(self) -> ContentWriter:
        """A place for content above the in-memory limit."""
        return self._store.create()

    def read_content(self, content: Content) -> AsyncIterator[bytes]:
        """The octets in chunks of at most 1 MB. Raises ContentAltered when the file is gone."""
        return self._store.read(content)

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        """Take due transfers. A claim need not reach the disk: a power cut ends every process that holds one."""
        if self.reader.ahead:
            return ()
        names = frozenset(skip)
        return await self._writer.run(
            lambda connection: self._rows.claim(connection, names, limit, now, lease), durable=False
        )

    async def release(self, claim: Claim, due: float) -> None:
        """Return a claim unused. A stale one is ignored."""
        find_now, now = self._find_now(), self._clock.now()

        def work(connection: sqlite3.Connection) -> None:
            self._rows.release(connection, claim, due + find_now(connection) - now)

        await self._writer.run(work, durable=False, quick=True)

    async def settle(self, settlement: Settlement) -> bool:
        """Write an attempt's outcome. False when the claim was lost. Raises SpoolFull; the caller can then try
        again."""
        find_now = self._find_now()
        try:
            done, _ = await self._writer.run(
                lambda connection: self._rows.settle(connection, settlement, find_now(connection)),
                octets=_weigh(settlement.dsn) if settlement.dsn else 0,
                quick=settlement.hold is None,
                settled=lambda result: self._store.remove(result[1]),
            )
        except SpoolFull:
            self._give_up_ballast()
            raise
        return done

    def take_damage(self) -> Sequence[Damage]:
        """Unreadable transfers found since the last call."""
        found = tuple(self._rows.damage)
        del self._rows.damage[: len(found)]
        return found

    async def storage(self) -> Storage:
        """The room on the disk. The ballast is restored as soon as there is room."""
        reserve, ballast = self._store.reserve, self._store.reserve // _BALLAST
        free = self._store.disk.free(self._store.directory)
        if free >= reserve and not self._writer.refused:
            if free >= reserve + ballast and not self._has_ballast and ballast:
                self._has_ballast = await asyncio.to_thread(make_ballast, self.path, ballast)
            return Storage(free, 0, reserve, takes=True)
        try:
            inside = await self._writer.run(_try_to_write)
            if self._giving is None or self._giving.done():
                self._giving = asyncio.create_task(self._give_room())
        except SpoolFull:
            self._give_up_ballast()
            return Storage(free, 0, reserve, takes=False)
        return Storage(free, inside, reserve, takes=free >= reserve or is_enough(free, inside, reserve))

    async def _give_room(self) -> None:
        """Return the free pages and the log's room to the file system: the other shards on it cannot use them here."""
        self._writer.shorten()
        with suppress(Exception):
            await self._writer.run(lambda connection: shrink(connection, keep=0), octets=PURGED_OCTETS)

    def _give_up_ballast(self) -> None:
        if self._has_ballast:
            self._has_ballast = False
            drop_ballast(self.path)

    async def hold(self, claim: Claim, reason: str) -> None:
        """Hold the claimed transfer until an admin decides. A stale claim is ignored."""
        await self._writer.run(lambda connection: self._rows.hold(connection, claim, reason))

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        """Send a held message. False when it is not held."""
        return await self._writer.run(lambda connection: self._rows.let_go(connection, id, transfers, act))

    async def discard(self, id: str, act: Act) -> bool:
        """Delete a held message. False when it is not held."""
        done, _ = await self._writer.run(
            lambda connection: holding.discard(connection, id, act),
            settled=lambda result: self._store.remove(result[1]),
        )
        return done

    async def amend(self, message_id: str, plan: Plan) -> Amendment:
        """Apply `plan` to a message's transfers. It is called in the writer's thread, perhaps twice."""
        now = self._clock.now()
        amendment, _ = await self._writer.run(
            lambda connection: amend(self._rows, connection, message_id, plan, now),
            settled=lambda result: self._store.remove(result[1]),
        )
        return amendment

    async def move_times(self, seconds: float) -> None:
        """Move all stored times by the jump of the wall clock, in seconds."""
        await self.begin_move(seconds)
        self.end_move(seconds)

    def _find_now(self) -> FindNow:
        """The time at which a write that is planned now is carried out. It is ahead of the clock when all times move
        before the write, and the clock is not adopted yet."""
        now = self._clock.now()
        look = last_look(self._lock, self._clock.monotonic()) if self.reader.ahead else None
        if look is None:
            return lambda connection: now
        looked = look.at
        return lambda connection: now + moved_since(connection, looked)

    async def begin_move(self, seconds: float) -> None:
        """Move all times. A repeated call before `end_move` moves only the remaining ones."""
        before, was_ahead = self._clock.now(), self.reader.ahead
        look = last_look(self._lock, self._clock.monotonic())
        looked = None if look is None else look.at
        self.reader.ahead = True
        try:
            await self._writer.run(lambda connection: move_times(connection, looked, seconds, before))
        except SpoolDoubtful:
            raise
        except Exception:
            self.reader.ahead = was_ahead
            raise

    def end_move(self, seconds: float) -> None:
        """The clock has been adopted."""
        self.reader.ahead = False
        note_look(self._lock, self._clock.now() + seconds, self._clock.monotonic())

    async def purge(self, now: float) -> int:
        """Remove rows beyond their retention, a bounded number at a time; returns their number."""
        if self.reader.ahead:
            return 0
        note_look(self._lock, now, self._clock.monotonic())
        count, _ = await self._writer.run(
            lambda connection: purge(connection, self._rows.retention, now),
            octets=PURGED_OCTETS,
            settled=lambda result: self._store.remove(result[1]),
        )
        return count

    async def close(self) -> None:
        """Write the waiting jobs, then release the directory."""
        if self._closed:
            return
        self._closed = True
        await self._answers.close()
        await self.reader.close()
        await self._writer.close()
        await self._store.close()
        if not self.reader.ahead:
            note_look(self._lock, self._clock.now(), self._clock.monotonic())
        os.close(self._lock)


def _weigh(intake: Intake) -> int:
    """Octets that are stored, roughly."""
    header = len(intake.trace.evidence.header) if intake.trace.evidence else 0
    data = intake.message.content.data if intake.message else None
    return 2 * header + len(data or b"")


def is_enough(free: int, inside: int, reserve: int) -> bool:
    """True when there is room inside or outside the database. The log needs some room outside."""
    return free + inside >= reserve and free >= reserve // _OUTSIDE


def free_inside(connection: sqlite3.Connection) -> int:
    """Octets of unused pages."""
    pages, octets = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    return int(pages * octets)


def _try_to_write(connection: sqlite3.Connection) -> int:
    connection.execute(QUERIES["try_to_write"])
    return free_inside(connection)
