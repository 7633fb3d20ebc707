"""The stories of many messages of one shard at once, and what has changed since they were read.

Nothing is written for this when mail comes or goes. A trace has a growing number, and so has an act; a transfer that
was claimed, deferred, held or ended has another time of waking, or is gone.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gateway.model.delivery import Act, Attempt, Ending, Story, Transfer
from gateway.model.value import Value
from gateway.spool import codec
from gateway.spool.disk import DATABASE, Disk, SpoolUnmade, SpoolUnusable
from gateway.spool.queries import INDEX_QUERIES, STEPS, check_version


class Heads(Value):
    """The newest rows of a shard."""

    trace: int
    act: int
    oldest: float
    """Epoch seconds of the oldest trace; 0 without any."""


class StoredTransfer(Value):
    """A transfer's row, as far as it tells of a change."""

    n: int
    message: int
    wake: float | None


class Stories(Value):
    """What one reading gives."""

    found: tuple[Story, ...]
    transfers: tuple[StoredTransfer, ...]
    unreadable: int


class ShardStories:
    """Reads one shard in short transactions, in the thread of its user. Raises SpoolUnusable."""

    def __init__(self, directory: Path, shard: str) -> None:
        path = directory / shard / DATABASE
        try:
            self._connection = Disk().connect(path, True)
            version = check_version(self._connection, str(directory))
        except sqlite3.Error as error:
            raise SpoolUnusable(f"spool {directory} cannot be read: {error}") from error
        if version < len(STEPS):
            self._connection.close()
            raise SpoolUnmade(f"spool {directory} has format {version}: the gateway updates it when it starts")
        self.name = shard

    def version(self) -> int:
        """A number that changes with every write of the owner."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def heads(self) -> Heads:
        return Heads(*self._connection.execute(INDEX_QUERIES["heads"]).fetchone())

    def numbers_after(self, n: int, head: int, limit: int) -> list[int]:
        """Numbers of up to `limit` traces after this one, up to `head`."""
        return self._numbers("traces_after", (n, head, limit))

    def numbers_between(self, after: int, head: int, since: float, until: float) -> list[int]:
        """Numbers of traces after this one and up to `head` that were received in this time."""
        values = {"after": after, "head": head, "since": since, "until": until}
        return self._numbers("traces_between", values)

    def numbers_of(self, ids: Iterable[str]) -> list[int]:
        return self._numbers("numbers_of", (json.dumps(list(ids)),))

    def acted_after(self, n: int, head: int) -> list[int]:
        """Numbers of the traces of messages with a later act."""
        return [message for _, message in self._connection.execute(INDEX_QUERIES["acted_after"], (n, head))]

    def messages_of(self, transfers: Sequence[int]) -> list[int]:
        return self._numbers("messages_of", (json.dumps(transfers),))

    def wakes(self) -> dict[int, float | None]:
        """The time of waking of every transfer: one scan of an index."""
        return dict(self._connection.execute(INDEX_QUERIES["transfers"]))

    def ids_between(self, after: str, last: str, limit: int) -> list[str]:
        rows = self._connection.execute(INDEX_QUERIES["trace_ids"], (after, last, limit))
        return [id for (id,) in rows]

    def read(self, numbers: Sequence[int]) -> Stories:
        """The stories of these traces, in one consistent state; those that are gone, or cannot be read, are missing."""
        asked = (json.dumps(list(numbers)),)
        connection = self._connection
        connection.execute("BEGIN")
        try:
            traces = connection.execute(INDEX_QUERIES["stories_traces"], asked).fetchall()
            attempts = connection.execute(INDEX_QUERIES["stories_attempts"], asked).fetchall()
            transfers = connection.execute(INDEX_QUERIES["stories_transfers"], asked).fetchall()
            acts = connection.execute(INDEX_QUERIES["stories_acts"], asked).fetchall()
        finally:
            connection.execute("ROLLBACK")
        return _make_stories(traces, attempts, transfers, acts)

    def close(self) -> None:
        self._connection.close()

    def _numbers(self, query: str, values: Any) -> list[int]:
        return [n for (n,) in self._connection.execute(INDEX_QUERIES[query], values)]


def _make_stories(
    traces: Sequence[Any], attempts: Sequence[Any], transfers: Sequence[Any], acts: Sequence[Any]
) -> Stories:
    tried: dict[int, list[tuple[Attempt, tuple[Ending, ...]]]] = defaultdict(list)
    done: dict[int, list[Act]] = defaultdict(list)
    waiting: dict[int, list[tuple[Transfer, bool]]] = defaultdict(list)
    damaged: dict[int, list[str]] = defaultdict(list)
    for message, body in attempts:
        try:
            tried[message].append(codec.ATTEMPT.unpack(body))
        except codec.Unreadable:
            damaged[message].append("an attempt cannot be read")
    for message, body in acts:
        try:
            done[message].append(codec.ACT.unpack(body))
        except codec.Unreadable:
            damaged[message].append("an act cannot be read")
    for message, _, wake, due, count, warned, rcpts, body, id in transfers:
        try:
            waiting[message].append((codec.unpack_transfer(due, count, warned, rcpts, body), wake is None))
        except codec.Unreadable:
            damaged[message].append(f"the transfer {id} cannot be read")
    found, unreadable = [], 0
    for n, body, kept, held in traces:
        try:
            trace = codec.TRACE.unpack(body)
        except codec.Unreadable:
            unreadable += 1
            continue
        rows = sorted(tried.get(n, ()), key=lambda row: row[0].started)
        acted = tuple(done.get(n, ()))
        ended = (*(endings for _, endings in rows), *(act.endings for act in acted))
        left = waiting.get(n, ())
        found.append(
            Story(
                trace=trace,
                endings=tuple(ending for endings in ended for ending in endings),
                waiting=tuple(transfer for transfer, _ in left),
                attempts=tuple(attempt for attempt, _ in rows),
                content_kept=bool(kept),
                held=bool(held),
                acts=acted,
                held_transfers=tuple(transfer.id for transfer, is_held in left if is_held),
                damaged=tuple(damaged.get(n, ())),
            )
        )
    seen = tuple(StoredTransfer(row[1], row[0], row[2]) for row in transfers)
    return Stories(tuple(found), seen, unreadable)
