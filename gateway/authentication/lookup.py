"""A check's view of DNS: known answers are read, missing ones are noted, and all used answers are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar, cast

from gateway.model.dnsdata import Answer, Lookup, Question

T = TypeVar("T")


class NeedAnswers(Exception):
    """A check lacks answers; the view's `pending` names them. The caller fetches them and runs the check again."""


class Memory:
    """Results of earlier judgements that depend only on their key and the DNS answers that they asked for.

    Bounded: the least recently used result is forgotten first (promise P7).
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[object, tuple[Lookup, ...]]] = OrderedDict()

    def find(self, key: Hashable) -> tuple[object, tuple[Lookup, ...]] | None:
        """A result, and the answers that it is valid for."""
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
    """DNS as one judgement sees it. Answers are copied on first use, so each name has the same answer throughout a
    judgement.

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
        """The result of `compute`, once no answer is missing. Later rounds reuse it, because answers do not change
        within a judgement. `key` names the check and all its input. Raises NeedAnswers when `compute` does."""
        if key in self._results:
            return cast(T, self._results[key])
        # Answers that other checks lack do not concern this one.
        others, self.pending = self.pending, set()
        try:
            result = compute()
            if not self.pending:
                self._results[key] = result
        finally:
            self.pending |= others
        return result

    def recall(self, key: Hashable) -> object | None:
        """The result of an earlier judgement under this key, if every answer behind it is the same now."""
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
        """Keep a result for later judgements. `questions` are all that were asked for it, in order."""
        if self._memory is not None:
            self._memory.keep(key, result, (Lookup(question, self._used[question]) for question in questions))

    def rerun(self, answers: dict[Question, Answer]) -> None:
        """Add fetched answers and clear the pending questions."""
        self._used.update(answers)
        self.pending.clear()

    @property
    def used(self) -> tuple[Lookup, ...]:
        """Every answer behind the judgement, in order of name."""
        return tuple([Lookup(question, self._used[question]) for question in sorted(self._used)])
