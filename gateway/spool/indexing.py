"""Deriving the index from the shards: new traces, what became of earlier ones, and what is gone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.model.value import Value
from gateway.plan.search import summarize
from gateway.spool.disk import DATABASE, SpoolUnusable
from gateway.spool.index import IndexBroken, IndexWriter
from gateway.spool.sqlite import RESERVE
from gateway.spool.stories import ShardStories
from gateway.spool.view import DIGITS

_AT_ONCE = 500
"""Messages read in one transaction, so that the gateway's log is not held up."""
_COMPARED = 2000
"""Ids compared with the spool in one look."""
_LAST = "\U0010ffff"


class IndexNoRoom(SpoolUnusable):
    """The disk has too little room: it belongs to mail."""


class Progress(Value):
    """The state after a step."""

    messages: int
    """Messages read in this step."""
    behind: int
    """Traces that are not in the index yet."""


class _Shard:
    """One shard, and the state from which its messages in the index were derived."""

    def __init__(self, stories: ShardStories) -> None:
        self.stories = stories
        self.known: dict[int, tuple[int, float | None]] = {}
        """Each transfer's message and time of waking."""
        self.version = -1
        self.begun = False


class Indexer:
    """Brings the index up to date in steps. Used in one thread."""

    def __init__(self, directory: Path, writer: IndexWriter) -> None:
        self._directory = directory
        self._writer = writer
        self._shards: dict[str, _Shard] = {}
        self._compared = ""
        self.unreadable = 0
        """Traces that could not be read."""

    def step(self) -> Progress:
        """Take in the changes, and up to some hundred new traces of each shard. Raises IndexNoRoom, IndexBroken."""
        room = os.statvfs(self._directory)
        if room.f_bavail * room.f_frsize < 2 * RESERVE:
            raise IndexNoRoom("the disk is almost full: the index waits, and search reads the spool itself")
        messages = behind = 0
        try:
            for shard in self._look():
                read, left = self._follow(shard)
                messages += read
                behind += left
        except sqlite3.Error as error:
            raise IndexBroken(error) from error
        return Progress(messages, behind)

    def compare(self) -> None:
        """Compare some more ids with the spool: messages whose traces are gone are removed, and missed ones are
        added. Raises IndexBroken."""
        try:
            self._compare()
        except sqlite3.Error as error:
            raise IndexBroken(error) from error

    def _compare(self) -> None:
        writer, after = self._writer, self._compared
        there = writer.ids_after(after, _COMPARED)
        known = frozenset(there)
        last = there[-1] if len(there) == _COMPARED else _LAST
        stored: set[str] = set()
        for shard in self._look():
            ids = shard.stories.ids_between(after, last, _COMPARED)
            stored.update(ids)
            if len(ids) == _COMPARED:
                last = min(last, ids[-1])
            missing = [id for id in ids if id not in known]
            if missing:
                self._read(shard, shard.stories.numbers_of(missing), {})
        gone = [id for id in there if id <= last and id not in stored]
        if gone:
            writer.remove(gone)
        self._compared = "" if last == _LAST else last

    def close(self) -> None:
        for shard in self._shards.values():
            shard.stories.close()
        self._writer.close()

    def _look(self) -> list[_Shard]:
        """The shards, new ones too."""
        with suppress(FileNotFoundError):
            for path in sorted(self._directory.iterdir()):
                name = path.name
                if name in self._shards or name not in DIGITS or not (path / DATABASE).is_file():
                    continue
                with suppress(SpoolUnusable):  # its owner is creating it
                    self._shards[name] = _Shard(ShardStories(self._directory, name))
        return list(self._shards.values())

    def _follow(self, shard: _Shard) -> tuple[int, int]:
        """Messages read, and traces left for the next step."""
        stories, name = shard.stories, shard.stories.name
        version = stories.version()
        if version == shard.version:
            return 0, 0
        heads = stories.heads()
        trace, act = self._writer.position(name)
        if heads.trace < trace or heads.act < act:
            # The spool was emptied or restored: numbers begin again.
            trace = act = 0
        read = 0
        if heads.trace - trace <= _AT_ONCE:
            # Before that, most of what has changed is read as new.
            changed = set(self._find_changed(shard, trace))
            changed.update(n for n in stories.acted_after(act, heads.act) if n <= trace)
            read += self._read_all(shard, sorted(changed))
            act = heads.act
        new = stories.numbers_after(trace, heads.trace, _AT_ONCE)
        last = heads.trace if len(new) < _AT_ONCE else new[-1]
        read += self._read(shard, new, {name: (last, act)})
        left = heads.trace - last
        if not left:
            shard.version = version
        return read, left

    def _find_changed(self, shard: _Shard, trace: int) -> Iterator[int]:
        """Numbers of messages in the index whose transfers have changed since they were read."""
        if not shard.begun:
            shard.begun = True
            yield from shard.stories.numbers_of(self._writer.open_ids())
        wakes, known = shard.stories.wakes(), shard.known
        for n in known.keys() - wakes.keys():
            yield known.pop(n)[0]
        unknown = []
        for n, wake in wakes.items():
            seen = known.get(n)
            if seen is None:
                unknown.append(n)
            elif seen[1] != wake:
                yield seen[0]
        for at in range(0, len(unknown), _AT_ONCE):
            yield from (n for n in shard.stories.messages_of(unknown[at : at + _AT_ONCE]) if n <= trace)

    def _read_all(self, shard: _Shard, numbers: Sequence[int]) -> int:
        return sum(self._read(shard, numbers[at : at + _AT_ONCE], {}) for at in range(0, len(numbers), _AT_ONCE))

    def _read(self, shard: _Shard, numbers: Sequence[int], positions: dict[str, tuple[int, int]]) -> int:
        stories = shard.stories.read(numbers)
        self._writer.put(map(summarize, stories.found), positions)
        shard.known.update({one.n: (one.message, one.wake) for one in stories.transfers})
        self.unreadable += stories.unreadable
        return len(stories.found)
