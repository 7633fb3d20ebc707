"""The cache of a resolver's answers, and the fair shares of its lookups."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from gateway.mail.domain import organization_of
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.value import Value

_OVERHEAD = 300
"""Octets of an entry besides its records, roughly."""
_LEAST_SECONDS = 1.0
FAILED_SECONDS = 5.0
"""Seconds for which a failed lookup is not tried again (RFC 9520 section 3.2)."""
_LOST = Answer(DnsStatus.SERVFAIL)


class AnswerCache:
    """Fresh answers, least recently used first out; bounded in number and in octets."""

    def __init__(self, clock: Callable[[], float], most: int = 50_000, octets: int = 64_000_000) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._most = most
        self._room = octets
        self._entries: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()

    def get(self, question: Question) -> Answer | None:
        """The answer while it is fresh; else None."""
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
        """Keep the answer for so many seconds."""
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


class LookupBounds(Value):
    """Limits on the number of lookups."""

    under_way: int = 512
    """Each takes a socket."""
    of_asker: int = 128
    in_organization: int = 64
    waiting: int = 10_000
    waiting_of_asker: int = 1000


@dataclass(slots=True, eq=False)
class _Lookup:
    question: Question
    organization: str
    done: asyncio.Future[Answer]
    askers: list[str] = field(default_factory=list)
    """One entry for each asker that waits for the answer."""
    payer: str = ""
    """The asker to whose share it counts once it is started."""
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    """Ends the wait for a slot."""


class Lookups:
    """Each question is under way once, however many ask it, and ends when no asker waits for it any more.

    Askers and organisations have fair shares (promise P7). One of them may have at most half of the slots that are free
    at that moment, so a newcomer always finds some, however many others have taken all they can. A waiting lookup uses
    the share of the first of its askers with room.
    """

    def __init__(
        self,
        resolve: Callable[[Question], Awaitable[tuple[Answer, float]]],
        seconds: float,
        cache: AnswerCache,
        bounds: LookupBounds | None = None,
    ) -> None:
        """`resolve` gives an answer and its lifetime; it may raise anything. `seconds` limits one lookup, and the wait
        for its slot as well."""
        self._resolve = resolve
        self._seconds = seconds
        self._cache = cache
        self._bounds = bounds or LookupBounds()
        self._under_way: dict[Question, _Lookup] = {}
        self._started = 0
        self._of_asker: Counter[str] = Counter()
        self._in_organization: Counter[str] = Counter()
        self._waiting: OrderedDict[str, dict[str, dict[_Lookup, None]]] = OrderedDict()
        """Lookups without a slot, by asker and organisation, oldest first. A lookup with several askers has an entry
        for each."""
        self._waiting_of_asker: Counter[str] = Counter()

    async def fetch(self, questions: Collection[Question], asker: str) -> dict[Question, Answer]:
        """Answers to all of them. Beyond the limit on waiting lookups, further ones fail at once and are not cached."""
        answers: dict[Question, Answer] = {}
        joined: list[_Lookup] = []
        for question in questions:
            answer = self._cache.get(question)
            lookup = None if answer is not None else self._join(question, asker)
            if lookup is None:
                answers[question] = answer or _LOST
            else:
                joined.append(lookup)
        try:
            if joined:
                # Unlike gather, wait leaves the futures alone when this caller is cancelled: others may wait for them.
                await asyncio.wait([lookup.done for lookup in joined])
        finally:
            for lookup in joined:
                self._leave(lookup, asker)
        answers.update((lookup.question, lookup.done.result()) for lookup in joined)
        return answers

    async def close(self) -> None:
        """End all lookups."""
        lookups = list(self._under_way.values())
        tasks = [lookup.task for lookup in lookups if lookup.task is not None]
        for lookup in lookups:
            self._end(lookup, _LOST)
        if tasks:
            await asyncio.wait(tasks)

    def _join(self, question: Question, asker: str) -> _Lookup | None:
        """The lookup of that question, with this asker added; None when too many wait."""
        lookup = self._under_way.get(question)
        if lookup is not None and lookup.task is not None:
            lookup.askers.append(asker)
            return lookup
        room = self._bounds.waiting - len(self._under_way)
        if self._waiting_of_asker[asker] >= min(self._bounds.waiting_of_asker, room // 2):
            return None
        if lookup is None:
            loop = asyncio.get_running_loop()
            lookup = _Lookup(question, organization_of(question.name), loop.create_future())
            self._under_way[question] = lookup
        lookup.askers.append(asker)
        if self._has_share(asker) and self._has_slot(lookup.organization):
            self._start(lookup, asker)
        else:
            self._wait(lookup, asker)
        return lookup

    def _leave(self, lookup: _Lookup, asker: str) -> None:
        lookup.askers.remove(asker)
        if lookup.done.done():
            return
        if not lookup.askers:
            self._end(lookup, _LOST)
        if asker not in lookup.askers:
            self._forget(lookup, asker)

    def _has_share(self, asker: str) -> bool:
        return self._of_asker[asker] < min(self._bounds.of_asker, self._fair_part())

    def _has_slot(self, organization: str) -> bool:
        return self._in_organization[organization] < min(self._bounds.in_organization, self._fair_part())

    def _fair_part(self) -> int:
        free = self._bounds.under_way - self._started
        return (free + 1) // 2

    def _wait(self, lookup: _Lookup, asker: str) -> None:
        queue = self._waiting.setdefault(asker, {}).setdefault(lookup.organization, {})
        if lookup not in queue:
            queue[lookup] = None
            self._waiting_of_asker[asker] += 1
        if lookup.timer is None:
            loop = asyncio.get_running_loop()
            lookup.timer = loop.call_later(self._seconds, self._end, lookup, Answer(DnsStatus.TIMEOUT))

    def _forget(self, lookup: _Lookup, asker: str) -> None:
        """The lookup no longer waits on behalf of this asker."""
        queues = self._waiting.get(asker, {})
        queue = queues.get(lookup.organization, {})
        if lookup not in queue:
            return
        del queue[lookup]
        self._waiting_of_asker[asker] -= 1
        if not queue:
            del queues[lookup.organization]
        if not queues:
            del self._waiting[asker], self._waiting_of_asker[asker]

    def _stop_waiting(self, lookup: _Lookup) -> None:
        if lookup.timer is not None:
            lookup.timer.cancel()
            for asker in set(lookup.askers):
                self._forget(lookup, asker)

    def _start(self, lookup: _Lookup, payer: str) -> None:
        self._stop_waiting(lookup)
        lookup.payer = payer
        self._started += 1
        self._of_asker[payer] += 1
        self._in_organization[lookup.organization] += 1
        lookup.task = asyncio.create_task(self._run(lookup))
        # Also for a task that is cancelled before its first step.
        lookup.task.add_done_callback(lambda _: self._give_back(lookup))

    async def _run(self, lookup: _Lookup) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                answer, seconds = await self._resolve(lookup.question)
        except TimeoutError:
            answer, seconds = Answer(DnsStatus.TIMEOUT), FAILED_SECONDS
        except Exception:
            # Even if a hostile answer makes the parser raise, the asker gets an answer.
            answer, seconds = _LOST, FAILED_SECONDS
        self._cache.put(lookup.question, answer, max(_LEAST_SECONDS, seconds))
        self._end(lookup, answer)

    def _end(self, lookup: _Lookup, answer: Answer) -> None:
        """The answer is there, or no asker waits for it."""
        if lookup.done.done():
            return
        lookup.done.set_result(answer)
        del self._under_way[lookup.question]
        self._stop_waiting(lookup)
        if lookup.task is not None and lookup.task is not asyncio.current_task():
            lookup.task.cancel()

    def _give_back(self, lookup: _Lookup) -> None:
        self._started -= 1
        for counter, key in ((self._of_asker, lookup.payer), (self._in_organization, lookup.organization)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Give the free slots to askers in turn."""
        for asker in list(self._waiting):
            if self._started >= self._bounds.under_way:
                return
            lookup = self._next_of(asker) if self._has_share(asker) else None
            if lookup is not None:
                self._start(lookup, asker)
                if asker in self._waiting:
                    self._waiting.move_to_end(asker)

    def _next_of(self, asker: str) -> _Lookup | None:
        """The asker's first lookup whose organisation has a slot. Starting one may have ended this asker's wait."""
        for organization, queue in self._waiting.get(asker, {}).items():
            if self._has_slot(organization):
                return next(iter(queue))
        return None
