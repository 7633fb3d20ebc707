"""SPF's view of DNS: its questions, the number of rounds, and its evidence."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.model.dnsdata import Answer, Question
from gateway.model.envelope import IPText, Mailbox
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import SpfIdentity, SpfResult, SpfVerdict
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone

SENDER = Mailbox("a", "corp.example", "corp.example")


def _ingress(helo: str = "helo.example") -> EdgeIngress:
    return EdgeIngress(IPText("192.0.2.1"), ClientSource.PEER, helo, "mx", IPText("198.51.100.9"))


def _evaluate(window: DnsView) -> SpfResult:
    return spf.evaluate(_ingress(), SENDER, SpfIdentity.MAILFROM, window, "mx.receiver.example")


def test_explanations_are_not_fetched() -> None:
    asked: list[Question] = []
    zone = build_zone({"corp.example": {"TXT": ["v=spf1 -all exp=why.corp.example"]}})

    def known(question: Question) -> Answer:
        asked.append(question)
        return ZoneResolver(zone).known(question)

    result = _evaluate(DnsView(known))
    assert result.result is SpfVerdict.FAIL
    assert Question("why.corp.example", "TXT") not in asked


NESTED = {
    "corp.example": {
        "TXT": ["v=spf1 include:one.example include:two.example a:host.example mx redirect=three.example"]
    },
    "one.example": {"TXT": ["v=spf1 ip4:198.51.100.1 exists:%{i}.macro.example ?all"]},
    "two.example": {"TXT": ["v=spf1 -all"]},
    "host.example": {"A": ["198.51.100.2"]},
    "m1.example": {"A": ["198.51.100.3"]},
    "m2.example": {"A": ["198.51.100.4"]},
    "three.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
}
NESTED["corp.example"]["MX"] = ["10 m1.example", "10 m2.example"]


def _run_cold(zone: dict[str, Any]) -> tuple[SpfResult, list[set[str]]]:
    resolver = ZoneResolver(build_zone(zone))
    cache: dict[Question, Answer] = {}
    rounds: list[set[str]] = []
    window = DnsView(cache.get)
    while True:
        try:
            return _evaluate(window), rounds
        except NeedAnswers:
            rounds.append({f"{question.name} {question.type}" for question in window.pending})
            found = {question: resolver.known(question) for question in window.pending}
            cache.update(found)
            window.rerun(found)


def test_one_round_brings_what_a_record_leads_to() -> None:
    result, rounds = _run_cold(NESTED)
    assert result.result is SpfVerdict.PASS
    assert rounds[0] == {"corp.example TXT"}
    assert rounds[1] == {"one.example TXT", "two.example TXT", "host.example A", "corp.example MX", "three.example TXT"}
    assert rounds[2] == {"192.0.2.1.macro.example A", "m1.example A", "m2.example A"}
    assert len(rounds) == 3


def test_prefetched_names_are_not_required() -> None:
    """An evaluation with all needed answers raises nothing and asks nothing more."""
    used = ("corp.example TXT", "one.example TXT")
    zone = {**NESTED, "one.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}}
    resolver = ZoneResolver(build_zone(zone))
    answers = {Question(*name.split()): resolver.known(Question(*name.split())) for name in used}
    window = DnsView(answers.get)
    result = _evaluate(window)
    assert result.result is SpfVerdict.PASS
    assert {f"{one.question.name} {one.question.type}" for one in window.used} == set(used)


def test_what_another_check_lacks_starts_no_prefetch() -> None:
    resolver = ZoneResolver(build_zone({**NESTED, "one.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}}))
    other = Question("key._domainkey.corp.example", "TXT")
    window = DnsView(lambda question: None if question == other else resolver.known(question))
    window.peek(other)
    with pytest.raises(NeedAnswers):
        _evaluate(window)
    assert window.pending == {other}


def test_prefetch_is_bounded() -> None:
    terms = " ".join(f"include:n{number}.example" for number in range(40))
    resolver = ZoneResolver(build_zone({"corp.example": {"TXT": [f"v=spf1 {terms}"]}}))
    first = Question("corp.example", "TXT")
    window = DnsView(lambda question: resolver.known(question) if question == first else None)
    with pytest.raises(NeedAnswers):
        _evaluate(window)
    assert 1 < len(window.pending) <= 13


def test_questions_are_the_first_names() -> None:
    assert spf.questions(_ingress("Helo.Example"), SENDER) == (
        Question("helo.example", "TXT"),
        Question("corp.example", "TXT"),
    )
    assert spf.questions(_ingress("[192.0.2.1]"), None) == ()


def test_evidence_repeats_the_result() -> None:
    window = DnsView(ZoneResolver(build_zone(NESTED)).known)
    first = _evaluate(window)
    stored = {lookup.question: lookup.answer for lookup in window.used}
    again = _evaluate(DnsView(stored.get))
    assert again == first
    assert len(stored) > 5
