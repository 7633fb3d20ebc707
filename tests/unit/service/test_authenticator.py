from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from gateway.authentication.lookup import DnsView
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.net.system import SystemClock
from gateway.service.authenticator import Authenticator

A, B, C = (Question(name, "TXT") for name in ("a.example", "b.example", "c.example"))


class Names:
    """A resolver over a dict; a name that is not in it never answers."""

    def __init__(self, answers: dict[Question, Answer]) -> None:
        self._answers = answers
        self._cache: dict[Question, Answer] = {}
        self.rounds: list[set[Question]] = []
        self.asking = 0

    def known(self, question: Question) -> Answer | None:
        return self._cache.get(question)

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        self.rounds.append(set(questions))
        for question in questions:
            if question not in self._answers:
                self.asking += 1
                try:
                    await asyncio.sleep(3600)
                finally:
                    self.asking -= 1
            self._cache[question] = self._answers[question]
        return {question: self._cache[question] for question in questions}


def found(text: str) -> Answer:
    return Answer(DnsStatus.FOUND, (text,))


async def test_missing_names_are_fetched_together_and_the_check_runs_again() -> None:
    names = Names({A: found("x"), B: found("y"), C: found("z")})
    authenticator = Authenticator(names, SystemClock(), budget=5)

    def check(window: DnsView) -> list[str]:
        first = window.ask_all([A, B])
        return [answer.records[0] for answer in (*first, window.ask(C))]

    result, window = await authenticator.run(check)
    assert result == ["x", "y", "z"]
    assert names.rounds == [{A, B}, {C}]
    assert [lookup.question for lookup in window.used] == [A, B, C]


async def test_a_warm_check_asks_nothing() -> None:
    names = Names({A: found("x")})
    authenticator = Authenticator(names, SystemClock(), budget=5)
    await names.fetch([A])
    names.rounds.clear()
    assert (await authenticator.run(lambda window: window.ask(A).records))[0] == ("x",)
    assert names.rounds == []


async def test_a_swallowed_miss_still_counts() -> None:
    """pyspf has a bare except: pending questions decide, not the exception."""
    names = Names({A: found("x")})

    def check(window: DnsView) -> str:
        answer = window.peek(A)
        return answer.records[0] if answer else "swallowed"

    assert (await Authenticator(names, SystemClock(), budget=5).run(check))[0] == "x"


async def test_silence_ends_within_the_budget_and_reads_as_timeout() -> None:
    names = Names({A: found("x")})

    def check(window: DnsView) -> tuple[DnsStatus, DnsStatus]:
        return window.ask(A).status, window.ask(B).status

    start = asyncio.get_running_loop().time()
    result, window = await Authenticator(names, SystemClock(), budget=0.2).run(check)
    assert result == (DnsStatus.FOUND, DnsStatus.TIMEOUT)
    assert asyncio.get_running_loop().time() - start < 1
    assert window.used[1].answer.status is DnsStatus.TIMEOUT


async def test_a_check_that_never_has_enough_is_an_error_not_a_loop() -> None:
    endless = iter(range(10**9))

    class Any_(Names):
        async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
            return {question: found("x") for question in questions}

    def check(window: DnsView) -> str:
        return window.ask(Question(f"n{next(endless)}.example", "TXT")).records[0]

    with pytest.raises(RuntimeError, match="keeps asking"):
        await Authenticator(Any_({}), SystemClock(), budget=5).run(check)


async def test_prefetch_makes_names_known_without_waiting() -> None:
    names = Names({A: found("x")})
    authenticator = Authenticator(names, SystemClock(), budget=5)
    authenticator.prefetch([A], "")
    await asyncio.sleep(0)
    assert names.known(A) == found("x")


async def test_what_was_prefetched_ends_with_its_transaction() -> None:
    names = Names({})
    authenticator = Authenticator(names, SystemClock(), budget=5)
    end = authenticator.prefetch([A], "192.0.2.0/24")
    await asyncio.sleep(0)
    assert names.rounds == [{A}]
    assert names.asking == 1
    end()
    await asyncio.sleep(0)
    assert names.asking == 0
