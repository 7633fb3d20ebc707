"""A message that comes again waits for what becomes of the first attempt, in whichever worker that runs."""

from __future__ import annotations

import asyncio

import pytest

from gateway.model.value import replace
from gateway.net.system import SystemClock
from gateway.service.repetition import Arrivals, Repetitions, UnderWay
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
    """In whichever worker it is: the row that says that nobody was told stands in the first one's shard."""
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
    """Its client had given it up before a stopped worker read it."""
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
