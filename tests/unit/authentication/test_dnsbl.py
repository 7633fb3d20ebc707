"""DNS block lists (RFC 5782): listings, errors that are not listings, and the self-test."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from gateway.authentication.dnsbl import BlockList, evaluate, find_broken, questions
from gateway.model.dnsdata import Question
from gateway.model.envelope import ip_text
from gateway.model.result import DnsblResult
from tests.support.judging import judge_zone

ONE, TWO = BlockList("one.example"), BlockList("two.example", (IPv4Network("127.0.0.4/30"),))
CLIENT = ip_text("203.0.113.7")


def at(zone: str, *codes: str) -> dict[str, object]:
    return {f"7.113.0.203.{zone}": {"A": list(codes)}}


def judged(zone: dict[str, object]) -> DnsblResult:
    return judge_zone(zone, lambda window: evaluate(CLIENT, (ONE, TWO), window))


def test_names_that_are_asked() -> None:
    assert questions(CLIENT, (ONE,)) == (Question("7.113.0.203.one.example", "A"),)
    assert questions(ip_text("2001:db8::1"), (ONE,)) == (
        Question("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.one.example", "A"),
    )


@pytest.mark.parametrize(
    ("zone", "listed", "errors"),
    [
        ({}, (), ()),
        (at("one.example", "127.0.0.2"), ("one.example",), ()),
        (at("one.example", "127.0.0.2") | at("two.example", "127.0.0.6"), ("one.example", "two.example"), ()),
        (at("two.example", "127.0.0.2"), (), ()),
        (at("two.example", "127.0.0.2", "127.0.0.5"), ("two.example",), ()),
        (at("one.example", "127.255.255.254"), (), ("one.example",)),
        (at("one.example", "127.255.255.255", "127.0.0.2"), (), ("one.example",)),
        (at("one.example", "192.0.2.80"), (), ("one.example",)),
        ({"7.113.0.203.one.example": "TIMEOUT", **at("two.example", "127.0.0.4")}, ("two.example",), ("one.example",)),
        ({"7.113.0.203.two.example": "SERVFAIL"}, (), ("two.example",)),
    ],
)
def test_answers(zone: dict[str, object], listed: tuple[str, ...], errors: tuple[str, ...]) -> None:
    assert judged(zone) == DnsblResult(("one.example", "two.example"), listed, errors)


def test_the_codes_that_counted_are_kept() -> None:
    assert judged({}).codes == ((), ("127.0.0.4/30",))


GOOD = {"2.0.0.127.one.example": {"A": ["127.0.0.2"]}, "2.0.0.127.two.example": {"A": ["127.0.0.2"]}}


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, set()),
        ({"2.0.0.127.one.example": {"TXT": ["gone"]}}, {"one.example"}),
        ({"1.0.0.127.two.example": {"A": ["127.0.0.2"]}}, {"two.example"}),
        ({"2.0.0.127.one.example": "SERVFAIL"}, set()),
        ({"2.0.0.127.one.example": "TIMEOUT"}, set()),
        ({"1.0.0.127.one.example": "TIMEOUT"}, set()),
        ({"2.0.0.127.one.example": {"TXT": ["gone"]}, "1.0.0.127.one.example": "TIMEOUT"}, {"one.example"}),
        ({"2.0.0.127.two.example": "TIMEOUT", "1.0.0.127.two.example": {"A": ["127.0.0.2"]}}, {"two.example"}),
        ({"2.0.0.127.two.example": "TIMEOUT", "1.0.0.127.two.example": {"A": ["127.255.255.1"]}}, {"two.example"}),
        ({"2.0.0.127.one.example": {"A": ["127.255.255.254"]}}, {"one.example"}),
        ({"2.0.0.127.two.example": {"A": ["198.51.100.1"]}}, {"two.example"}),
    ],
)
def test_the_self_test(change: dict[str, object], broken: set[str]) -> None:
    """The test entry may have another code in a list for which only some codes count. Silence proves nothing."""
    found = judge_zone(GOOD | change, lambda window: find_broken((ONE, TWO), window))
    assert set(found) == broken
    assert all(found.values())
