"""Search over all shards: the index proposes messages, and the spool says what each of them is now.

Traces that are not in the index yet are read as they are. So a search is complete while the index is behind, and also
without any; it then takes longer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from gateway.model.search import FoundMessage, MessageQuery
from gateway.model.value import Value
from gateway.plan.search import matches, summarize
from gateway.spool.disk import SpoolUnusable
from gateway.spool.index import IndexMissing, IndexReader, to_place
from gateway.spool.reader import find_shards
from gateway.spool.stories import ShardStories

_AT_ONCE = 100
"""Candidates that are read together."""
_SCANNED = 500
_END = (1 << 62) + 1
"""A place behind every message."""


class FoundPage(Value):
    """Messages, the newest first."""

    messages: tuple[FoundMessage, ...]
    next: str
    """The cursor of the next page; empty at the end."""


class SearchBounds(Value):
    """What a search can see."""

    indexed: bool
    """There is an index."""
    behind: int
    """Traces that are not in it, and are read one by one."""
    oldest: float | None
    """Epoch seconds of the oldest trace; None without any."""


class SpoolSearch:
    """Reads the spool and its index, whether the gateway runs or not. Raises SpoolUnusable when there is no spool."""

    def __init__(self, directory: Path, subjects: bool) -> None:
        self._subjects = subjects
        self._shards: list[ShardStories] = []
        refused: SpoolUnusable | None = None
        for path in find_shards(directory):
            try:
                self._shards.append(ShardStories(directory, path.name))
            except SpoolUnusable as error:
                refused = error
        if refused is not None and not self._shards:
            raise refused
        self._index: IndexReader | None = None
        with suppress(IndexMissing):
            self._index = IndexReader(directory, subjects)

    def measure(self) -> SearchBounds:
        """How much is in the index, and how much is not."""
        heads = [(shard, shard.heads()) for shard in self._shards]
        behind = sum(max(0, head.trace - self._position(shard)) for shard, head in heads)
        oldest = min((head.oldest for _, head in heads if head.oldest), default=None)
        return SearchBounds(self._index is not None, behind, oldest)

    def find(
        self, query: MessageQuery, limit: int, after: str = "", tell: Callable[[int], None] = lambda read: None
    ) -> FoundPage:
        """Up to `limit` messages, the newest first. `after` is the cursor of an earlier page; `tell` gets the number of
        traces read one by one now and then. Raises ValueError for a cursor that is none."""
        before = _read_cursor(after)
        fresh = [one for one in self._scan(query, tell) if one[0] < before]
        fresh.sort(key=lambda one: -one[0])
        found: list[tuple[int, FoundMessage]] = []
        seen: set[str] = set()
        for at, message in heapq.merge(fresh, self._look_up(query, before), key=lambda one: -one[0]):
            if message.id not in seen:
                seen.add(message.id)
                found.append((at, message))
            if len(found) > limit:
                break
        page = found[:limit]
        more = len(found) > limit
        return FoundPage(tuple(message for _, message in page), str(page[-1][0]) if more and page else "")

    def close(self) -> None:
        for shard in self._shards:
            shard.close()
        if self._index is not None:
            self._index.close()

    def _position(self, shard: ShardStories) -> int:
        return self._index.position(shard.name)[0] if self._index else 0

    def _scan(self, query: MessageQuery, tell: Callable[[int], None]) -> Iterator[tuple[int, FoundMessage]]:
        """The matching messages among the traces that the index does not have."""
        read = 0
        for shard in self._shards:
            head, after = shard.heads().trace, self._position(shard)
            if head <= after:
                continue
            since = 0.0 if query.since is None else query.since
            until = float(_END) if query.until is None else query.until
            numbers = shard.numbers_between(after, head, since, until)
            for at in range(0, len(numbers), _SCANNED):
                for message in self._read(shard, numbers[at : at + _SCANNED], query):
                    yield to_place(message.received), message
                read += len(numbers[at : at + _SCANNED])
                tell(read)

    def _look_up(self, query: MessageQuery, before: int) -> Iterator[tuple[int, FoundMessage]]:
        """The matching messages that the index proposes."""
        if self._index is None:
            return
        candidates = self._index.candidates(query, before)
        size = 20
        while some := list(islice(candidates, size)):
            places = {id: at for at, id in some}
            found: dict[str, FoundMessage] = {}
            for shard in self._shards:
                left = [id for id in places if id not in found]
                if left:
                    found.update({one.id: one for one in self._read(shard, shard.numbers_of(left), query)})
            yield from sorted(((places[id], one) for id, one in found.items() if id in places), key=lambda one: -one[0])
            size = _AT_ONCE

    def _read(self, shard: ShardStories, numbers: Sequence[int], query: MessageQuery) -> list[FoundMessage]:
        if not numbers:
            return []
        summaries = map(summarize, shard.read(numbers).found)
        return [one for one in summaries if matches(query, one, self._subjects)]


def _read_cursor(text: str) -> int:
    if not text:
        return _END
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise ValueError(f"{text!r} is no cursor: give the value of `next` of the page before")
    return min(int(text), _END)
