"""An outage of our own DNS, told from a domain whose servers are silent: then many names fail together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.mail.domain import organization_of
from gateway.model.dnsdata import Lookup
from gateway.model.event import Event, Level

_PERIOD = 300.0
_MOST_NAMES = 4000
_MANY = 20
"""Domains without an answer in that time that make it an outage, when they are half of all that were asked about."""
_REPEAT = 3600.0


class Outage:
    """What DNS answered lately."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, bool]] = {}
        """Domain -> when it was last asked about, and whether an answer was missing; oldest first."""
        self._failed = 0
        """How many of them had none."""
        self._alarmed: float | None = None

    def note(self, lookups: Iterable[Lookup], now: float) -> Iterator[Event]:
        """Learn from the answers of one judgement. An alarm at the start of an outage and each hour that it lasts; a
        notice at its end."""
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
