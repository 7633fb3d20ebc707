"""A spool of several shards as one: a worker's own and those it has adopted, or all of them to look at.

New mail goes to the first shard. Whatever concerns a claim goes to the shard that it was taken from.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gateway.model.delivery import Act, Claim, Intake, QueueEntry, Settlement, Story, Trace, Transfer
from gateway.model.failure import Failure
from gateway.model.greylisting import Acquaintance
from gateway.model.history import History, Sender
from gateway.model.holding import HeldEntry, Hold, Quota
from gateway.model.message import Content
from gateway.ports import Clock, ContentWriter
from gateway.spool.disk import SpoolUnmade, SpoolUnusable
from gateway.spool.reader import ReadOnlySpool, find_shards
from gateway.spool.rows import Retention
from gateway.spool.sqlite import SqliteSpool

_LOOK_EVERY = 1.0
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
MOST_SHARDS = len(_DIGITS)
_ID = re.compile(rf"[{_DIGITS}]{{9}}([{_DIGITS}])[{_DIGITS}]{{5}}")


def shard_name(worker: int) -> str:
    """The worker's own shard; ids that it makes have the same digit in the tenth place."""
    return _DIGITS[worker]


def find_adopted(directory: Path, worker: int, workers: int) -> list[str]:
    """Shards without a worker of their own that fall to this one: there were more workers once."""
    with suppress(SpoolUnusable):
        names = [path.name for path in find_shards(directory) if path.name in _DIGITS]
        return [name for name in names if (at := _DIGITS.index(name)) >= workers and at % workers == worker]
    return []


class ShardedSpool:
    """`ports.Spool` over shards that this process owns."""

    def __init__(self, directory: Path, shards: Sequence[SqliteSpool]) -> None:
        """The first one takes new mail. `directory` is the whole spool's."""
        self.shards = tuple(shards)
        self._own = shards[0]
        self._all = ShardedView(directory)
        self._looked = float("-inf")
        self._foreign = False
        """Some shard has a message whose client was not told."""
        self._homes: dict[str, SqliteSpool] = {}
        """The shard of each claim under way that is not of our own, by transfer."""

    @classmethod
    async def open(
        cls,
        directory: Path,
        clock: Clock,
        lease: float,
        worker: int = 0,
        workers: int = 1,
        retention: Retention | None = None,
    ) -> ShardedSpool:
        """Own the worker's shard, and adopt those that have no worker. Raises SpoolUnusable."""
        shards: list[SqliteSpool] = []
        try:
            for name in (shard_name(worker), *find_adopted(directory, worker, workers)):
                shards.append(await SqliteSpool.open(directory, clock, lease, retention, shard=name))  # noqa: PERF401
        except BaseException:
            for shard in shards:
                await shard.close()
            raise
        return cls(directory, shards)

    async def commit(self, intake: Intake) -> None:
        if intake.hold is not None:
            intake = replace(intake, hold=await self._leave_room(intake.hold))
        await self._own.commit(intake)

    async def _leave_room(self, hold: Hold) -> Hold:
        """What is held in other shards counts too. Two workers that ask at the same moment may both get the last room:
        beyond the quota goes one message of each worker at most."""
        return replace(hold, quota=hold.quota.less(await self._all.measure_held(hold.domain, self._own.path.name)))

    async def recall(self, domain: str, source: str) -> History:
        return await self._all.recall(domain, source)

    def note_answer(self, id: str, heard: bool) -> None:
        self._own.note_answer(id, heard)

    async def find_unheard(self, fingerprint: bytes, now: float) -> str | None:
        """Almost always there is none to be found: what other workers have is looked at once a second."""
        if now - self._looked >= _LOOK_EVERY or now < self._looked:
            self._looked = now
            self._foreign = await self._all.has_unheard()
        found = await self._own.find_unheard(fingerprint, now) if self._own.has_unheard else None
        return found or (await self._all.find_unheard(fingerprint, now) if self._foreign else None)

    async def acquaintance(self, key: str) -> Acquaintance | None:
        return await self._all.acquaintance(key)

    def open_content(self) -> ContentWriter:
        return self._own.open_content()

    def read_content(self, content: Content) -> AsyncIterator[bytes]:
        return self._own.read_content(content)

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        claims: list[Claim] = []
        # An adopted shard goes first, and only empties.
        for shard in reversed(self.shards):
            if len(claims) < limit:
                taken = await shard.claim(skip, limit - len(claims), now, lease)
                claims.extend(taken)
                if shard is not self._own:
                    self._homes.update((claim.transfer.id, shard) for claim in taken)
        return claims

    async def release(self, claim: Claim, due: float) -> None:
        await self._home(claim.transfer.id).release(claim, due)
        self._homes.pop(claim.transfer.id, None)

    async def settle(self, settlement: Settlement) -> bool:
        done = await self._home(settlement.transfer_id).settle(settlement)
        self._homes.pop(settlement.transfer_id, None)
        return done

    async def hold(self, claim: Claim, reason: str) -> None:
        await self._home(claim.transfer.id).hold(claim, reason)
        self._homes.pop(claim.transfer.id, None)

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        return any([await shard.let_go(id, transfers, act) for shard in self.shards])

    async def discard(self, id: str, act: Act) -> bool:
        return any([await shard.discard(id, act) for shard in self.shards])

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        return await self._all.held(limit)

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        return await self._all.given_up(since, limit)

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        return [id for shard in self.shards for id in await shard.overdue(now, limit)][:limit]

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        return await self._all.senders(domains, limit)

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        found = [await shard.next_due(skip) for shard in self.shards]
        return min((due for due in found if due is not None), default=None)

    async def story(self, id: str) -> Story | None:
        for shard in self.shards:
            story = await shard.story(id)
            if story is not None:
                return story
        return None

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        return _merge([await shard.queue(limit) for shard in self.shards], limit)

    async def counts(self) -> dict[str, int]:
        return _add([await shard.counts() for shard in self.shards])

    async def purge(self, now: float) -> int:
        return sum([await shard.purge(now) for shard in self.shards])

    async def close(self) -> None:
        await self._all.close()
        await asyncio.gather(*(shard.close() for shard in self.shards))

    def _home(self, transfer_id: str) -> SqliteSpool:
        return self._homes.get(transfer_id, self._own)


class ShardedView:
    """All shards of a spool to look at, whoever owns them. Raises SpoolUnusable when there is nothing to look at."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._views: dict[str, ReadOnlySpool] = {}
        unmade = None
        for path in find_shards(directory):
            try:
                self._views[path.name] = ReadOnlySpool(directory, shard=path.name)
            except SpoolUnmade as error:
                # Another worker may be at it just now, as at the first start of a new version.
                unmade = error
        if unmade is not None and not self._views:
            raise unmade

    async def story(self, id: str) -> Story | None:
        """All that is stored of one message; None when nothing is."""
        for view in self._begin_with(id):
            story = await view.story(id)
            if story is not None:
                return story
        return None

    async def content(self, id: str) -> AsyncIterator[bytes] | None:
        """The octets kept of a message, in chunks; None when none are."""
        for view in self._begin_with(id):
            content = await view.content(id)
            if content is not None:
                return content
        return None

    async def count_traces(self, since: float) -> int:
        """How many messages were received since then."""
        return sum([await view.count_traces(since) for view in self._look()])

    async def traces(self, since: float) -> AsyncIterator[Sequence[Trace]]:
        """The traces of messages received since then, shard by shard, some at a time."""
        for view in self._look():
            async for traces in view.traces(since):
                yield traces

    async def recall(self, domain: str, source: str) -> History:
        """What is known of an Author Domain and a client's network."""
        found = [await view.recall(domain, source) for view in self._look()]
        return History(sum(one.author_passes for one in found), sum(one.source_passes for one in found))

    async def find_unheard(self, fingerprint: bytes, now: float) -> str | None:
        """The stored message of this fingerprint whose client was not told."""
        for view in self._look():
            found = await view.find_unheard(fingerprint, now)
            if found is not None:
                return found
        return None

    async def has_unheard(self) -> bool:
        """Some client was not told."""
        return any([await view.has_unheard() for view in self._look()])

    async def acquaintance(self, key: str) -> Acquaintance | None:
        """What receptions of any shard have taught the greylist of somebody: a retry comes to any worker."""
        found = [await view.acquaintance(key) for view in self._look()]
        # Who was let in is remembered longest.
        return max((one for one in found if one), key=lambda one: one.expires, default=None)

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        """Sources of mail of these domains and of those below them, the last seen first."""
        found: dict[tuple[str, str, str], Sender] = {}
        for view in self._look():
            for one in await view.senders(domains, limit):
                key = (one.domain, one.source, one.signer)
                found[key] = _join(one, found[key]) if key in found else one
        return heapq.nsmallest(limit, found.values(), key=lambda one: -one.last)

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        """Up to `limit` transfers, held ones too, in order of when they are due."""
        return _merge([await view.queue(limit) for view in self._look()], limit)

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` held messages, the oldest first."""
        return _merge_held([await view.held(limit) for view in self._look()], limit)

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` messages whose time to be held has ended since then."""
        return _merge_held([await view.given_up(since, limit) for view in self._look()], limit)

    async def measure_held(self, domain: str, but: str) -> Quota:
        """How much is held in all shards but this one, of a domain and in all."""
        self._look()
        found = [await view.measure_held(domain) for name, view in self._views.items() if name != but]
        return Quota(
            sum(one.domain_messages for one in found),
            sum(one.domain_octets for one in found),
            sum(one.messages for one in found),
            sum(one.octets for one in found),
        )

    async def failed(self, limit: int) -> Sequence[Failure]:
        """Recipients who did not get their message, the last ones first."""
        found = [one for view in self._look() for one in await view.failed(limit)]
        return sorted(found, key=lambda one: -one.at)[:limit]

    async def counts(self) -> dict[str, int]:
        """How many transfers wait or are being sent, by backend; held ones are not counted."""
        return _add([await view.counts() for view in self._look()])

    async def close(self) -> None:
        await asyncio.gather(*(view.close() for view in self._views.values()))

    def _look(self) -> list[ReadOnlySpool]:
        """Shards that were made since are looked at too, once they are whole."""
        for name in os.listdir(self._directory):
            if name not in self._views and name in _DIGITS:
                with suppress(SpoolUnusable):
                    self._views[name] = ReadOnlySpool(self._directory, shard=name)
        return list(self._views.values())

    def _begin_with(self, id: str) -> list[ReadOnlySpool]:
        """The shard that the id names first. A DSN that was made in an adopted shard is named after another."""
        named = _ID.fullmatch(id)
        first = self._views.get(named[1]) if named else None
        return sorted(self._look(), key=lambda view: view is not first)


def _join(one: Sender, other: Sender) -> Sender:
    """The same source, as two workers saw it."""
    passed, failed = one.passed + other.passed, one.failed + other.failed
    later = max(one, other, key=lambda sender: sender.last)
    return replace(later, passed=passed, failed=failed, first=min(one.first, other.first))


def _merge_held(entries: Sequence[Sequence[HeldEntry]], limit: int) -> list[HeldEntry]:
    return heapq.nsmallest(limit, (entry for part in entries for entry in part), key=lambda entry: entry.received)


def _merge(entries: Sequence[Sequence[QueueEntry]], limit: int) -> list[QueueEntry]:
    return heapq.nsmallest(limit, (entry for part in entries for entry in part), key=lambda entry: entry.due)


def _add(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)
