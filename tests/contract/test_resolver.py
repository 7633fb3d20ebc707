"""One suite for ports.Resolver: lookups over real packets and lookups in a zone answer alike."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.ports import Resolver
from tests.support.dnsserver import DnsServer
from tests.support.resolving import open_resolver

ZONE: dict[str, Any] = {
    "Corp.Example.": {"TXT": ["v=spf1 -all", "second"], "MX": ["10 MX1.Corp.Example.", "20 mx2.corp.example"]},
    "mx1.corp.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:DB8::1"]},
    "null.example": {"MX": ["0 ."]},
    "long.example": {"TXT": ["x" * 600 + "é"]},
    "huge.example": {"TXT": ["y" * 5000]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["MX1.corp.example."]},
    "_25._tcp.mx1.corp.example": {"TLSA": ["3 1 1 " + "ab" * 32]},
    "ns.example": {"NS": ["A.ns.example."], "SRV": ["1 2 25 A.ns.example."], "CAA": ['0 issue "ca.example"']},
    "alias.example": {"CNAME": ["Second.example."]},
    "second.example": {"CNAME": ["mx1.corp.example."]},
    "dangling.example": {"CNAME": ["gone.example."]},
    "loop.example": {"CNAME": ["pool.example."]},
    "pool.example": {"CNAME": ["loop.example."]},
    "a.b.c.example": {"A": ["192.0.2.9"]},
    "slow.example": "TIMEOUT",
    "broken.example": {"A": "SERVFAIL", "TXT": ["fine"]},
    "foo:bar/b az!.example": {"A": ["192.0.2.7"]},
}


def _found(*records: str) -> Answer:
    return Answer(DnsStatus.FOUND, records)


def _sorted(answer: Answer) -> Answer:
    """A nameserver gives records in any order."""
    return replace(answer, records=tuple(sorted(answer.records)))


@pytest.fixture(params=["dns", "zone"])
async def resolver(request: pytest.FixtureRequest) -> AsyncIterator[Resolver]:
    if request.param == "zone":
        yield ZoneResolver(build_zone(ZONE))
        return
    async with DnsServer(ZONE) as server:
        yield open_resolver([server.address], 0.4, time.monotonic)


@pytest.mark.parametrize(
    ("name", "type", "answer"),
    [
        ("corp.example", "TXT", _found("v=spf1 -all", "second")),
        ("CORP.EXAMPLE", "TXT", _found("v=spf1 -all", "second")),
        ("corp.example", "MX", _found("10 mx1.corp.example", "20 mx2.corp.example")),
        ("mx1.corp.example", "A", _found("192.0.2.1", "192.0.2.2")),
        ("mx1.corp.example", "AAAA", _found("2001:db8::1")),
        ("null.example", "MX", _found("0 .")),
        ("long.example", "TXT", _found("x" * 600 + "é".encode().decode("latin-1"))),
        ("huge.example", "TXT", _found("y" * 5000)),
        ("1.2.0.192.in-addr.arpa", "PTR", _found("mx1.corp.example")),
        ("_25._tcp.mx1.corp.example", "TLSA", _found("3 1 1 " + "ab" * 32)),
        ("ns.example", "NS", _found("a.ns.example")),
        ("ns.example", "SRV", _found("1 2 25 a.ns.example")),
        ("ns.example", "CAA", _found('0 issue "ca.example"')),
        ("alias.example", "A", _found("192.0.2.1", "192.0.2.2")),
        ("alias.example", "CNAME", _found("second.example")),
        ("alias.example", "TXT", Answer(DnsStatus.NODATA)),
        ("dangling.example", "A", Answer(DnsStatus.NODATA)),
        ("loop.example", "A", Answer(DnsStatus.SERVFAIL)),
        ("corp.example", "AAAA", Answer(DnsStatus.NODATA)),
        ("b.c.example", "A", Answer(DnsStatus.NODATA)),
        ("x.b.c.example", "A", Answer(DnsStatus.NXDOMAIN)),
        ("nothing.test", "TXT", Answer(DnsStatus.NXDOMAIN)),
        ("slow.example", "A", Answer(DnsStatus.TIMEOUT)),
        ("broken.example", "A", Answer(DnsStatus.SERVFAIL)),
        ("broken.example", "TXT", _found("fine")),
        ("foo:bar/b az!.example", "A", _found("192.0.2.7")),
    ],
)
async def test_answers(resolver: Resolver, name: str, type: str, answer: Answer) -> None:
    question = Question(name, type)
    got = (await resolver.fetch([question]))[question]
    assert _sorted(got) == _sorted(answer)
    assert resolver.known(question) == got


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "a" * 64 + ".example", "a." * 130 + "example", "é.example", "\udcff.x"]
)
async def test_what_is_no_name_is_nxdomain(resolver: Resolver, name: str) -> None:
    question = Question(name, "TXT")
    assert (await resolver.fetch([question]))[question].status is DnsStatus.NXDOMAIN


async def test_every_question_gets_its_answer(resolver: Resolver) -> None:
    questions = [Question(name, type) for name in ZONE for type in ("A", "TXT", "MX")]
    answers = await resolver.fetch(questions)
    assert answers.keys() == set(questions)
    assert await resolver.fetch([]) == {}
