"""Reverse DNS confirmed forward (RFC 8601 section 2.7.3)."""

from __future__ import annotations

import pytest

from gateway.authentication.iprev import evaluate, questions
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.envelope import ip_text
from gateway.model.result import IprevResult, IprevVerdict
from tests.support.judging import judge_zone

FOUR, SIX = ip_text("203.0.113.7"), ip_text("2001:db8::7")
REVERSE = "7.113.0.203.in-addr.arpa"
REVERSE6 = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"


def judged(zone: dict[str, object], client: str = FOUR) -> IprevResult:
    return judge_zone(zone, lambda window: evaluate(ip_text(client), window))


def test_the_name_leads_back() -> None:
    zone = {REVERSE: {"PTR": ["Out.Sender.Example."]}, "out.sender.example": {"A": ["192.0.2.1", FOUR]}}
    assert judged(zone) == IprevResult(IprevVerdict.PASS, "out.sender.example")


def test_six() -> None:
    zone = {REVERSE6: {"PTR": ["six.example"]}, "six.example": {"A": [FOUR], "AAAA": ["2001:db8:0:0::7"]}}
    assert judged(zone, SIX).name == "six.example"


def test_any_of_its_names_will_do_the_first_that_does_is_taken() -> None:
    zone = {
        REVERSE: {"PTR": ["a.example", "b.example", "c.example"]},
        "a.example": "SERVFAIL",
        "b.example": {"A": [FOUR]},
        "c.example": {"A": [FOUR]},
    }
    assert judged(zone) == IprevResult(IprevVerdict.PASS, "b.example")


@pytest.mark.parametrize(
    ("zone", "verdict"),
    [
        ({}, IprevVerdict.PERMERROR),
        ({REVERSE: {"TXT": ["no name"]}}, IprevVerdict.PERMERROR),
        ({REVERSE: {"PTR": ["a..example", "x" * 64 + ".example"]}}, IprevVerdict.PERMERROR),
        ({REVERSE: "TIMEOUT"}, IprevVerdict.TEMPERROR),
        ({REVERSE: {"PTR": ["a.example"]}, "a.example": "TIMEOUT"}, IprevVerdict.TEMPERROR),
        ({REVERSE: {"PTR": ["a.example"]}}, IprevVerdict.FAIL),
        ({REVERSE: {"PTR": ["a.example"]}, "a.example": {"A": ["203.0.113.8"]}}, IprevVerdict.FAIL),
    ],
)
def test_what_proves_nothing(zone: dict[str, object], verdict: IprevVerdict) -> None:
    found = judged(zone)
    assert (found.result, found.name) == (verdict, "")
    assert found.reason


def test_the_owner_of_an_address_makes_us_look_up_ten_names_and_no_more() -> None:
    names = tuple(f"h{number}.example" for number in range(50))
    window = DnsView({questions(FOUR)[0]: Answer(DnsStatus.FOUND, names)}.get)
    with pytest.raises(NeedAnswers):
        evaluate(FOUR, window)
    assert window.pending == {Question(name, "A") for name in names[:10]}


def test_an_answer_that_is_no_address_is_no_match() -> None:
    answers = {
        questions(FOUR)[0]: Answer(DnsStatus.FOUND, ("a.example",)),
        Question("a.example", "A"): Answer(DnsStatus.FOUND, ("nonsense",)),
    }
    assert evaluate(FOUR, DnsView(answers.get)).result is IprevVerdict.FAIL
