"""Several shards as one spool: a worker's own and those it has adopted.

New mail goes to the first shard. Every operation on a claim goes to the shard that it was taken from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.model.delivery import Act, Claim, Hold, Intake, Settlement, Transfer
from gateway.model.message import Content
from gateway.model.value import replace
from gateway.ports import Clock, ContentWriter, Damage, Storage
from gateway.spool.disk import SpoolUnusable
from gateway.spool.reader import find_shards
from gateway.spool.rows import RetentionPeriods
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.view import DIGITS, ShardedView

_LOOK_EVERY = 1.0


def shard_name(worker: int) -> str:
    """The worker's own shard; ids from it have the same digit in the tenth place."""
    return DIGITS[worker]


def find_adopted(directory: Path, worker: int, workers: int) -> list[str]:
    """Shards without a worker of their own that this worker takes over: there were more workers once."""
    with suppress(SpoolUnusable):
        names = [path.name for path in find_shards(directory) if len(path.name) == 1 and path.name in DIGITS]
        return [name for name in names if (at := DIGITS.index(name)) >= workers and at % workers == worker]
    return []


class ShardedSpool:
    """`ports.Spool` over shards that this process owns."""

    def __init__(self, directory: Path, shards: Sequence[SqliteSpool]) -> None:
        """The first one takes new mail. `directory` is the whole spool's."""
        self.shards = tuple(shards)
        self._own = shards[0]
        self.reader = ShardedView(directory, {shard.path.name: shard.reader for shard in shards}, running=True)
        self._looked = float("-inf")
        self._foreign = False
        """Some shard has a message whose client did not get the reply."""
        self._homes: dict[str, SqliteSpool] = {}
        """For each claim under way that is not from our own shard: its shard, by transfer."""

    @classmethod
    async def open(
        cls,
        directory: Path,
        clock: Clock,
        lease: float,
        worker: int = 0,
        workers: int = 1,
        retention: RetentionPeriods | None = None,
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
            intake = replace(intake, hold=await self._leave_room(intake.hold, self._own))
        await self._own.commit(intake)

    async def _leave_room(self, hold: Hold, shard: SqliteSpool) -> Hold:
        """The hold less the amount held in other shards. Two workers that ask at the same moment may both get the last
        room, so each worker exceeds the quota by one message at most."""
        return replace(hold, quota=hold.quota.less(await self.reader.measure_held(hold.domain, shard.path.name)))

    def note_answer(self, id: str, heard: bool) -> None:
        # A repeated message may be in an adopted shard, which its id names.
        home = next((shard for shard in self.shards if shard.path.name == id[9:10]), self._own)
        home.note_answer(id, heard)

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        """The search almost always finds nothing. So the shards of other workers are read once a second, unless the
        answer has to be `sure`."""
        if now - self._looked >= _LOOK_EVERY or now < self._looked:
            # Set only now: concurrent callers must not rely on the older state.
            self._foreign, self._looked = await self.reader.has_unheard(), now
        found = await self._own.find_unheard(marks, now) if self._own.has_unheard else None
        return found or (await self.reader.find_unheard(marks, now) if self._foreign or sure else None)

    def open_content(self) -> ContentWriter:
        return self._own.open_content()

    def read_content(self, content: Content) -> AsyncIterator[bytes]:
        return self._own.read_content(content)

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        claims: list[Claim] = []
        # An adopted shard goes first, because it only empties.
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
        shard = self._home(settlement.transfer_id)
        if settlement.hold is not None:
            settlement = replace(settlement, hold=await self._leave_room(settlement.hold, shard))
        done = await shard.settle(settlement)
        if done:  # otherwise the claim may have been renewed
            self._homes.pop(settlement.transfer_id, None)
        return done

    async def hold(self, claim: Claim, reason: str) -> None:
        await self._home(claim.transfer.id).hold(claim, reason)
        self._homes.pop(claim.transfer.id, None)

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        return any([await shard.let_go(id, transfers, act) for shard in self.shards])

    async def discard(self, id: str, act: Act) -> bool:
        return any([await shard.discard(id, act) for shard in self.shards])

    def take_damage(self) -> Sequence[Damage]:
        return [one for shard in self.shards for one in shard.take_damage()]

    async def storage(self) -> Storage:
        return await self._own.storage()

    @property
    def moved(self) -> float:
        """Seconds by which times were moved at the start; of several shards, the largest."""
        return max((shard.moved for shard in self.shards), key=abs)

    async def move_times(self, seconds: float) -> None:
        """Move the times of all shards. If this raises, it must be repeated; times already moved are not moved twice.
        Our own shard, which takes new mail, moves last."""
        for shard in reversed(self.shards):
            await shard.begin_move(seconds)
        for shard in self.shards:
            shard.end_move(seconds)

    async def purge(self, now: float) -> int:
        return sum([await shard.purge(now) for shard in self.shards])

    async def close(self) -> None:
        await self.reader.close()
        await asyncio.gather(*(shard.close() for shard in self.shards))

    def _home(self, transfer_id: str) -> SqliteSpool:
        return self._homes.get(transfer_id, self._own)
