"""A check's window on DNS: known answers are read, missing ones are noted, all that was used is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar, cast

from gateway.model.dnsdata import Answer, Lookup, Question

T = TypeVar("T")


class NeedAnswers(Exception):
    """A check lacks answers; the window's `pending` names them. Whoever does IO fetches them and runs it again."""


class Memory:
    """Results of earlier judgements that rest on nothing but their key and the DNS answers that they asked for.

    Bounded: what was not used for longest is forgotten first (promise P7).
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[object, tuple[Lookup, ...]]] = OrderedDict()

    def find(self, key: Hashable) -> tuple[object, tuple[Lookup, ...]] | None:
        """A result, and the answers it holds for."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Hashable, result: object, answers: Iterable[Lookup]) -> None:
        self._kept[key] = result, tuple(answers)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


class DnsView:
    """DNS as one judgement sees it. Answers are copied on first use, so a judgement sees each name once, always alike.

    `pending` decides whether a run counts, not the exception alone: pyspf has a bare except around exp=.
    """

    def __init__(self, known: Callable[[Question], Answer | None], memory: Memory | None = None) -> None:
        self._known = known
        self._memory = memory
        self._used: dict[Question, Answer] = {}
        self._results: dict[Hashable, object] = {}
        self.pending: set[Question] = set()

    def ask(self, question: Question) -> Answer:
        """The answer. Raises NeedAnswers when it is not known yet."""
        answer = self.peek(question)
        if answer is None:
            raise NeedAnswers
        return answer

    def ask_all(self, questions: Iterable[Question]) -> list[Answer]:
        """Answers to all of them; missing ones are noted together before NeedAnswers is raised."""
        answers = [self.peek(question) for question in questions]
        if any(answer is None for answer in answers):
            raise NeedAnswers
        return [answer for answer in answers if answer is not None]

    def peek(self, question: Question) -> Answer | None:
        """The answer, or None after noting that it is missing."""
        answer = self._used.get(question)
        if answer is not None:
            return answer
        answer = self._known(question)
        if answer is None:
            self.pending.add(question)
        else:
            self._used[question] = answer
        return answer

    def remember(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of `compute`, once it lacks no answer; later rounds get it without work, as no answer changes
        within a judgement. `key` names the check and all its input. Raises NeedAnswers when `compute` does."""
        if key in self._results:
            return cast(T, self._results[key])
        # What others lack says nothing about this check.
        others, self.pending = self.pending, set()
        try:
            result = compute()
            if not self.pending:
                self._results[key] = result
        finally:
            self.pending |= others
        return result

    def recall(self, key: Hashable) -> object | None:
        """What an earlier judgement kept under this key, if every answer that it rests on is the same now."""
        found = self._memory.find(key) if self._memory is not None else None
        if found is None:
            return None
        result, lookups = found
        for lookup in lookups:
            answer = self.peek(lookup.question)
            if answer is not lookup.answer and answer != lookup.answer:
                return None
        return result

    def keep(self, key: Hashable, result: object, questions: Iterable[Question]) -> None:
        """Keep a result for later judgements. `questions` are all that were asked for it, in their order."""
        if self._memory is not None:
            self._memory.keep(key, result, (Lookup(question, self._used[question]) for question in questions))

    def rerun(self, answers: dict[Question, Answer]) -> None:
        """Take fetched answers in and forget what was pending."""
        self._used.update(answers)
        self.pending.clear()

    @property
    def used(self) -> tuple[Lookup, ...]:
        """Every answer the judgement rests on, in order of name."""
        return tuple([Lookup(question, self._used[question]) for question in sorted(self._used)])
