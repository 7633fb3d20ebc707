"""Runs the pure judgement over live DNS: it fetches missing answers and runs the check again, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from gateway.authentication.dnsbl import BlockList, find_broken
from gateway.authentication.lookup import DnsView, Memory, NeedAnswers
from gateway.mail.domain import organization_of
from gateway.model.dnsdata import Answer, DnsStatus, Lookup, Question
from gateway.model.event import Event, Level
from gateway.ports import Clock, EventSink, Resolver

_PERIOD = 300.0
_MOST_NAMES = 4000
_MANY = 20
"""Domains without an answer in that time that make it an outage, if they are half of all domains asked about."""
_REPEAT = 3600.0


class Outage:
    """The recent answers of DNS."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, bool]] = {}
        """Domain -> the time of its last question, and whether an answer was missing; oldest first."""
        self._failed = 0
        """Number of domains with a missing answer."""
        self._alarmed: float | None = None

    def note(self, lookups: Iterable[Lookup], now: float) -> Iterator[Event]:
        """Learn from the answers of one judgement. Gives an alarm at the start of an outage and each hour while it
        lasts, and a notice at its end."""
        answers: dict[str, bool] = {}
        for lookup in lookups:
            domain = organization_of(lookup.question.name)
            answers[domain] = answers.get(domain, False) or lookup.answer.failed
        for domain, failed in answers.items():
            self._drop(domain)
            self._asked[domain] = (now, failed)
            self._failed += failed
        while self._asked and (len(self._asked) > _MOST_NAMES or now - self._asked[self._oldest][0] > _PERIOD):
            self._drop(self._oldest)
        out = self._failed >= _MANY and self._failed * 2 >= len(self._asked)
        if out and (self._alarmed is None or now - self._alarmed >= _REPEAT):
            self._alarmed = now
            yield self._describe("dns-outage", Level.ALARM)
        elif self._alarmed is not None and self._failed * 4 < len(self._asked):
            self._alarmed = None
            yield self._describe("dns-restored", Level.INFO)

    @property
    def _oldest(self) -> str:
        return next(iter(self._asked))

    def _drop(self, domain: str) -> None:
        _, failed = self._asked.pop(domain, (0.0, False))
        self._failed -= failed

    def _describe(self, name: str, level: Level) -> Event:
        fields: list[tuple[str, str | int]] = [("failed", self._failed), ("asked", len(self._asked))]
        if level is Level.ALARM:
            fields.append(("fix", "see whether the resolvers of [dns] nameservers, or /etc/resolv.conf, answer"))
        return Event(name, "", tuple(fields), level)


_MOST_ROUNDS = 40
"""SPF alone may follow ten includes one after the other (RFC 7208 section 4.6.4); prefetch makes two rounds usual."""
_MOST_QUESTIONS = 400

T = TypeVar("T")


class Authenticator:
    """The only loop that does IO for a verdict. One message may spend `budget` seconds on DNS. Answers missing after
    that count as timed out, so a check that needs them ends in temperror (promise P7)."""

    def __init__(self, resolver: Resolver, clock: Clock, budget: float) -> None:
        self._resolver = resolver
        self._clock = clock
        self._budget = budget
        self._memory = Memory()
        self._prefetching: set[asyncio.Task[object]] = set()

    async def run(self, check: Callable[[DnsView], T], asker: str = "") -> tuple[T, DnsView]:
        """The check's result and the view with every answer behind it. `asker`: see ports.Resolver."""
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
            # This judgement ends with the answers available so far.
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
        """Start lookups that a later judgement will ask for. The returned function ends those that no other asker waits
        for; it must be called when the transaction is over, in every case."""
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


async def keep_usable(
    lists: Sequence[BlockList], authenticator: Authenticator, emit: EventSink
) -> tuple[BlockList, ...]:
    """The lists without those that answer their self-test wrongly (RFC 5782 section 5); each of these is an alarm, and
    is ignored. A list that does not answer is kept; while it is silent, it appears in `dnsbl.errors`."""
    if not lists:
        return ()
    broken, _ = await authenticator.run(partial(find_broken, tuple(lists)))
    for zone, reason in broken.items():
        emit(Event("dnsbl-ignored", "", (("zone", zone), ("reason", reason)), Level.ALARM))
    return tuple(one for one in lists if one.zone not in broken)
