"""A view of all shards of a spool, whoever owns them."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import os
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.model.delivery import Backlog, Failure, HeldEntry, QueueEntry, Quota, Story, Trace
from gateway.model.history import Acquaintance, History, Sender
from gateway.model.value import replace
from gateway.spool import codec
from gateway.spool.content import CHUNK
from gateway.spool.disk import CONTENT, DATABASE, Disk, SpoolUnmade, SpoolUnusable
from gateway.spool.queries import QUERIES
from gateway.spool.reader import ReadOnlySpool, find_shards

_AT_ONCE = 200
"""Rows read in one transaction, so that the gateway's log is not held up."""


@dataclass(slots=True)
class Inspection:
    """The results of an inspection."""

    traces: int = 0
    messages: int = 0
    octets: int = 0
    """Octets of content."""
    waiting: int = 0
    """Waiting transfers."""
    held: int = 0
    """Held transfers."""
    unclaimed_files: int = 0
    """Content files that no row names: being written now, or left by a crash and removed at the next start."""
    problems: list[str] = field(default_factory=list)


def inspect_shard(shard: Path, found: Inspection, tell: Callable[[int], None] = lambda done: None) -> None:
    """Add the results of a shard's directory. `tell` gets the number of rows seen now and then. Raises SpoolUnusable
    when there is nothing to read."""
    try:
        connection = Disk().connect(shard / DATABASE, True)
        try:
            found.problems += _check_pages(connection, shard)
            for table, look in (
                ("trace", _look_at_trace),
                ("message", _look_at_message),
                ("transfer", _look_at_transfer),
            ):
                for done, row in enumerate(_rows(connection, f"inspect_{table}")):
                    look(connection, shard, row, found)
                    if done % _AT_ONCE == 0:
                        tell(done)
            _look_at_files(connection, shard, found)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SpoolUnusable(f"spool {shard} cannot be read: {error}") from error


def _check_pages(connection: sqlite3.Connection, shard: Path) -> list[str]:
    said = [line for (line,) in connection.execute("PRAGMA quick_check")]
    return [] if said == ["ok"] else [f"{shard / DATABASE}: {line}" for line in said]


def _rows(connection: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """All rows by their number, a few at a time."""
    after = 0
    while rows := connection.execute(QUERIES[query], (after, _AT_ONCE)).fetchall():
        yield from rows
        after = rows[-1][0]


def _look_at_trace(connection: sqlite3.Connection, shard: Path, row: tuple[Any, ...], found: Inspection) -> None:
    n, id, body = row
    found.traces += 1
    _try_to_read(codec.TRACE, body, f"trace {id}", found)
    for (attempt,) in connection.execute(QUERIES["read_attempts"], (n,)):
        _try_to_read(codec.ATTEMPT, attempt, f"attempt of {id}", found)


def _look_at_message(connection: sqlite3.Connection, shard: Path, row: tuple[Any, ...], found: Inspection) -> None:
    n, id, size, sha256, path, data, idle = row
    found.messages += 1
    found.octets += size
    name = f"message {id}"
    if id is None:
        found.problems.append(f"message in row {n}: has no trace")
    if idle:
        found.problems.append(f"{name}: waits for nothing, is not held, and has no end")
    digest = hashlib.sha256(data or b"").digest() if path is None else _hash_file(shard / CONTENT / path)
    if digest == sha256:
        return
    # The message may have ended since the row was read; the row is then gone too.
    if connection.execute(QUERIES["has_message"], (n,)).fetchone():
        found.problems.append(f"{name}: content is {'missing' if digest is None else 'not what was received'}")


def _look_at_transfer(connection: sqlite3.Connection, shard: Path, row: tuple[Any, ...], found: Inspection) -> None:
    n, id, wake, rcpts, body, has_message, held = row
    found.waiting += wake is not None
    found.held += wake is None
    if _try_to_read(codec.RECIPIENTS, rcpts, f"recipients of {id}", found) == ():
        found.problems.append(f"transfer {id}: has no recipient")
    _try_to_read(codec.TRANSFER, body, f"transfer {id}", found)
    if not has_message and connection.execute(QUERIES["has_transfer"], (n,)).fetchone():
        found.problems.append(f"transfer {id}: its message is gone")
    if wake is None and has_message and not held:
        found.problems.append(f"transfer {id}: is held, and its message is not")


def _look_at_files(connection: sqlite3.Connection, shard: Path, found: Inspection) -> None:
    there = {entry.name for entry in (shard / CONTENT).iterdir()}
    named = {name for (name,) in connection.execute(QUERIES["content_paths"])}
    found.unclaimed_files += len(there - named)


def _try_to_read(reader: codec.Codec[Any], octets: bytes, name: str, found: Inspection) -> Any:
    try:
        return reader.unpack(octets)
    except codec.Unreadable as error:
        found.problems.append(f"{name}: unreadable: {error}")
        return None


def _hash_file(path: Path) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()


DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Names of shards, and the tenth characters of ids."""
_ID = re.compile(rf"[{DIGITS}]{{9}}([{DIGITS}])[{DIGITS}]{{5}}")


class ShardedView:
    """`ports.SpoolReader` over all shards, whoever owns them; `owned` are those of this process, already open.

    Raises SpoolUnusable when there is nothing to look at, or a shard cannot be read. While the gateway is `running`, a
    shard that cannot be read is looked for again: its worker has perhaps not opened it yet, which on a full disk only
    the owner can.
    """

    def __init__(
        self, directory: Path, owned: Mapping[str, ReadOnlySpool] = MappingProxyType({}), running: bool = False
    ) -> None:
        self._directory = directory
        self._owned = owned
        self._views: dict[str, ReadOnlySpool] = {}
        unmade = None
        for path in find_shards(directory):
            try:
                self._views[path.name] = owned.get(path.name) or ReadOnlySpool(directory, shard=path.name)
            except SpoolUnusable as error:
                # Another worker may be creating it now, as at the first start of a new version.
                if not running and not isinstance(error, SpoolUnmade):
                    raise
                unmade = error
        if unmade is not None and not self._views:
            raise unmade

    async def story(self, id: str) -> Story | None:
        for view in self._begin_with(id):
            story = await view.story(id)
            if story is not None:
                return story
        return None

    async def content(self, id: str) -> AsyncIterator[bytes] | None:
        for view in self._begin_with(id):
            content = await view.content(id)
            if content is not None:
                return content
        return None

    async def count_traces(self, since: float) -> int:
        return sum([await view.count_traces(since) for view in self._look()])

    async def traces(self, since: float) -> AsyncIterator[Sequence[Trace]]:
        for view in self._look():
            async for traces in view.traces(since):
                yield traces

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        return History.join([await view.recall(domain, source, names) for view in self._look()])

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float) -> str | None:
        """The stored message with one of these marks whose client did not get the reply."""
        for view in self._look():
            found = await view.find_unheard(marks, now)
            if found is not None:
                return found
        return None

    async def is_unanswered(self, marks: tuple[bytes, bytes]) -> bool:
        return any([await view.is_unanswered(marks) for view in self._look()])

    async def has_unheard(self) -> bool:
        """Some client did not get its reply."""
        return any([await view.has_unheard() for view in self._look()])

    async def acquaintance(self, key: str) -> Acquaintance | None:
        # A retry comes to any worker.
        found = [await view.acquaintance(key) for view in self._look()]
        # Accepted senders are remembered longest.
        return max((one for one in found if one), key=lambda one: one.expires, default=None)

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        found: dict[tuple[str, str, str], Sender] = {}
        for view in self._look():
            for one in await view.senders(domains, limit):
                key = (one.domain, one.source, one.signer)
                found[key] = _join(one, found[key]) if key in found else one
        return heapq.nsmallest(limit, found.values(), key=lambda one: -one.last)

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        found = [entry for view in self._look() for entry in await view.queue(limit)]
        return heapq.nsmallest(limit, found, key=lambda entry: entry.due)

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        return _merge_held([await view.held(limit) for view in self._look()], limit)

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        return _merge_held([await view.given_up(since, limit) for view in self._look()], limit)

    async def measure_held(self, domain: str, but: str) -> Quota:
        """The amount held in all shards except `but`, of a domain and in all."""
        self._look()
        found = [await view.measure_held(domain) for name, view in self._views.items() if name != but]
        return Quota(
            sum(one.domain_messages for one in found),
            sum(one.domain_octets for one in found),
            sum(one.messages for one in found),
            sum(one.octets for one in found),
        )

    async def failed(self, limit: int) -> Sequence[Failure]:
        found = [one for view in self._look() for one in await view.failed(limit)]
        return sorted(found, key=lambda one: -one.at)[:limit]

    async def counts(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for view in self._look():
            total.update(await view.counts())
        return dict(total)

    async def backlogs(self) -> Sequence[Backlog]:
        found: dict[str, Backlog] = {}
        for view in self._look():
            for one in await view.backlogs():
                found[one.backend] = _add(one, found[one.backend]) if one.backend in found else one
        return tuple(found.values())

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        return [id for view in self._look_at_owned() for id in await view.overdue(now, limit)][:limit]

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        found = [await view.next_due(skip) for view in self._look_at_owned()]
        return min((due for due in found if due is not None), default=None)

    async def close(self) -> None:
        await asyncio.gather(*(view.close() for view in self._views.values()))

    def _look(self) -> list[ReadOnlySpool]:
        """The shards, including new ones as soon as they are complete."""
        for name in os.listdir(self._directory):
            if name not in self._views and name in DIGITS:
                with suppress(SpoolUnusable):
                    self._views[name] = ReadOnlySpool(self._directory, shard=name)
        return list(self._views.values())

    def _look_at_owned(self) -> Sequence[ReadOnlySpool]:
        """The shards in which this process works; all, when it works in none."""
        return tuple(self._owned.values()) or self._look()

    def _begin_with(self, id: str) -> list[ReadOnlySpool]:
        """The shards, beginning with the one that the id names. A DSN that was made in an adopted shard has the digit
        of another."""
        named = _ID.fullmatch(id)
        first = self._views.get(named[1]) if named else None
        return sorted(self._look(), key=lambda view: view is not first)


def _add(one: Backlog, other: Backlog) -> Backlog:
    """The same backend in two shards."""
    oldest = min((at for at in (one.oldest, other.oldest) if at is not None), default=None)
    return Backlog(one.backend, one.waiting + other.waiting, one.held + other.held, oldest)


def _join(one: Sender, other: Sender) -> Sender:
    """The same source, as two workers saw it."""
    passed, failed = one.passed + other.passed, one.failed + other.failed
    later = max(one, other, key=lambda sender: sender.last)
    return replace(later, passed=passed, failed=failed, first=min(one.first, other.first))


def _merge_held(entries: Sequence[Sequence[HeldEntry]], limit: int) -> list[HeldEntry]:
    return heapq.nsmallest(limit, (entry for part in entries for entry in part), key=lambda entry: entry.received)
