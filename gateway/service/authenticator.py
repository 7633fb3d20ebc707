"""Runs the pure judgement over live DNS: fetch what it lacks, run it again, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TypeVar

from gateway.authentication.lookup import DnsView, Memory, NeedAnswers
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.ports import Clock, Resolver

_MOST_ROUNDS = 40
"""SPF alone may follow ten includes one after the other (RFC 7208 section 4.6.4); prefetch makes two rounds usual."""
_MOST_QUESTIONS = 400

T = TypeVar("T")


class Authenticator:
    """The only loop that does IO for a verdict. One message may spend `budget` seconds on DNS; what is missing then
    counts as timed out, so a check that needs it ends in temperror (promise P7)."""

    def __init__(self, resolver: Resolver, clock: Clock, budget: float) -> None:
        self._resolver = resolver
        self._clock = clock
        self._budget = budget
        self._memory = Memory()
        self._prefetching: set[asyncio.Task[object]] = set()

    async def run(self, check: Callable[[DnsView], T], asker: str = "") -> tuple[T, DnsView]:
        """The check's result and the window that holds every answer it rests on. `asker`: see ports.Resolver."""
        window = DnsView(self._resolver.known, self._memory)
        deadline = self._clock.monotonic() + self._budget
        asked = 0
        for _ in range(_MOST_ROUNDS):
            result = _attempt(check, window)
            if result is not None:
                return result, window
            missing = frozenset(window.pending)
            asked += len(missing)
            left = deadline - self._clock.monotonic()
            if left <= 0 or asked > _MOST_QUESTIONS:
                break
            window.rerun(await self._fetch(missing, left, asker))
        return self._conclude(check, window), window

    async def _fetch(self, questions: Collection[Question], seconds: float, asker: str) -> dict[Question, Answer]:
        try:
            return await asyncio.wait_for(self._resolver.fetch(questions, asker), seconds)
        except TimeoutError:
            # This judgement ends with what has come.
            return {question: self._resolver.known(question) or Answer(DnsStatus.TIMEOUT) for question in questions}

    def _conclude(self, check: Callable[[DnsView], T], window: DnsView) -> T:
        """Run to the end with every further question answered `timeout`."""
        for _ in range(_MOST_ROUNDS):
            window.rerun({question: Answer(DnsStatus.TIMEOUT) for question in window.pending})
            result = _attempt(check, window)
            if result is not None:
                return result
        raise RuntimeError("a check keeps asking for names it was told time out")

    def prefetch(self, questions: Collection[Question], asker: str) -> Callable[[], None]:
        """Start lookups that a later judgement will ask for. Whoever calls what this returns ends those of them that
        nobody else waits for; it must be called when the transaction is over, however it ends."""
        missing = [question for question in questions if self._resolver.known(question) is None]
        if not missing:
            return _nothing
        task = asyncio.ensure_future(self._resolver.fetch(missing, asker))
        self._prefetching.add(task)
        task.add_done_callback(self._prefetching.discard)

        def end() -> None:
            task.cancel()

        return end


def _nothing() -> None:
    pass


def _attempt(check: Callable[[DnsView], T], window: DnsView) -> T | None:
    try:
        result = check(window)
    except NeedAnswers:
        return None
    return None if window.pending else result
