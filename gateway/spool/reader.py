"""Reading the spool while its writer runs, in the same process or another."""

from __future__ import annotations

import asyncio
import heapq
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.model.delivery import Backlog, Failure, Final, HeldEntry, QueueEntry, Quota, Story, Trace
from gateway.model.history import Acquaintance, History, Sender
from gateway.ports import StoryUnreadable
from gateway.spool import codec, greylist, holding, senders, unanswered
from gateway.spool.content import CHUNK
from gateway.spool.disk import CONTENT, DATABASE, Disk, SpoolUnmade, SpoolUnusable
from gateway.spool.queries import QUERIES, STEPS, check_version
from gateway.spool.rows import UNREADABLE, find_backends

_GOOD = (Final.DELIVERED, Final.RETURNED)


def list_failed(connection: sqlite3.Connection, limit: int) -> list[Failure]:
    """The failures of up to `limit` attempts, the newest messages first. Unreadable ones are left out."""
    found = []
    for trace_body, attempt_body in connection.execute(QUERIES["list_failed"], (limit,)):
        try:
            trace = codec.TRACE.unpack(trace_body)
            attempt, endings = codec.ATTEMPT.unpack(attempt_body)
        except codec.Unreadable:
            continue
        sender = str(trace.envelope.mail_from or "")
        hosts = {one.rcpt: one.remote_mta for one in attempt.outcomes}
        found += [
            Failure(
                message_id=trace.id,
                at=attempt.ended,
                mail_from=sender,
                rcpt=str(one.rcpt.mailbox),
                backend=attempt.backend,
                state=one.state,
                reply=one.reply,
                remote_mta=hosts.get(one.rcpt, ""),
            )
            for one in endings
            if one.state not in _GOOD
        ]
    return found


T = TypeVar("T")

_TRACES_AT_ONCE = 500

SHARD = "0"
"""The first shard: the directory below the spool's that contains everything of one worker."""
_NONE = "there is no spool in {}; `waypost serve` makes it, [server] spool says where"


def find_shards(directory: Path) -> tuple[Path, ...]:
    """The directories of a spool's shards. Raises SpoolUnusable when there is none."""
    try:
        shards = sorted(path for path in directory.iterdir() if (path / DATABASE).is_file())
    except FileNotFoundError:
        shards = []
    except OSError as error:
        raise SpoolUnusable(f"spool {directory}: {error.strerror}") from error
    if not shards:
        raise SpoolUnusable(_NONE.format(directory))
    return tuple(shards)


class ReadOnlySpool:
    """`ports.SpoolReader` for one shard. It needs no lock: it works while the gateway runs, or while it is down.

    Each method sees one consistent state. Opening raises SpoolUnusable when there is no spool or when another version
    wrote it.
    """

    def __init__(self, directory: Path, disk: Disk | None = None, shard: str = SHARD) -> None:
        path = directory / shard / DATABASE
        if not path.is_file():
            raise SpoolUnusable(_NONE.format(directory))
        try:
            self._connection = (disk or Disk()).connect(path, True)
            version = check_version(self._connection, str(directory))
        except sqlite3.Error as error:
            raise SpoolUnusable(f"spool {directory} cannot be read: {error}") from error
        if version < len(STEPS):
            self._connection.close()
            raise SpoolUnmade(f"spool {directory} has format {version}: the gateway updates it when it starts")
        self._content = directory / shard / CONTENT
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-reader")
        self.ahead = False
        """The owner has moved all times, and has not adopted the clock yet. Until then nothing is due by them."""

    async def story(self, id: str) -> Story | None:
        return await self._read(lambda connection: _read_story(connection, id))

    async def count_traces(self, since: float) -> int:
        return await self._read(
            lambda connection: int(connection.execute(QUERIES["count_traces"], (since,)).fetchone()[0])
        )

    async def traces(self, since: float) -> AsyncIterator[Sequence[Trace]]:
        after: tuple[float, int] = (since, -1)
        while rows := await self._read(partial(_read_traces, after=after)):
            after = rows[-1][:2]
            yield [trace for _, _, trace in rows if trace is not None]

    async def content(self, id: str) -> AsyncIterator[bytes] | None:
        found = await self._read(
            lambda connection: connection.execute(QUERIES["read_content"], (codec.as_text(id),)).fetchone()
        )
        return None if found is None else _give_out(self._content, *found)

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float) -> str | None:
        """The stored message with one of these marks whose client did not get the reply."""
        return await self._read(lambda connection: unanswered.find(connection, marks, now))

    async def is_unanswered(self, marks: tuple[bytes, bytes]) -> bool:
        return await self._read(lambda connection: unanswered.is_pending(connection, marks))

    async def has_unheard(self) -> bool:
        """Some client did not get its reply."""
        return await self._read(unanswered.are_there_any)

    async def failed(self, limit: int) -> Sequence[Failure]:
        return await self._read(lambda connection: list_failed(connection, limit))

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        return await self._read(lambda connection: holding.list_held(connection, limit))

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        return await self._read(lambda connection: holding.list_given_up(connection, since, limit))

    async def measure_held(self, domain: str) -> Quota:
        """The amount held, of a domain and in all."""
        return await self._read(lambda connection: holding.measure(connection, domain))

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        return () if self.ahead else await self._read(lambda connection: holding.list_overdue(connection, now, limit))

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        return await self._read(lambda connection: senders.recall(connection, domain, source, names))

    async def acquaintance(self, key: str) -> Acquaintance | None:
        return await self._read(lambda connection: greylist.recall(connection, key))

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        return await self._read(lambda connection: senders.list_senders(connection, domains, limit))

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        return await self._read(lambda connection: _list_queue(connection, limit))

    async def counts(self) -> dict[str, int]:
        return await self._read(lambda connection: dict(connection.execute(QUERIES["count_backends"])))

    async def backlogs(self) -> Sequence[Backlog]:
        return await self._read(_summarize)

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        return None if self.ahead else await self._read(lambda connection: _find_next(connection, skip))

    async def close(self) -> None:
        """End the reading thread."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_at_once, work)

    def _read_at_once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Several statements that see the same state."""
        self._connection.execute("BEGIN")
        try:
            return work(self._connection)
        finally:
            self._connection.execute("ROLLBACK")


async def _give_out(directory: Path, name: str | None, data: bytes | None) -> AsyncIterator[bytes]:
    """The chunks; empty when the file is gone. The hash then shows the loss."""
    if data is not None:
        yield data
    path = directory / name if name else None
    if path is not None and await asyncio.to_thread(path.is_file):
        with await asyncio.to_thread(path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk


def _read_story(connection: sqlite3.Connection, id: str) -> Story | None:
    found = connection.execute(QUERIES["read_trace"], (codec.as_text(id),)).fetchone()
    if found is None:
        return None
    n, body = found
    damaged: list[str] = []
    state = connection.execute(QUERIES["read_message_state"], (n,)).fetchone()
    try:
        trace = codec.TRACE.unpack(body)
    except codec.Unreadable as error:
        raise StoryUnreadable(
            f"what is stored of {id} cannot be read: {error}; `waypost spool check` names every such row"
        ) from error
    attempts = connection.execute(QUERIES["read_attempts"], (n,))
    rows = [row for (body,) in attempts if (row := _try_to_read(codec.ATTEMPT.unpack, "an attempt", damaged, body))]
    rows.sort(key=lambda row: row[0].started)
    acts = tuple(
        act
        for (body,) in connection.execute(QUERIES["read_acts"], (n,))
        if (act := _try_to_read(codec.ACT.unpack, "what was done with it by hand", damaged, body))
    )
    ended = (*(endings for _, endings in rows), *(act.endings for act in acts))
    transfers = [
        (transfer, held)
        for *row, name, held in connection.execute(QUERIES["read_transfers"], (n,))
        if (transfer := _try_to_read(codec.unpack_transfer, f"the transfer {name}", damaged, *row))
    ]
    return Story(
        trace=trace,
        endings=tuple(ending for endings in ended for ending in endings),
        waiting=tuple(transfer for transfer, _ in transfers),
        attempts=tuple(attempt for attempt, _ in rows),
        content_kept=state is not None,
        held=bool(state and state[0]),
        acts=acts,
        held_transfers=tuple(transfer.id for transfer, held in transfers if held),
        damaged=tuple(damaged),
    )


def _try_to_read(read: Callable[..., T], name: str, damaged: list[str], *columns: Any) -> T | None:
    """None, and a line in `damaged`, if the value cannot be read."""
    try:
        return read(*columns)
    except codec.Unreadable as error:
        damaged.append(f"{name} cannot be read: {error}")
        return None


def _read_traces(connection: sqlite3.Connection, after: tuple[float, int]) -> list[tuple[float, int, Trace | None]]:
    rows = connection.execute(QUERIES["read_traces"], (*after, _TRACES_AT_ONCE)).fetchall()
    return [(received, n, _read_trace(body)) for received, n, body in rows]


def _read_trace(body: bytes) -> Trace | None:
    try:
        return codec.TRACE.unpack(body)
    except codec.Unreadable:
        return None


def _list_queue(connection: sqlite3.Connection, limit: int) -> list[QueueEntry]:
    rows = [
        row
        for backend in find_backends(connection)
        for row in connection.execute(QUERIES["list_queue"], (backend, limit))
    ]
    return [_read_entry(row) for row in heapq.nsmallest(limit, rows, key=lambda row: float(row[0]))]


def _summarize(connection: sqlite3.Connection) -> list[Backlog]:
    found = []
    for backend, waiting, held, first in connection.execute(QUERIES["summarize_backends"]).fetchall():
        row = connection.execute(QUERIES["transfer_received"], (first,)).fetchone()
        found.append(Backlog(backend, waiting, held, row[0] if row else None))
    return found


def _read_entry(row: Sequence[Any]) -> QueueEntry:
    due, attempts, warned, rcpts, body, leased, held, last_reply, reason, size, message_id, received, id, backend = row
    said = reason if held and reason else last_reply
    mail_from, created = "", received
    named: tuple[str, ...] = ()
    try:
        transfer = codec.unpack_transfer(due, attempts, warned, rcpts, body)
    except codec.Unreadable as error:
        # One damaged row must not hide the others.
        said = said or f"{UNREADABLE}{error}"
    else:
        mail_from, created = str(transfer.mail_from or ""), transfer.created
        named = tuple(str(rcpt.mailbox) for rcpt in transfer.rcpts)
    return QueueEntry(
        transfer_id=id,
        message_id=message_id,
        backend=backend,
        mail_from=mail_from,
        rcpts=named,
        size=size,
        created=created,
        due=due,
        attempts=attempts,
        last_reply=said,
        claimed=bool(leased),
        held=bool(held),
    )


def _find_next(connection: sqlite3.Connection, skip: Collection[str]) -> float | None:
    wakes = (
        connection.execute(QUERIES["first_wake"], (backend,)).fetchone()[0]
        for backend in find_backends(connection, skip)
    )
    return min((wake for wake in wakes if wake is not None), default=None)
