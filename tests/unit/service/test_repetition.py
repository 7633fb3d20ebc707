"""A repeated message waits for the result of the first attempt, in any worker."""

from __future__ import annotations

import asyncio

import pytest

from gateway.model.value import replace
from gateway.net.system import SystemClock
from gateway.service.repetition import Arrivals, RepeatTable, Repetitions, UnderWay, pass_on
from tests.support.fake_spool import FakeSpool
from tests.support.spooling import make_intake

MARK, OTHER = b"f" * 32, b"g" * 32
NARROW = b"n" * 32


class Workers:
    """Two workers over one spool."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.spool = FakeSpool(self.clock)
        self.arrivals = Arrivals(2)
        self.tables = [self.arrivals.of_worker(number) for number in range(2)]
        self.both = [Repetitions(self.spool, table, self.clock) for table in self.tables]

    def begin(self) -> Workers:
        for table in self.tables:
            table.begin()
        return self

    async def find(self, worker: int, mark: bytes = MARK, patience: float = 5.0) -> str | int | None:
        return await self.both[worker].find((mark, NARROW), self.clock.monotonic() + patience)

    async def store(self) -> str:
        intake = replace(make_intake(), fingerprint=MARK)
        await self.spool.commit(intake)
        return intake.trace.id


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.repetition._LOOK_EVERY", 0.01)
    monkeypatch.setattr("gateway.service.repetition._PASS_ON_EVERY", 0.01)


@pytest.mark.parametrize("other", [0, 1])
async def test_the_retry_of_who_was_not_told_gets_the_first_ones_id(other: int) -> None:
    workers = Workers().begin()
    slot = await workers.find(0)
    assert isinstance(slot, int)
    assert isinstance(await workers.find(other, OTHER), int), "another message does not wait"
    retry = asyncio.create_task(workers.find(other))
    await asyncio.sleep(0.05)
    assert not retry.done()
    id = await workers.store()
    await asyncio.sleep(0.05)
    assert not retry.done(), "its client still waits"
    workers.spool.note_answer(id, heard=False)
    workers.both[0].conclude(slot, heard=False)
    assert await retry == id


@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("heard", [True, False])
async def test_a_repetition_that_is_heard_ends_what_it_repeats(worker: int, heard: bool) -> None:
    """In any worker: the row that records the missing reply is in the first one's shard."""
    workers = Workers().begin()
    slot = await workers.find(0)
    assert isinstance(slot, int)
    id = await workers.store()
    workers.spool.note_answer(id, heard=False)
    workers.both[0].conclude(slot, heard=False)
    assert await workers.find(worker) == id
    again = workers.both[worker].note_repeat((MARK, NARROW), id)
    assert again is not None
    workers.both[worker].conclude(again, heard=heard)
    workers.tables[0].leave(slot)
    workers.tables[worker].leave(again)
    for other in workers.both:
        found = await other.find((MARK, NARROW), 0.0)
        assert (found == id) is not heard
        if isinstance(found, int):
            other.forget(found)


@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("row", [True, False], ids=["row still there", "row gone"])
async def test_who_came_before_a_repetition_was_answered_is_one_too(worker: int, row: bool) -> None:
    """Several attempts wait for the first one, whose client got no reply: each gets its id. One that begins after the
    answer to the first of them is a new message, once that answer is known to be heard."""
    workers = Workers().begin()
    slot = await workers.find(0)
    assert isinstance(slot, int)
    first, waiting = [asyncio.create_task(workers.find(number)) for number in (worker, 1)]
    await asyncio.sleep(0.05)
    id = await workers.store()
    workers.spool.note_answer(id, heard=False)
    workers.both[0].conclude(slot, heard=False)
    again = workers.both[worker].note_repeat((MARK, NARROW), await first)
    assert again is not None
    later = asyncio.create_task(workers.find(0))
    if not row:
        workers.spool.note_answer(id, heard=True)
    assert await waiting == id
    also = workers.both[1].note_repeat((MARK, NARROW), id)
    assert also is not None
    await asyncio.sleep(0.05)
    assert not later.done(), "whether the first repetition was heard is open"
    workers.both[1].conclude(also, heard=True)
    workers.both[worker].conclude(again, heard=True)
    for number, done in ((0, slot), (worker, again), (1, also)):
        workers.tables[number].leave(done)
    assert isinstance(await later, int)


async def test_an_attempt_after_a_repetition_that_was_not_heard_is_one_too() -> None:
    workers = Workers().begin()
    id = await workers.store()
    workers.spool.note_answer(id, heard=False)
    assert await workers.find(0) == id
    again = workers.both[0].note_repeat((MARK, NARROW), id)
    assert again is not None
    later = asyncio.create_task(workers.find(1))
    await asyncio.sleep(0.05)
    assert not later.done()
    workers.both[0].conclude(again, heard=False)
    assert await later == id


async def test_who_waits_in_another_network_is_no_repetition_of_a_marked_copy() -> None:
    """A stranger's earlier copy, and his retry of it, must not suppress the author's own."""
    workers = Workers().begin()
    stranger, author = (MARK, NARROW), (MARK, b"a" * 32)
    clock, (one, other) = workers.clock, workers.both
    slot = await one.find(stranger, clock.monotonic() + 5.0)
    assert isinstance(slot, int)
    own = asyncio.create_task(other.find(author, clock.monotonic() + 5.0))
    await asyncio.sleep(0.05)
    intake = replace(make_intake(), fingerprint=NARROW)
    await workers.spool.commit(intake)
    workers.spool.note_answer(intake.trace.id, heard=False)
    one.conclude(slot, heard=False)
    assert await one.find(stranger, clock.monotonic() + 5.0) == intake.trace.id
    again = one.note_repeat(stranger, intake.trace.id)
    assert again is not None
    one.conclude(again, heard=True)
    workers.tables[0].leave(slot)
    workers.tables[0].leave(again)
    assert isinstance(await own, int)


async def test_of_what_a_dead_worker_answered_nobody_knows_that_it_was_heard() -> None:
    workers = Workers().begin()
    id = await workers.store()
    workers.spool.note_answer(id, heard=False)
    assert await workers.find(0) == id
    assert workers.both[0].note_repeat((MARK, NARROW), id) is not None
    workers.arrivals.bury(0)
    workers.tables[0].begin()
    assert await workers.find(1) == id


async def test_the_shards_owner_writes_down_what_was_told_elsewhere() -> None:
    workers = Workers().begin()
    id = await workers.store()
    workers.spool.note_answer(id, heard=False)
    passing = asyncio.create_task(pass_on(workers.spool, workers.tables[0].repeats))
    await asyncio.sleep(0.01)
    assert await workers.find(1) == id
    again = workers.both[1].note_repeat((MARK, NARROW), id)
    assert again is not None
    workers.both[1].conclude(again, heard=True)
    await asyncio.sleep(0.05)
    passing.cancel()
    assert await workers.spool.find_unheard((MARK, NARROW), workers.clock.now()) is None


async def test_a_ring_that_is_full_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.repetition._REPEATS", 4)
    table = RepeatTable(2)
    places = [table.note(1, f"m{number}", b"%08d" % number, float(number)) for number in range(6)]
    for number, place in enumerate(places):
        table.conclude(1, place, f"m{number}", heard=True)
    assert table.list_heard() == {"m2", "m3", "m4", "m5"}
    assert table.count_heard() == 4
    mark = b"%08d" % 5
    assert table.judge((mark, NARROW), None, 4.5) == (("m5", mark), False)
    assert table.judge((NARROW, mark), None, 4.5) == (("m5", mark), False)
    assert table.judge((NARROW, NARROW), None, 4.5) == (None, False)
    assert table.judge((mark, NARROW), ("m5", mark), 5.5) == (None, False)


@pytest.mark.parametrize("stored", [True, False])
async def test_who_was_told_sends_a_new_message(stored: bool) -> None:
    workers = Workers().begin()
    slot = await workers.find(0)
    assert isinstance(slot, int)
    again = asyncio.create_task(workers.find(1))
    await asyncio.sleep(0.05)
    if stored:
        workers.spool.note_answer(await workers.store(), heard=True)
    workers.both[0].conclude(slot, heard=True)
    assert isinstance(await again, int)


@pytest.mark.parametrize("early", [True, False])
async def test_an_attempt_read_late_whose_retry_was_answered_is_not_taken_too(early: bool) -> None:
    """Its client had given up before a stopped worker read it."""
    workers = Workers().begin()
    slot = await workers.find(1)
    assert isinstance(slot, int)
    late = asyncio.create_task(workers.both[0].find((MARK, NARROW), workers.clock.monotonic() + 5.0, lambda: True))
    await asyncio.sleep(0.05 if early else 0)
    workers.spool.note_answer(await workers.store(), heard=True)
    workers.both[1].conclude(slot, heard=True)
    with pytest.raises(UnderWay):
        await late
    assert isinstance(await workers.find(0), int), "a client that is there sends a new message"


async def test_it_does_not_wait_for_ever() -> None:
    workers = Workers().begin()
    await workers.find(0)
    with pytest.raises(UnderWay):
        await workers.find(1, patience=0.05)


async def test_what_a_dead_worker_had_is_waited_for_until_its_successor_knows() -> None:
    workers = Workers().begin()
    await workers.find(0)
    id = await workers.store()
    workers.arrivals.bury(0)
    retry = asyncio.create_task(workers.find(1))
    await asyncio.sleep(0.05)
    assert not retry.done()
    assert isinstance(await workers.find(1, OTHER), int), "other mail goes on meanwhile"
    workers.spool.reopen()
    workers.tables[0].begin()
    assert await retry == id


async def test_before_all_workers_are_there_the_spool_is_asked() -> None:
    """After the death of all, as after a power cut."""
    workers = Workers()
    id = await workers.store()
    workers.tables[1].begin()
    with pytest.raises(UnderWay):
        await workers.find(1, patience=0.05)
    workers.spool.reopen()
    assert await workers.find(1) == id
