"""An admin's commands on a spool: `amend`, by the same suite for every implementation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from gateway.model.delivery import Act, Amendment, Final, Intake, OutcomeKind, Pending
from gateway.model.message import Route
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.plan import amendment
from gateway.plan.settlement import AttemptContext, Terms
from gateway.ports import Spool
from gateway.tools.queue import failures_json
from tests.contract.test_spool import (
    DAY,
    LEASE,
    Bench,
    Opener,
    large_message,
    make_fake_opener,
    octets,
    open_sqlite,
    told,
)
from tests.support.spooling import NO, START, content_files, make_intake, make_settlement

SHARDS: dict[str, Opener] = {"sqlite": open_sqlite, "fake": make_fake_opener()}
"""Implementations of QueueStore: each shard gets its own commands."""
TERMS = Terms("mx.own.example", (60.0,), 5 * DAY, 14_400.0)


@pytest.fixture(params=list(SHARDS))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(SHARDS[request.param], tmp_path / "spool")
    yield bench
    await bench.close()


@pytest.fixture
async def spool(bench: Bench) -> Spool:
    return await bench.open()


async def change(spool: Spool, intake: Intake, act, id: str = "") -> Amendment:  # type: ignore[no-untyped-def]
    message_id = intake.trace.id
    return await spool.amend(message_id, lambda pendings: amendment.amend(id or message_id, pendings, act))


def bounce(pending: Pending) -> object:
    at = AttemptContext(START, START, 0.0, False, f"dsn-{pending.claim.transfer.backend}", lambda _: "out")
    return amendment.bounce(pending, NO, TERMS, at)


async def test_plan_sees_the_transfers_as_they_stand(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"))
    await spool.commit(intake)
    (claim,) = await spool.claim(("microsoft",), 9, START, LEASE)
    seen: list[Pending] = []

    def look(pendings: tuple[Pending, ...]) -> Amendment:
        seen[:] = pendings
        return Amendment()

    assert await spool.amend(intake.trace.id, look) == Amendment()
    google, microsoft = seen
    assert (google.sending, google.held, google.claim.transfer) == (True, False, claim.transfer)
    assert (microsoft.sending, microsoft.held, microsoft.claim.epoch) == (False, False, 1)
    assert microsoft.claim.message.evidence == intake.message.evidence  # type: ignore[union-attr]


async def test_of_an_unknown_message_nothing_waits(spool: Spool) -> None:
    assert await spool.amend("nothing", lambda pendings: Amendment(refusals=(str(len(pendings)),))) == Amendment(
        (), ("0",)
    )


async def test_what_is_being_sent_is_left_alone(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    made = await change(spool, intake, partial(amendment.hold, reason="look"))
    assert made.changes == ()
    assert "being sent" in made.refusals[0]
    assert not (await told(spool, intake)).held


async def test_held_mail_stays_until_released_also_over_a_restart(bench: Bench) -> None:
    spool = await bench.open()
    intake = make_intake()
    await spool.commit(intake)
    await change(spool, intake, partial(amendment.hold, reason="look at it"))
    await bench.close()
    spool = await bench.open()
    assert await spool.claim((), 9, START + DAY, LEASE) == []
    (entry,) = await spool.reader.queue(9)
    assert (entry.held, entry.last_reply) == (True, "look at it")
    assert (await told(spool, intake)).held
    assert await spool.reader.counts() == {}
    again = await change(spool, intake, partial(amendment.hold, reason="again"))
    assert again.refusals == (f"{intake.transfers[0].id}: it is held already",)
    assert "release it instead" in (await change(spool, intake, partial(amendment.retry, now=START))).refusals[0]

    await change(spool, intake, partial(amendment.release, now=START + DAY))
    assert not (await told(spool, intake)).held
    (claim,) = await spool.claim((), 9, START + DAY, LEASE)
    assert claim.transfer == replace(intake.transfers[0], due=START + DAY)
    assert await spool.settle(make_settlement(claim))


async def test_what_was_done_is_told_in_the_message_s_story(spool: Spool) -> None:
    intake = make_intake()
    await spool.commit(intake)
    act = Act(START + 3, "held", "root")

    def plan(pendings: Sequence[Pending]) -> Amendment:
        return replace(amendment.amend(intake.trace.id, pendings, partial(amendment.hold, reason="x")), act=act)

    await spool.amend(intake.trace.id, plan)
    assert (await told(spool, intake)).acts == (act,)
    assert (await spool.amend(intake.trace.id, plan)).changes == ()
    assert (await told(spool, intake)).acts == (act,), "nothing was done the second time"


async def test_one_transfer_of_two_can_be_held(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"))
    await spool.commit(intake)
    google = intake.transfers[0].id
    made = await change(spool, intake, partial(amendment.hold, reason="x"), google)
    assert [one.transfer_id for one in made.changes] == [google]
    (claim,) = await spool.claim((), 9, START, LEASE)
    assert claim.transfer.backend == "microsoft"
    assert await spool.settle(make_settlement(claim))
    story = await told(spool, intake)
    assert (story.held, story.content_kept, len(story.waiting)) == (True, True, 1)
    made = await change(spool, intake, partial(amendment.release, now=START))
    assert len(made.changes) == 1
    (claim,) = await spool.claim((), 9, START, LEASE)
    assert await spool.settle(make_settlement(claim))
    assert not (await told(spool, intake)).content_kept


async def test_retry_is_due_at_once_and_keeps_the_count(spool: Spool) -> None:
    intake = make_intake(rcpts=("alice", "bob"))
    await spool.commit(intake)
    (claim,) = await spool.claim((), 9, START, LEASE)
    bob = claim.transfer.rcpts[1]
    await spool.settle(make_settlement(claim, remaining=(bob,), due=START + DAY))
    assert await spool.claim((), 9, START + 5, LEASE) == []
    await change(spool, intake, partial(amendment.retry, now=START + 5))
    (claim,) = await spool.claim((), 9, START + 5, LEASE)
    assert (claim.transfer.rcpts, claim.transfer.attempts, claim.transfer.delay_warned) == ((bob,), 1, True)


async def test_reroute_divides_and_fences(spool: Spool) -> None:
    intake = make_intake(rcpts=("alice", "bob", "carol"))
    await spool.commit(intake)
    alice, bob, carol = intake.transfers[0].rcpts
    routes = (Route("ms", (alice, carol)), Route("other", (bob,)))
    await change(spool, intake, lambda one: amendment.reroute(one, routes, START + 7, "fresh"))
    assert await spool.reader.counts() == {"ms": 1, "other": 1}
    claims = await spool.claim((), 9, START + 7, LEASE)
    assert {claim.transfer.backend: claim.transfer.rcpts for claim in claims} == {"ms": (alice, carol), "other": (bob,)}
    for claim in claims:
        assert (claim.transfer.attempts, claim.transfer.created) == (0, START)
        assert claim.transfer.id.endswith("-fresh")
        assert await octets(spool, claim.message) == b"From: a@b\r\n\r\nHello.\r\n"
        assert await spool.settle(make_settlement(claim))
    story = await told(spool, intake)
    assert sorted(str(one.rcpt.mailbox) for one in story.endings) == sorted(
        str(one.mailbox) for one in (alice, bob, carol)
    )
    assert not story.content_kept


async def test_reroute_to_where_it_goes_is_refused_and_held_mail_stays_held(spool: Spool) -> None:
    intake = make_intake()
    await spool.commit(intake)
    rcpts = intake.transfers[0].rcpts
    made = await change(spool, intake, lambda one: amendment.reroute(one, (Route("google", rcpts),), START, "f"))
    assert "goes to google already" in made.refusals[0]
    await change(spool, intake, partial(amendment.hold, reason="why"))
    await change(spool, intake, lambda one: amendment.reroute(one, (Route("ms", rcpts),), START, "f"))
    (entry,) = await spool.reader.queue(9)
    assert (entry.backend, entry.held, entry.last_reply) == ("ms", True, "why")


async def test_bounce_ends_every_recipient_and_tells_the_sender(spool: Spool, bench: Bench) -> None:
    intake = make_intake(backends=("google", "ms"), rcpts=("alice", "bob"))
    await spool.commit(intake)
    await change(spool, intake, partial(amendment.hold, reason="why"), intake.transfers[0].id)
    made = await change(spool, intake, bounce)
    assert len(made.changes) == 2
    story = await told(spool, intake)
    assert [(one.state, one.reply) for one in story.endings] == [(Final.FAILED, NO)] * 4
    assert (story.waiting, story.held, story.content_kept) == ((), False, True)
    assert {entry.backend for entry in await spool.reader.queue(9)} == {"out"}, "the two DSNs wait"
    bench.clock.time = START + 8 * DAY
    while await spool.purge(bench.clock.now()):
        pass
    assert not (await told(spool, intake)).content_kept


async def test_failures_tell_an_admin_s_return_from_a_server_s_refusal(spool: Spool) -> None:
    """Both are a 550 5.7.1 with any words: only the host that answered makes the difference."""
    said = Reply(550, "7.1", "Message refused by policy")
    by_hand, refused = make_intake(id="byhand"), make_intake(id="refused")
    for intake in (by_hand, refused):
        await spool.commit(intake)
    at = AttemptContext(START, START, 0.0, False, "dsn-1", lambda _: "out")
    await change(spool, by_hand, lambda one: amendment.bounce(one, said, TERMS, at))
    claims = await spool.claim((), 9, START, LEASE)
    (claim,) = [one for one in claims if one.transfer.message_id == refused.trace.id]
    ended = make_settlement(claim, done=((claim.transfer.rcpts[0], Final.FAILED),))
    assert await spool.settle(replace(ended, endings=(replace(ended.endings[0], reply=said),)))
    listed = {one.message_id: one for one in await spool.reader.failed(9)}
    assert listed[refused.trace.id].remote_mta == "mx.google.example"
    assert listed[by_hand.trace.id].remote_mta == ""
    causes = {one["id"]: one["cause"] for one in json.loads(json.dumps(failures_json(list(listed.values()))))}
    assert causes == {refused.trace.id: "policy", by_hand.trace.id: "administrator"}


async def test_delete_ends_every_recipient_and_tells_nobody(spool: Spool) -> None:
    intake = make_intake(rcpts=("alice", "bob"))
    await spool.commit(intake)
    await change(spool, intake, lambda one: amendment.delete(one, Reply(550, "7.1", "Gone"), START))
    story = await told(spool, intake)
    assert [one.state for one in story.endings] == [Final.DELETED] * 2
    (attempt,) = story.attempts
    assert [one.kind for one in attempt.outcomes] == [OutcomeKind.FAILED] * 2
    assert await spool.reader.queue(9) == []


async def test_a_plan_that_fails_changes_nothing(spool: Spool) -> None:
    intake = make_intake(backends=("google", "ms"))
    await spool.commit(intake)

    def fail(pendings: tuple[Pending, ...]) -> Amendment:
        raise KeyError("plan")

    with pytest.raises(KeyError):
        await spool.amend(intake.trace.id, fail)
    assert len(await spool.reader.queue(9)) == 2


async def test_large_content_of_a_deleted_message_goes_with_its_time(bench: Bench, tmp_path: Path) -> None:
    spool = await bench.open()
    intake = make_intake(message=await large_message(spool))
    await spool.commit(intake)
    await change(spool, intake, lambda one: amendment.delete(one, NO, START))
    bench.clock.time = START + 8 * DAY
    while await spool.purge(bench.clock.now()):
        pass
    await bench.close()
    if (tmp_path / "spool").exists():
        assert content_files(tmp_path / "spool") == set()
