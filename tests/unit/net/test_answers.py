"""The cache of answers, and fair shares of the lookups under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.net.answers import AnswerCache, LookupBounds, Lookups


def _clock() -> float:
    return 1000.0


def _found(*records: str) -> Answer:
    return Answer(DnsStatus.FOUND, records)


def test_cache_drops_the_least_recently_used() -> None:
    cache = AnswerCache(_clock, most=3)
    one, two, three, four = (Question(f"{word}.example", "A") for word in ("one", "two", "three", "four"))
    for question in (one, two, three):
        cache.put(question, _found("192.0.2.1"), 60)
    cache.get(one)
    cache.put(four, _found("192.0.2.1"), 60)
    assert [cache.get(question) is not None for question in (one, two, three, four)] == [True, False, True, True]


def test_cache_is_bounded_in_octets() -> None:
    cache = AnswerCache(_clock, octets=100_000)
    questions = [Question(f"n{number}.example", "TXT") for number in range(100)]
    for question in questions * 2:
        cache.put(question, _found("x" * 10_000), 60)
    kept = [question for question in questions if cache.get(question)]
    assert kept == questions[-len(kept) :]
    assert 5 <= len(kept) <= 10


class World:
    """A resolver that answers at once, except for names below `silent`, which never get an answer."""

    def __init__(self, bounds: LookupBounds | None = None, seconds: float = 0.5) -> None:
        self.asked: list[str] = []
        self.running = 0
        self.peak = 0
        self.lookups = Lookups(self._resolve, seconds, AnswerCache(time.monotonic), bounds)
        self._attackers: list[asyncio.Task[object]] = []

    async def _resolve(self, question: Question) -> tuple[Answer, float]:
        self.asked.append(question.name)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if "silent" in question.name:
                await asyncio.sleep(3600)
            await asyncio.sleep(0.002)
        finally:
            self.running -= 1
        return _found("192.0.2.1"), 60

    async def ask(self, name: str, asker: str) -> Answer:
        question = Question(name, "A")
        return (await self.lookups.fetch([question], asker))[question]

    def attack(self, asker: str, zones: int, names: int) -> None:
        """One asker asks for so many names in so many zones that never answer, and continues when they have failed."""

        async def go(zone: int, number: int) -> None:
            turn = 0
            while True:
                turn += 1
                answer = await self.ask(f"h{number}-{turn}.silent{zone}-{asker.replace('.', '-')}.example", asker)
                if answer.status is DnsStatus.SERVFAIL:
                    await asyncio.sleep(0.01)

        self._attackers += [asyncio.create_task(go(zone, number)) for zone in range(zones) for number in range(names)]

    async def close(self) -> None:
        for task in self._attackers:
            task.cancel()
        await asyncio.gather(*self._attackers, return_exceptions=True)
        await self.lookups.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
    finally:
        await made.close()


@pytest.mark.alone
@pytest.mark.parametrize(("askers", "zones", "names"), [(1, 8, 64), (1, 400, 2), (4, 50, 4), (40, 10, 3)])
async def test_silent_zones_of_others_delay_nobody(world: World, askers: int, zones: int, names: int) -> None:
    for number in range(askers):
        world.attack(f"10.0.{number}.0/24", zones, names)
    await asyncio.sleep(0.7)
    at_once = 0
    for number in range(50):
        name = f"n{number}.good{number}.example"
        asking = asyncio.create_task(world.ask(name, f"192.0.{number}.0/24"))
        for _ in range(3):
            await asyncio.sleep(0)
        at_once += name in world.asked
        assert (await asking).status is DnsStatus.FOUND
    assert at_once >= 48, "counted, not timed: a loaded machine must not matter"
    assert world.peak <= 512


async def test_one_silent_domain_below_a_suffix_leaves_room_for_the_others() -> None:
    world = World()
    silent = asyncio.create_task(
        world.lookups.fetch([Question(f"h{n}.silent.co.uk", "A") for n in range(500)], "10.0.0.0/24")
    )
    await asyncio.sleep(0)
    began = time.monotonic()
    assert (await world.ask("mx.good.co.uk", "10.0.0.0/24")).status is DnsStatus.FOUND
    assert time.monotonic() - began < 0.25
    assert world.peak == 65
    silent.cancel()
    await world.close()


async def test_a_name_that_waits_in_an_attackers_share_does_not_wait_for_others() -> None:
    world = World(LookupBounds(of_asker=4))
    world.attack("10.0.0.0/24", 4, 1)
    await asyncio.sleep(0)
    theirs = asyncio.create_task(world.ask("both.example", "10.0.0.0/24"))
    await asyncio.sleep(0)
    began = time.monotonic()
    assert (await world.ask("both.example", "192.0.2.0/24")).status is DnsStatus.FOUND
    assert time.monotonic() - began < 0.25
    assert (await theirs).status is DnsStatus.FOUND
    assert world.asked.count("both.example") == 1
    await world.close()


async def test_lookups_end_with_their_askers_and_nothing_of_them_is_kept() -> None:
    world = World(LookupBounds(of_asker=3), seconds=30)
    for _ in range(50):
        tasks = [asyncio.create_task(world.ask(f"h{n}.silent.example", "10.0.0.0/24")) for n in range(9)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
    lookups = world.lookups
    assert world.running == 0
    assert not lookups._under_way
    assert not lookups._waiting
    assert not lookups._of_asker
    assert not lookups._in_organization
    assert not lookups._waiting_of_asker
    assert lookups._started == 0


async def test_what_waits_is_bounded_by_asker() -> None:
    world = World(LookupBounds(of_asker=2, waiting_of_asker=5), seconds=0.1)
    questions = [Question(f"h{n}.silent{n}.example", "A") for n in range(20)]
    answers = await world.lookups.fetch(questions, "10.0.0.0/24")
    assert sum(answer.status is DnsStatus.SERVFAIL for answer in answers.values()) == 13, "told at once"
    assert sum(answer.status is DnsStatus.TIMEOUT for answer in answers.values()) == 7
    await world.close()
