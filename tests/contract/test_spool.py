"""The contract of ports.Spool. Every implementation passes this same suite: add its opener to IMPLEMENTATIONS."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.model.delivery import Final, Intake, Story
from gateway.model.envelope import Recipient
from gateway.model.message import Evidence, Message
from gateway.model.value import replace
from gateway.ports import ContentAltered, Spool
from gateway.spool.rows import RetentionPeriods
from gateway.spool.shards import ShardedSpool
from gateway.spool.sqlite import SqliteSpool
from tests.support.fake_spool import FakeSpool
from tests.support.spooling import (
    START,
    HandClock,
    claim_of,
    content_of,
    mailbox,
    make_intake,
    make_message,
    make_refusal,
    make_settlement,
)

LEASE = 600.0
DAY = 86_400.0
LARGE = bytes(range(256)) * 4096 * 3 + b"end"


async def open_sqlite(directory: Path, clock: HandClock) -> Spool:
    retention = RetentionPeriods(delivered_seconds=0.0, failed_seconds=7 * DAY, trace_seconds=30 * DAY)
    return await SqliteSpool.open(directory, clock, lease=LEASE, retention=retention)


async def open_shards(directory: Path, clock: HandClock) -> Spool:
    """A worker's own shard and an adopted one; test_spool_shards.py covers the content of that one."""
    retention = RetentionPeriods(delivered_seconds=0.0, failed_seconds=7 * DAY, trace_seconds=30 * DAY)
    shards = [
        await SqliteSpool.open(directory, clock, lease=LEASE, retention=retention, shard=name) for name in ("0", "1")
    ]
    return ShardedSpool(directory, shards)


def make_fake_opener() -> Opener:
    """Opens the fake of the tests; a reopened directory has its earlier content."""
    stored: dict[Path, FakeSpool] = {}

    async def open_fake(directory: Path, clock: HandClock) -> Spool:
        if directory in stored:
            stored[directory].reopen()
        return stored.setdefault(directory, FakeSpool(clock, lease=LEASE))

    return open_fake


Opener = Callable[[Path, HandClock], Awaitable[Spool]]
IMPLEMENTATIONS: dict[str, Opener] = {
    "sqlite": open_sqlite,
    "shards": open_shards,
    "fake": make_fake_opener(),
}


class Bench:
    """A spool that can be closed and opened again."""

    def __init__(self, opener: Opener, directory: Path) -> None:
        self.clock = HandClock()
        self._open = opener
        self._directory = directory
        self._opened: list[Spool] = []

    async def open(self) -> Spool:
        self._opened.append(await self._open(self._directory, self.clock))
        return self._opened[-1]

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()


@pytest.fixture(params=list(IMPLEMENTATIONS))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(IMPLEMENTATIONS[request.param], tmp_path / "spool")
    yield bench
    await bench.close()


@pytest.fixture
async def spool(bench: Bench) -> Spool:
    return await bench.open()


async def told(spool: Spool, intake: Intake) -> Story:
    story = await spool.reader.story(intake.trace.id)
    assert story is not None
    return story


async def octets(spool: Spool, message: Message) -> bytes:
    return b"".join([chunk async for chunk in spool.read_content(message.content)])


async def large_message(spool: Spool, data: bytes = LARGE) -> Message:
    writer = spool.open_content()
    for start in range(0, len(data), 65_536):
        writer.write(data[start : start + 65_536])
    return Message(content_of(data, await writer.finish()), Evidence(b"Subject: x\r\n", (), len(data)))


# commit and story


async def test_a_reception_is_told_as_it_was_committed(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"), rcpts=("alice", "bob"))
    await spool.commit(intake)
    story = await told(spool, intake)
    assert story.trace == intake.trace
    assert story.waiting == intake.transfers
    assert (story.endings, story.attempts, story.content_kept, story.held) == ((), (), True, False)


async def test_unknown_id_has_no_story(spool: Spool) -> None:
    assert await spool.reader.story("nothing") is None
    assert await spool.reader.story("\udcff") is None


async def test_refusal_leaves_a_trace_and_nothing_else(spool: Spool) -> None:
    intake = make_refusal()
    await spool.commit(intake)
    story = await told(spool, intake)
    assert story.trace == intake.trace
    assert (story.waiting, story.content_kept) == ((), False)
    assert await spool.reader.queue(10) == []


async def test_trace_that_need_not_be_durable_is_written_soon(spool: Spool) -> None:
    intakes = [make_refusal(durable=False) for _ in range(2000)]
    for intake in intakes:
        await spool.commit(intake)
    # Writes are in order: the durable ones after them show that they are there.
    await spool.commit(make_intake())
    for intake in intakes:
        assert (await told(spool, intake)).trace == intake.trace


async def test_state_outlives_the_process(bench: Bench) -> None:
    spool = await bench.open()
    intake = make_intake(due=START + 50)
    await spool.commit(intake)
    before = await told(spool, intake)
    await bench.close()
    spool = await bench.open()
    assert await told(spool, intake) == before
    assert await spool.reader.next_due() == START + 50


async def test_text_that_is_not_utf8_comes_back_as_it_was(spool: Spool) -> None:
    intake = make_intake()
    odd = replace(intake.transfers[0], mail_from=mailbox("a\udcff\udc80"), rcpts=(Recipient(mailbox("\ud800x")),))
    trace = replace(intake.trace, added=("X: \udcfe",))
    intake = replace(intake, transfers=(odd,), trace=trace)
    await spool.commit(intake)
    story = await told(spool, intake)
    assert (story.trace, story.waiting) == (trace, (odd,))
    (claim,) = await spool.claim((), 1, START, LEASE)
    assert claim.transfer == odd
    outcome = make_settlement(claim, remaining=odd.rcpts, due=START + 9)
    bad = replace(outcome.attempt.outcomes[0].reply, text="sorry \udcff")
    attempt = replace(outcome.attempt, outcomes=(replace(outcome.attempt.outcomes[0], reply=bad),))
    assert await spool.settle(replace(outcome, attempt=attempt))
    assert (await told(spool, intake)).attempts == (attempt,)
    (entry,) = await spool.reader.queue(1)
    assert "sorry" in entry.last_reply


async def test_one_bad_write_fails_alone(spool: Spool) -> None:
    twice = make_intake()
    await spool.commit(twice)
    # The second transfer's id is taken: this one fails after it has written rows.
    half = make_intake(backends=("google", "google"))
    others = [make_intake() for _ in range(30)]
    results = await asyncio.gather(
        *(spool.commit(one) for one in (*others[:15], twice, half, *others[15:])), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False] * 15 + [True] * 2 + [False] * 15
    for intake in others:
        assert (await told(spool, intake)).trace == intake.trace
    assert await spool.reader.story(half.trace.id) is None
    assert await spool.reader.counts() == {"google": 31}


async def test_many_at_once(spool: Spool) -> None:
    intakes = [make_intake(claimed=at % 2 == 0, rcpts=(f"user{at}",)) for at in range(300)]

    async def pass_through(intake: Intake) -> bool:
        await spool.commit(intake)
        return not intake.claimed or await spool.settle(make_settlement(claim_of(intake)))

    assert all(await asyncio.gather(*map(pass_through, intakes)))
    assert await spool.reader.counts() == {"google": 150}
    for intake in intakes:
        assert len((await told(spool, intake)).endings) == intake.claimed


async def test_cancelled_commit_is_whole_or_absent(spool: Spool) -> None:
    intakes = [make_intake(backends=("google", "microsoft")) for _ in range(40)]
    tasks = [asyncio.ensure_future(spool.commit(intake)) for intake in intakes]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await spool.commit(make_refusal())
    for at, intake in enumerate(intakes):
        story = await spool.reader.story(intake.trace.id)
        assert story is not None or at % 2 == 0
        assert story is None or (len(story.waiting) == 2 and story.content_kept)


# claims


@pytest.mark.parametrize("data", [b"From: a@b\r\n\r\nHello.\r\n", b"From: a@b\r\n\r\nbare\nnewline\r\n"])
async def test_claim_brings_the_whole_message(spool: Spool, data: bytes) -> None:
    intake = make_intake(message=make_message(data))
    await spool.commit(intake)
    (claim,) = await spool.claim((), 10, START, LEASE)
    assert (claim.transfer, claim.message, claim.epoch) == (intake.transfers[0], intake.message, 1)
    assert intake.message is not None
    assert await octets(spool, claim.message) == intake.message.content.data


@pytest.mark.parametrize("flags", list(itertools.product((False, True), repeat=3)))
async def test_what_the_content_is_like_is_kept(spool: Spool, flags: tuple[bool, bool, bool]) -> None:
    intake = make_intake()
    assert intake.message is not None
    dot, eight_bit, chunks = flags
    content = replace(intake.message.content, leading_dot=dot, eight_bit=eight_bit, chunks_only=chunks)
    await spool.commit(replace(intake, message=replace(intake.message, content=content)))
    (claim,) = await spool.claim((), 10, START, LEASE)
    assert claim.message.content == content


async def test_evidence_that_differs_from_the_trace_is_kept(spool: Spool) -> None:
    intake = make_intake()
    await spool.commit(replace(intake, trace=replace(intake.trace, evidence=None)))
    (claim,) = await spool.claim((), 10, START, LEASE)
    assert claim.message == intake.message


async def test_transfer_is_claimed_once(spool: Spool) -> None:
    await spool.commit(make_intake())
    results = await asyncio.gather(*(spool.claim((), 5, START, LEASE) for _ in range(8)))
    assert sum(map(len, results)) == 1


async def test_nothing_is_claimed_before_it_is_due(spool: Spool) -> None:
    await spool.commit(make_intake(due=START + 10))
    assert await spool.claim((), 5, START + 9.9, LEASE) == []
    assert len(await spool.claim((), 5, START + 10, LEASE)) == 1


async def test_committer_of_a_claimed_transfer_settles_without_reading(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    assert await spool.claim((), 5, START + LEASE - 1, LEASE) == []
    assert await spool.settle(make_settlement(claim_of(intake)))
    story = await told(spool, intake)
    assert [ending.state for ending in story.endings] == [Final.DELIVERED]


async def test_lease_that_ran_out_fences_the_old_claim(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    old = claim_of(intake)
    (new,) = await spool.claim((), 5, START + LEASE + 1, LEASE)
    assert new.epoch == 2
    assert not await spool.settle(make_settlement(old, dsn=make_intake(id="dsn-of-the-late")))
    story = await told(spool, intake)
    assert (story.endings, story.attempts, story.waiting) == ((), (), intake.transfers)
    assert await spool.reader.story("dsn-of-the-late") is None
    assert await spool.settle(make_settlement(new))
    assert not await spool.settle(make_settlement(new))


async def test_lease_that_ran_out_still_settles_while_nobody_else_has_it(spool: Spool, bench: Bench) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    bench.clock.time += 2 * LEASE
    assert await spool.settle(make_settlement(claim_of(intake)))


async def test_release_gives_back(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    claim = claim_of(intake)
    await spool.release(claim, START + 30)
    assert not await spool.settle(make_settlement(claim))
    assert await spool.reader.next_due() == START + 30
    assert await spool.claim((), 5, START + 29, LEASE) == []
    (again,) = await spool.claim((), 5, START + 30, LEASE)
    assert again.epoch == 2
    assert again.transfer == replace(intake.transfers[0], due=START + 30)
    await spool.release(claim, START)
    assert await spool.claim((), 5, START + 31, LEASE) == []


async def test_claims_of_a_dead_process_are_due_at_once(bench: Bench) -> None:
    spool = await bench.open()
    committed, taken = make_intake(claimed=True), make_intake(backends=("microsoft",))
    await spool.commit(committed)
    await spool.commit(taken)
    (old,) = await spool.claim((), 5, START, LEASE)
    await bench.close()
    spool = await bench.open()
    claims = await spool.claim((), 5, START, LEASE)
    assert {claim.transfer.message_id: claim.epoch for claim in claims} == {committed.trace.id: 2, taken.trace.id: 2}
    assert not await spool.settle(make_settlement(old))


async def test_oldest_first_and_skip(spool: Spool) -> None:
    for at in (3, 1, 2):
        await spool.commit(make_intake(due=START + at, id=f"g{at}"))
        await spool.commit(make_intake(due=START + at, id=f"m{at}", backends=("microsoft",)))
    claims = await spool.claim({"microsoft"}, 2, START + 10, LEASE)
    assert [claim.transfer.message_id for claim in claims] == ["g1", "g2"]
    claims = await spool.claim({"google", "other"}, 9, START + 10, LEASE)
    assert [claim.transfer.message_id for claim in claims] == ["m1", "m2", "m3"]
    assert await spool.claim({"google"}, 9, START + 10, LEASE) == []


async def test_no_backend_starves_another(spool: Spool) -> None:
    for at in range(50):
        await spool.commit(make_intake(due=START - 1000 + at, backends=("dead",)))
    await spool.commit(make_intake(due=START - 1, id="fresh"))
    claims = await spool.claim((), 4, START, LEASE)
    assert [claim.transfer.backend for claim in claims].count("dead") == 3
    assert "fresh" in {claim.transfer.message_id for claim in claims}


async def test_next_due(spool: Spool) -> None:
    assert await spool.reader.next_due() is None
    await spool.commit(make_intake(due=START + 100))
    await spool.commit(make_intake(due=START + 50, backends=("microsoft",)))
    assert await spool.reader.next_due() == START + 50
    assert await spool.reader.next_due({"microsoft"}) == START + 100
    assert await spool.reader.next_due({"microsoft", "google"}) is None
    await spool.claim((), 5, START + 60, 20.0)
    assert await spool.reader.next_due() == START + 80


# settling


async def test_deferral_keeps_who_remains(spool: Spool) -> None:
    intake = make_intake(rcpts=("alice", "bob"))
    await spool.commit(intake)
    (claim,) = await spool.claim((), 5, START, LEASE)
    alice, bob = claim.transfer.rcpts
    settlement = make_settlement(claim, remaining=(bob,), due=START + 60)
    assert await spool.settle(settlement)
    story = await told(spool, intake)
    assert [(ending.rcpt, ending.state) for ending in story.endings] == [(alice, Final.DELIVERED)]
    expected = replace(intake.transfers[0], rcpts=(bob,), due=START + 60, attempts=1, delay_warned=True)
    assert (story.waiting, story.attempts, story.content_kept) == ((expected,), (settlement.attempt,), True)
    (entry,) = await spool.reader.queue(10)
    assert (entry.rcpts, entry.attempts, entry.due, entry.claimed) == (("bob@corp.example",), 1, START + 60, False)
    assert (entry.mail_from, entry.backend, entry.created) == ("author@sender.example", "google", START)
    assert entry.last_reply == "451 4.4.7 Later"
    assert await spool.claim((), 5, START + 59, LEASE) == []
    (again,) = await spool.claim((), 5, START + 60, LEASE)
    assert (again.transfer, again.epoch) == (expected, 2)


async def test_story_tells_attempts_in_order(spool: Spool) -> None:
    intake = make_intake(rcpts=("alice", "bob"))
    await spool.commit(intake)
    now = START
    for round in range(12):
        (claim,) = await spool.claim((), 5, now, LEASE)
        last = round == 11
        remaining = () if last else claim.transfer.rcpts
        now += 60
        assert await spool.settle(make_settlement(claim, remaining=remaining, due=now, started=now))
    story = await told(spool, intake)
    assert [attempt.started for attempt in story.attempts] == [START + 60 * at for at in range(1, 13)]
    assert [ending.state for ending in story.endings] == [Final.DELIVERED] * 2
    assert story.waiting == ()


async def test_story_tells_attempts_of_several_transfers_in_order(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"), claimed=True)
    await spool.commit(intake)
    for at, started in ((0, START + 20), (1, START + 10)):
        assert await spool.settle(make_settlement(claim_of(intake, at), started=started))
    story = await told(spool, intake)
    assert [attempt.backend for attempt in story.attempts] == ["microsoft", "google"]


async def test_content_stays_until_the_last_transfer_ends(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"))
    await spool.commit(intake)
    first, second = await spool.claim((), 5, START, LEASE)
    assert await spool.settle(make_settlement(first))
    assert (await told(spool, intake)).content_kept
    assert await spool.settle(make_settlement(second))
    story = await told(spool, intake)
    assert (story.content_kept, story.waiting) == (False, ())
    assert story.trace == intake.trace


@pytest.mark.parametrize("state", [Final.FAILED, Final.WITHHELD, Final.EXPIRED, Final.DELETED])
async def test_content_of_what_was_not_delivered_is_kept_for_a_time(spool: Spool, bench: Bench, state: Final) -> None:
    intake = make_intake(rcpts=("alice", "bob"), claimed=True)
    await spool.commit(intake)
    claim = claim_of(intake)
    alice, bob = claim.transfer.rcpts
    first = make_settlement(claim, done=((alice, state),), remaining=(bob,), due=START)
    assert await spool.settle(first)
    (claim,) = await spool.claim((), 1, START, LEASE)
    assert await spool.settle(make_settlement(claim))
    assert (await told(spool, intake)).content_kept
    assert await spool.purge(START + 7 * DAY - 1) == 0
    assert await spool.purge(START + 7 * DAY) == 1
    story = await told(spool, intake)
    assert not story.content_kept
    assert {ending.state for ending in story.endings} == {state, Final.DELIVERED}


async def test_dsn_comes_with_its_settlement(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    claim = claim_of(intake)
    dsn = make_intake(backends=("direct",), rcpts=("author",))
    failed = tuple((rcpt, Final.FAILED) for rcpt in claim.transfer.rcpts)
    assert await spool.settle(make_settlement(claim, done=failed, dsn=dsn))
    (sent,) = await spool.claim((), 5, START, LEASE)
    assert (sent.transfer, sent.message) == (dsn.transfers[0], dsn.message)
    assert (await told(spool, dsn)).trace == dsn.trace


async def test_settlement_is_all_or_nothing(spool: Spool) -> None:
    taken, intake = make_intake(backends=("microsoft",)), make_intake(claimed=True)
    await spool.commit(taken)
    await spool.commit(intake)
    before = await told(spool, intake)
    refused = make_settlement(claim_of(intake), dsn=make_intake(id=taken.trace.id))
    (error,) = await asyncio.gather(spool.settle(refused), return_exceptions=True)
    assert isinstance(error, Exception)
    assert await told(spool, intake) == before
    assert await spool.settle(make_settlement(claim_of(intake)))


# holding


async def test_hold_keeps_a_claimed_transfer_back(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"), claimed=True)
    await spool.commit(intake)
    claim = claim_of(intake)
    await spool.hold(claim, "altered")
    story = await told(spool, intake)
    assert (story.held, story.content_kept, len(story.waiting)) == (True, True, 2)
    assert not await spool.settle(make_settlement(claim))
    assert await spool.settle(make_settlement(claim_of(intake, 1)))
    assert await spool.claim((), 5, START + 10 * LEASE, LEASE) == []
    assert await spool.reader.counts() == {}
    (entry,) = await spool.reader.queue(5)
    assert (entry.held, entry.claimed, entry.last_reply) == (True, False, "altered")
    while await spool.purge(START + 100 * DAY):
        pass
    assert (await told(spool, intake)).content_kept


async def test_stale_hold_is_ignored(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    await spool.release(claim_of(intake), START)
    await spool.hold(claim_of(intake), "altered")
    assert not (await told(spool, intake)).held
    assert len(await spool.claim((), 5, START, LEASE)) == 1


# queue


async def test_queue_lists_the_earliest_and_counts_all(spool: Spool) -> None:
    for at in range(20):
        backends = ("google",) if at % 2 else ("microsoft",)
        await spool.commit(make_intake(due=START + 100 - at, backends=backends, id=f"q{at:02d}"))
    assert [entry.message_id for entry in await spool.reader.queue(3)] == ["q19", "q18", "q17"]
    assert await spool.reader.counts() == {"google": 10, "microsoft": 10}
    await spool.claim((), 1, START + 1000, LEASE)
    assert await spool.reader.counts() == {"google": 10, "microsoft": 10}
    assert sum(entry.claimed for entry in await spool.reader.queue(100)) == 1


# large content


async def test_large_content_comes_back_in_chunks(spool: Spool, bench: Bench) -> None:
    intake = make_intake(message=await large_message(spool))
    await spool.commit(intake)
    await bench.close()
    spool = await bench.open()
    (claim,) = await spool.claim((), 1, START, LEASE)
    assert claim.message == intake.message
    chunks = [chunk async for chunk in spool.read_content(claim.message.content)]
    assert max(map(len, chunks)) <= 1_048_576
    assert b"".join(chunks) == LARGE
    assert await spool.settle(make_settlement(claim))
    await bench.close()
    spool = await bench.open()
    with pytest.raises(ContentAltered):
        await octets(spool, claim.message)


async def test_content_in_memory_is_read_in_chunks(spool: Spool) -> None:
    message = make_message(LARGE)
    chunks = [chunk async for chunk in spool.read_content(message.content)]
    assert max(map(len, chunks)) <= 1_048_576
    assert b"".join(chunks) == LARGE


@pytest.mark.parametrize("finished", [False, True])
async def test_discarded_content_is_gone(spool: Spool, bench: Bench, finished: bool) -> None:
    writer = spool.open_content()
    writer.write(LARGE)
    path = await writer.finish() if finished else ""
    writer.discard()
    writer.discard()
    await bench.close()
    spool = await bench.open()
    if finished:
        with pytest.raises(ContentAltered):
            await octets(spool, Message(content_of(LARGE, path), Evidence(b"", (), 0)))


async def test_discard_after_commit_changes_nothing(spool: Spool, bench: Bench) -> None:
    writer = spool.open_content()
    writer.write(LARGE)
    message = Message(content_of(LARGE, await writer.finish()), Evidence(b"", (), len(LARGE)))
    await spool.commit(make_intake(message=message))
    writer.discard()
    await bench.close()
    spool = await bench.open()
    (claim,) = await spool.claim((), 1, START, LEASE)
    assert await octets(spool, claim.message) == LARGE


async def test_several_large_messages_at_once(spool: Spool) -> None:
    bodies = [bytes([at]) * 2_500_000 + b"." for at in range(6)]
    messages = await asyncio.gather(*(large_message(spool, body) for body in bodies))
    for message in messages:
        await spool.commit(make_intake(message=message))
    claims = await spool.claim((), 10, START, LEASE)
    assert sorted([await octets(spool, claim.message) for claim in claims]) == bodies


# purge


async def test_traces_go_when_their_time_is_over(spool: Spool, bench: Bench) -> None:
    waiting = make_intake(due=START + 365 * DAY, id="waiting")
    delivered = make_intake(claimed=True)
    refused = make_refusal()
    young = replace(make_refusal(), trace=replace(refused.trace, id="young", received=START + DAY))
    for intake in (waiting, delivered, refused, young):
        await spool.commit(intake)
    assert await spool.settle(make_settlement(claim_of(delivered)))
    assert await spool.purge(START + 30 * DAY - 1) == 0
    assert await spool.purge(START + 30 * DAY) == 2
    assert await spool.reader.story(delivered.trace.id) is None
    assert await spool.reader.story(refused.trace.id) is None
    assert (await told(spool, waiting)).waiting
    assert await spool.reader.story("young") is not None


async def test_purge_takes_a_bounded_number(spool: Spool) -> None:
    await asyncio.gather(*(spool.commit(make_refusal()) for _ in range(1500)))
    gone = []
    while removed := await spool.purge(START + 40 * DAY):
        gone.append(removed)
    assert sum(gone) == 1500
    assert len(gone) > 2


async def test_close_writes_what_waits(bench: Bench) -> None:
    spool = await bench.open()
    intakes = [make_refusal(durable=False) for _ in range(100)]
    for intake in intakes:
        await spool.commit(intake)
    await bench.close()
    spool = await bench.open()
    for intake in intakes:
        await told(spool, intake)


# clients without a reply


async def answered(spool: Spool, id: str, heard: bool) -> None:
    """Note the answer, and have it written with the next commit."""
    spool.note_answer(id, heard)
    await spool.commit(make_intake())


def marked(mark: bytes = b"f") -> Intake:
    return replace(make_intake(), fingerprint=mark)


async def test_a_message_whose_client_was_not_told_is_known(spool: Spool) -> None:
    intake = marked()
    await spool.commit(intake)
    assert await spool.find_unheard((b"f", b"narrow"), START) is None, "its client still waits"
    await answered(spool, intake.trace.id, heard=False)
    assert await spool.find_unheard((b"f", b"narrow"), START + 1) == intake.trace.id
    assert await spool.find_unheard((b"wide", b"f"), START + 1) == intake.trace.id, "either mark is enough"
    assert await spool.find_unheard((b"g", b"h"), START + 1) is None
    assert await spool.find_unheard((b"f", b"narrow"), intake.trace.received + 86_401) is None, (
        "its retry would have come"
    )


async def test_a_message_whose_client_was_told_is_not(spool: Spool) -> None:
    intake = marked()
    await spool.commit(intake)
    await answered(spool, intake.trace.id, heard=True)
    await answered(spool, intake.trace.id, heard=False)
    assert await spool.find_unheard((b"f", b"narrow"), START + 1) is None


async def test_one_that_was_delivered_is_still_known(spool: Spool) -> None:
    intake = marked()
    await spool.commit(intake)
    await answered(spool, intake.trace.id, heard=False)
    claims = await spool.claim((), 10, START, LEASE)
    for claim in claims:
        await spool.settle(make_settlement(claim))
    assert await spool.find_unheard((b"f", b"narrow"), START + 1) == intake.trace.id


async def test_a_refusal_that_nobody_heard_is_forgotten(spool: Spool) -> None:
    """The backend refused it while its client waited: a retry must get that refusal too."""
    intake = marked()
    await spool.commit(intake)
    (claim,) = await spool.claim((), 10, START, LEASE)
    await spool.settle(replace(make_settlement(claim), told=True))
    await answered(spool, intake.trace.id, heard=False)
    assert await spool.find_unheard((b"f", b"narrow"), START + 1) is None


async def test_who_was_told_nothing_before_a_crash_never_will_be(bench: Bench) -> None:
    """A message whose answer was noted is not taken for an unanswered one."""
    spool = await bench.open()
    heard, waiting = marked(b"told"), marked(b"waiting")
    await spool.commit(heard)
    await spool.commit(waiting)
    spool.note_answer(heard.trace.id, heard=True)
    await bench.close()
    spool = await bench.open()
    assert await spool.find_unheard((b"waiting", b"narrow"), START + 1) == waiting.trace.id
    assert await spool.find_unheard((b"told", b"narrow"), START + 1) is None
