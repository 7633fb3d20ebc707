"""What a resolver keeps and how much it does at once: the cache of answers, and the slots for lookups."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.model.dnsdata import Answer, Question

_OVERHEAD = 300
"""Octets that an entry takes beside its records, roughly."""


class AnswerCache:
    """Fresh answers, least recently used first out; bounded in number and in octets."""

    def __init__(self, clock: Callable[[], float], most: int = 50_000, octets: int = 64_000_000) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._most = most
        self._room = octets
        self._entries: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()

    def get(self, question: Question) -> Answer | None:
        """The answer while it is fresh."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        until, answer = entry
        if until <= self._clock():
            self._drop(question)
            return None
        self._entries.move_to_end(question)
        return answer

    def put(self, question: Question, answer: Answer, seconds: float) -> None:
        """Keep it for so long."""
        self._drop(question)
        self._entries[question] = (self._clock() + seconds, answer)
        self._room -= _weigh(question, answer)
        while self._room < 0 or len(self._entries) > self._most:
            self._drop(next(iter(self._entries)))

    def _drop(self, question: Question) -> None:
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._room += _weigh(question, entry[1])


def _weigh(question: Question, answer: Answer) -> int:
    return _OVERHEAD + len(question.name) + sum(map(len, answer.records))


@dataclass(slots=True)
class _Share:
    slots: asyncio.Semaphore
    users: int = 0


class LookupSlots:
    """How many lookups are under way: in all, and for one zone, so that one silent zone cannot take every slot."""

    def __init__(self, most: int, most_in_zone: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._most_in_zone = most_in_zone
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[None]:
        """Hold a slot for a lookup of that name; waits for one."""
        zone = _zone_of(name)
        share = self._shares.setdefault(zone, _Share(asyncio.Semaphore(self._most_in_zone)))
        share.users += 1
        try:
            async with share.slots, self._all:
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[zone]


def _zone_of(name: str) -> str:
    """Roughly whose name it is: the last two labels, for reverse names one /16."""
    labels = name.split(".")
    return ".".join(labels[-4:] if labels[-1] == "arpa" else labels[-2:])
