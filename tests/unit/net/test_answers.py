"""The cache of answers and the slots for lookups."""

from __future__ import annotations

import asyncio

from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.net.answers import AnswerCache, LookupSlots


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


async def test_slots_are_given_back() -> None:
    slots = LookupSlots(2, 1)
    order: list[str] = []

    async def use(name: str) -> None:
        async with slots.take(name):
            order.append(name)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(2):
        await asyncio.gather(*(use(name) for name in ("a.one.test", "b.one.test", "c.two.test", "d.three.test")))
    assert order.index("b.one.test") > order.index("c.two.test")
    assert slots._shares == {}
