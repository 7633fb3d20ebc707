"""Waiting for DNS ends, and an outage of ours is told from a domain whose servers are silent."""

from __future__ import annotations

from gateway.model.dnsdata import Answer, Lookup, Question, Status
from gateway.model.event import Level
from gateway.service.patience import LONGEST, Outage, Patience

HOUR = 3600.0


def test_a_wait_is_over_after_four_hours_for_this_domain_and_network_alone() -> None:
    patience = Patience()
    assert LONGEST == 4 * HOUR
    assert not patience.is_over("a.example", "192.0.2.0/24", 0.0)
    assert not patience.is_over("a.example", "192.0.2.0/24", 4 * HOUR - 1)
    assert patience.is_over("a.example", "192.0.2.0/24", 4 * HOUR)
    assert patience.is_over("a.example", "192.0.2.0/24", 9 * HOUR), "and stays over while DNS is silent"
    assert not patience.is_over("b.example", "192.0.2.0/24", 9 * HOUR)
    assert not patience.is_over("a.example", "198.51.100.0/24", 9 * HOUR)


def test_an_answer_ends_the_wait() -> None:
    patience = Patience()
    patience.is_over("a.example", "n", 0.0)
    patience.end("a.example", "n")
    assert not patience.is_over("a.example", "n", 5 * HOUR)
    patience.end("never.example", "n")


def test_a_wait_that_nobody_came_back_to_is_forgotten() -> None:
    patience = Patience()
    patience.is_over("a.example", "n", 0.0)
    assert not patience.is_over("a.example", "n", 25 * HOUR)
    assert patience.is_over("a.example", "n", 29 * HOUR)


def test_what_is_remembered_is_bounded() -> None:
    patience = Patience()
    for number in range(30_000):
        patience.is_over(f"{number}.example", "n", 0.0)
    assert len(patience._begun) == 20_000
    assert patience.is_over("29999.example", "n", 4 * HOUR)
    assert not patience.is_over("0.example", "n", 4 * HOUR), "the oldest went"


def lookups(count: int, status: Status, first: int = 0) -> list[Lookup]:
    return [
        Lookup(Question(f"_dmarc.d{number}.example", "TXT"), Answer(status)) for number in range(first, first + count)
    ]


def names(outage: Outage, asked: list[Lookup], now: float) -> list[str]:
    return [event.name for event in outage.note(asked, now)]


def test_many_silent_domains_are_an_outage_and_an_alarm() -> None:
    outage = Outage()
    assert names(outage, lookups(19, Status.TIMEOUT), 0.0) == []
    [event] = outage.note(lookups(1, Status.SERVFAIL, first=19), 1.0)
    assert (event.name, event.level) == ("dns-outage", Level.ALARM)
    assert dict(event.fields)["failed"] == 20
    assert names(outage, lookups(5, Status.TIMEOUT, first=30), 2.0) == [], "told once"
    assert names(outage, lookups(40, Status.TIMEOUT, first=30), HOUR + 2) == ["dns-outage"], "and again after an hour"
    assert names(outage, lookups(40, Status.FOUND, first=30), HOUR + 3) == ["dns-restored"]
    assert names(outage, lookups(40, Status.FOUND, first=30), HOUR + 4) == []


def test_a_few_silent_domains_among_many_are_none() -> None:
    outage = Outage()
    assert names(outage, lookups(200, Status.NXDOMAIN), 0.0) == []
    assert names(outage, lookups(60, Status.TIMEOUT, first=500), 1.0) == []


def test_one_silent_domain_however_often_asked_is_none() -> None:
    outage = Outage()
    for number in range(100):
        assert names(outage, [Lookup(Question(f"s{number}.x.example", "TXT"), Answer(Status.TIMEOUT))], 0.0) == []


def test_old_answers_do_not_count() -> None:
    outage = Outage()
    names(outage, lookups(19, Status.TIMEOUT), 0.0)
    assert names(outage, lookups(19, Status.TIMEOUT, first=100), 301.0) == []
