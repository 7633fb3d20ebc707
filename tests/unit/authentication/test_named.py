"""The state in DNS of domains that nothing authenticates."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.authentication.lookup import DnsView
from gateway.authentication.named import NOTHING_ASKED, evaluate
from gateway.model.envelope import Envelope, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    DomainState,
    NamedDomains,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from tests.unit.policy.scenes import mailbox

CLIENT = ip_text("203.0.113.7")
EDGE = EdgeIngress(CLIENT, ClientSource.PEER, "h.example", "mx", peer=CLIENT)
ZONE: dict[str, Any] = {
    "good.example": {"MX": ["10 mx.good.example"]},
    "host.example": {"A": ["192.0.2.1"]},
    "six.example": {"AAAA": ["2001:db8::1"]},
    "null.example": {"MX": ["0 ."]},
    "bare.example": {"TXT": ["hello"]},
    "parked.example": {"TXT": ["v=spf1 -all"], "A": ["192.0.2.1"]},
    "slow.example": {"TXT": "TIMEOUT", "MX": "TIMEOUT", "A": "TIMEOUT"},
    "ours.example": {"TXT": [f"v=spf1 ip4:{CLIENT} -all"], "A": ["192.0.2.1"]},
    "other.example": {"TXT": ["v=spf1 ip4:192.0.2.9 -all"], "A": ["192.0.2.1"]},
}


def results(author: str, dmarc: DmarcVerdict = DmarcVerdict.NONE, policy: DmarcPolicy | None = None) -> Authentication:
    spf = SpfResult(SpfVerdict.NONE, "", SpfIdentity.MAILFROM)
    return Authentication(spf, spf, (), ArcResult(ArcVerdict.NONE), DmarcResult(dmarc, author, policy=policy))


def look(found: Authentication, sender: str = "", ingress: EdgeIngress = EDGE) -> tuple[NamedDomains, DnsView]:
    window = DnsView(ZoneResolver(build_zone(ZONE)).known)
    envelope = Envelope(mailbox(f"x@{sender}") if sender else None, ())
    return evaluate(ingress, envelope, found, {"ours.example", "other.example"}, window, "mx.ours.example"), window


@pytest.mark.parametrize(
    ("domain", "state"),
    [
        ("good.example", DomainState.EXISTS),
        ("host.example", DomainState.EXISTS),
        ("six.example", DomainState.EXISTS),
        ("null.example", DomainState.NULL_MX),
        ("bare.example", DomainState.NO_MAIL),
        ("nowhere.example", DomainState.MISSING),
        ("slow.example", DomainState.UNKNOWN),
        ("localhost.localdomain", DomainState.LOCAL),
        ("db1", DomainState.LOCAL),
    ],
)
def test_the_state_of_a_domain(domain: str, state: DomainState) -> None:
    assert look(results(""), domain)[0].envelope is state
    assert look(results(domain))[0].author is state


@pytest.mark.parametrize(
    ("domain", "silent"), [("null.example", True), ("parked.example", True), ("other.example", False)]
)
def test_who_says_that_it_sends_no_mail(domain: str, silent: bool) -> None:
    assert look(results(domain))[0].author_silent is silent


def test_what_is_proven_costs_no_lookup() -> None:
    passed = replace(results("good.example"), spf=SpfResult(SpfVerdict.PASS, "good.example", SpfIdentity.MAILFROM))
    signed = replace(results("good.example"), dkim=(DkimResult(DkimVerdict.PASS, "good.example", "s", "rsa-sha256"),))
    followed = results("good.example", DmarcVerdict.FAIL, DmarcPolicy.REJECT)
    aligned = results("good.example", DmarcVerdict.PASS)
    for found, sender in ((passed, "good.example"), (signed, ""), (followed, ""), (aligned, "nowhere.example")):
        named, window = look(found, sender)
        assert (named, window.used) == (NOTHING_ASKED, ())
    assert look(results("nowhere.example"), ingress=replace(EDGE, client=None))[0] == NOTHING_ASKED


@pytest.mark.parametrize(("author", "says"), [("ours.example", SpfVerdict.PASS), ("other.example", SpfVerdict.FAIL)])
def test_whether_our_own_record_lists_the_client(author: str, says: SpfVerdict) -> None:
    assert look(results(author, DmarcVerdict.FAIL, DmarcPolicy.REJECT))[0].author_spf is says
    assert look(results("good.example", DmarcVerdict.FAIL, DmarcPolicy.REJECT))[0].author_spf is None
