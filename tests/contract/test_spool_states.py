"""Each recipient is in exactly one state under any order of attempts and admin commands (promise P1)."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.delivery import Change, Claim, Final, Intake, Outcome, OutcomeKind, Pending, Scope
from gateway.model.message import Route
from gateway.plan import amendment
from gateway.plan.settlement import AttemptContext, settle
from gateway.ports import Spool
from tests.contract.test_spool import DAY, LEASE
from tests.contract.test_spool_amend import SHARDS, TERMS
from tests.support.spooling import BUSY, NO, OK, HandClock, make_intake

RCPTS = ("alice", "bob", "carol")
REPLIES = {OutcomeKind.DELIVERED: OK, OutcomeKind.DEFERRED: BUSY, OutcomeKind.FAILED: NO}
kinds = st.sampled_from(list(OutcomeKind))
steps = st.one_of(
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("settle"), st.tuples(kinds, kinds, kinds)),
    st.tuples(st.just("sleep"), st.sampled_from([1.0, 60.0, LEASE * 2, DAY])),
    st.tuples(st.sampled_from(["hold", "release", "retry", "split", "merge", "bounce", "delete"]), st.integers(0, 3)),
)


class Scene:
    """A spool, its committed messages, and the claims that callers believe to have."""

    def __init__(self, spool: Spool, clock: HandClock) -> None:
        self.spool, self.clock = spool, clock
        self.intakes: list[Intake] = []
        self.claims: list[Claim] = []
        self.settled: Counter[str] = Counter()

    async def step(self, name: str, value: object) -> None:
        if name == "commit":
            intake = make_intake(backends=("google", "ms"), rcpts=RCPTS, due=self.clock.now())
            self.intakes.append(intake)
            await self.spool.commit(intake)
        elif name == "claim":
            self.claims += await self.spool.claim((), int(str(value)), self.clock.now(), LEASE)
        elif name == "sleep":
            self.clock.time += float(str(value))
        elif name == "settle" and self.claims:
            await self.settle(self.claims.pop(0), value)  # type: ignore[arg-type]
        elif name not in ("settle",) and self.intakes:
            id = self.intakes[int(str(value)) % len(self.intakes)].trace.id
            await self.spool.amend(id, lambda pendings: amendment.amend(id, pendings, self.act(name)))

    async def settle(self, claim: Claim, kinds: tuple[OutcomeKind, ...]) -> None:
        named = zip(claim.transfer.rcpts, kinds, strict=False)
        outcomes = tuple(Outcome(rcpt, kind, REPLIES[kind], Scope.RECIPIENT, "mx") for rcpt, kind in named)
        await self.spool.settle(settle(claim, outcomes, TERMS, self.circumstances()))

    def circumstances(self) -> AttemptContext:
        now = self.clock.now()
        return AttemptContext(now, now, 0.5, False, self.clock.new_id(), lambda _: "out")

    def act(self, name: str) -> Callable[[Pending], Change]:
        now = self.clock.now()
        if name == "hold":
            return partial(amendment.hold, reason="x")
        if name == "delete":
            return lambda one: amendment.delete(one, NO, now)
        if name == "bounce":
            return lambda one: amendment.bounce(one, NO, TERMS, self.circumstances())
        if name == "split":
            return lambda one: amendment.reroute(
                one,
                tuple(Route(f"b{at}", (rcpt,)) for at, rcpt in enumerate(one.claim.transfer.rcpts)),
                now,
                self.clock.new_id(),
            )
        if name == "merge":
            return lambda one: amendment.reroute(
                one, (Route("merged", one.claim.transfer.rcpts),), now, self.clock.new_id()
            )
        return partial({"release": amendment.release, "retry": amendment.retry}[name], now=now)

    async def check(self) -> None:
        for intake in self.intakes:
            story = await self.spool.reader.story(intake.trace.id)
            assert story is not None
            waiting = Counter(str(rcpt.mailbox) for transfer in story.waiting for rcpt in transfer.rcpts)
            ended = Counter(str(ending.rcpt.mailbox) for ending in story.endings)
            assert waiting + ended == Counter({f"{name}@corp.example": 2 for name in RCPTS})
            assert all(transfer.rcpts for transfer in story.waiting)
            assert bool(story.waiting) <= story.content_kept
            held = {e.held for e in await self.spool.reader.queue(999) if e.message_id == intake.trace.id}
            assert story.held == (True in held)

    async def finish(self) -> None:
        """Everything is released and delivered: no recipient is left over, and no unneeded content is kept."""
        for intake in self.intakes:
            id = intake.trace.id
            await self.spool.amend(id, lambda pendings, id=id: amendment.amend(id, pendings, self.act("release")))  # type: ignore[misc]
        self.clock.time += 10 * DAY
        while claims := await self.spool.claim((), 50, self.clock.now(), LEASE):
            for claim in claims:
                await self.settle(claim, (OutcomeKind.DELIVERED,) * len(claim.transfer.rcpts))
        assert await self.spool.reader.queue(9) == []
        await self.check()
        for intake in self.intakes:
            story = await self.spool.reader.story(intake.trace.id)
            assert story is not None
            failed = any(ending.state is not Final.DELIVERED for ending in story.endings)
            assert story.content_kept == failed


@pytest.mark.parametrize("implementation", list(SHARDS))
@given(plan=st.lists(steps, min_size=3, max_size=25))
def test_each_recipient_is_in_exactly_one_state(implementation: str, plan: list[tuple[str, object]]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as directory:
            clock = HandClock()
            spool = await SHARDS[implementation](Path(directory), clock)
            scene = Scene(spool, clock)
            try:
                await scene.step("commit", 0)
                for name, value in plan:
                    await scene.step(name, value)
                    await scene.check()
                await scene.finish()
            finally:
                await spool.close()

    asyncio.run(play())
