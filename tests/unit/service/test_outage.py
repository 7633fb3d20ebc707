"""An outage of ours is distinguished from a domain whose servers are silent."""

from __future__ import annotations

from gateway.model.dnsdata import Answer, DnsStatus, Lookup, Question
from gateway.model.event import Level
from gateway.service.authenticator import Outage

HOUR = 3600.0


def lookups(count: int, status: DnsStatus, first: int = 0) -> list[Lookup]:
    return [
        Lookup(Question(f"_dmarc.d{number}.example", "TXT"), Answer(status)) for number in range(first, first + count)
    ]


def names(outage: Outage, asked: list[Lookup], now: float) -> list[str]:
    return [event.name for event in outage.note(asked, now)]


def test_many_silent_domains_are_an_outage_and_an_alarm() -> None:
    outage = Outage()
    assert names(outage, lookups(19, DnsStatus.TIMEOUT), 0.0) == []
    [event] = outage.note(lookups(1, DnsStatus.SERVFAIL, first=19), 1.0)
    assert (event.name, event.level) == ("dns-outage", Level.ALARM)
    assert dict(event.fields)["failed"] == 20
    assert names(outage, lookups(5, DnsStatus.TIMEOUT, first=30), 2.0) == [], "told once"
    assert names(outage, lookups(40, DnsStatus.TIMEOUT, first=30), HOUR + 2) == ["dns-outage"], (
        "and again after an hour"
    )
    assert names(outage, lookups(40, DnsStatus.FOUND, first=30), HOUR + 3) == ["dns-restored"]
    assert names(outage, lookups(40, DnsStatus.FOUND, first=30), HOUR + 4) == []


def test_a_few_silent_domains_among_many_are_none() -> None:
    outage = Outage()
    assert names(outage, lookups(200, DnsStatus.NXDOMAIN), 0.0) == []
    assert names(outage, lookups(60, DnsStatus.TIMEOUT, first=500), 1.0) == []


def test_one_silent_domain_however_often_asked_is_none() -> None:
    outage = Outage()
    for number in range(100):
        assert names(outage, [Lookup(Question(f"s{number}.x.example", "TXT"), Answer(DnsStatus.TIMEOUT))], 0.0) == []


def test_old_answers_do_not_count() -> None:
    outage = Outage()
    names(outage, lookups(19, DnsStatus.TIMEOUT), 0.0)
    assert names(outage, lookups(19, DnsStatus.TIMEOUT, first=100), 301.0) == []


def test_silent_domains_below_one_suffix_are_many_domains() -> None:
    outage = Outage()
    silent = [Lookup(Question(f"_dmarc.d{n}.co.uk", "TXT"), Answer(DnsStatus.TIMEOUT)) for n in range(20)]
    assert names(outage, silent, 0.0) == ["dns-outage"]
    one = Outage()
    below = [Lookup(Question(f"s{n}.silent.co.uk", "TXT"), Answer(DnsStatus.TIMEOUT)) for n in range(100)]
    assert names(one, below, 0.0) == [], "one owner, however many names"
