"""The key of a sender, and the time of its acceptance."""

from __future__ import annotations

import pytest

from gateway.model.decision import Action
from gateway.model.envelope import Envelope, ip_text
from gateway.model.history import Acquaintance, Greylisting
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.value import replace
from gateway.plan.greylisting import GreylistTerms, find_key, greylist, remember
from tests.support.sending import mailbox

NOW = 1_000_000.0
DAY = 86_400.0
TERMS = GreylistTerms(delay=300.0, retry=2 * DAY, keep=35 * DAY)
PEER = ip_text("192.0.2.7")
ENVELOPE = Envelope(mailbox("news@b.shop.example"), ())


def edge(client: str | None = "192.0.2.7") -> EdgeIngress:
    return EdgeIngress(ip_text(client) if client else None, ClientSource.PEER, "c.example", "mx", PEER)


def results(
    spf: SpfVerdict = SpfVerdict.NONE, dkim: tuple[tuple[DkimVerdict, str], ...] = (), dmarc: bool = False
) -> Authentication:
    return Authentication(
        spf=SpfResult(spf, "b.shop.example", SpfIdentity.MAILFROM),
        spf_helo=SpfResult(SpfVerdict.NONE, "c.example", SpfIdentity.HELO),
        dkim=tuple(DkimResult(verdict, domain, "s", "rsa-sha256") for verdict, domain in dkim),
        arc=ArcResult(ArcVerdict.NONE),
        dmarc=DmarcResult(
            DmarcVerdict.PASS if dmarc else DmarcVerdict.FAIL, "b.shop.example", organizational_domain="shop.example"
        ),
    )


BAD, GOOD = DkimVerdict.FAIL, DkimVerdict.PASS


@pytest.mark.parametrize(
    ("found", "key"),
    [
        (results(SpfVerdict.PASS, ((GOOD, "esp.example"),), dmarc=True), "domain shop.example"),
        (results(SpfVerdict.PASS, ((BAD, "b.shop.example"), (GOOD, "esp.example"))), "domain esp.example"),
        (results(SpfVerdict.PASS, ((BAD, "esp.example"),)), "domain b.shop.example"),
        (results(SpfVerdict.SOFTFAIL, ((BAD, "esp.example"),)), "network 192.0.2.0/24 news@b.shop.example"),
    ],
    ids=["author", "signer", "return path", "nobody answers for it"],
)
def test_an_authenticated_domain_comes_before_the_network(found: Authentication, key: str) -> None:
    assert find_key(edge(), ENVELOPE, found) == key


def test_a_pool_with_many_networks_is_one_sender_when_it_authenticates() -> None:
    signed = results(dkim=((GOOD, "pool.example"),))
    keys = {find_key(edge(f"198.51.{net}.9"), ENVELOPE, signed) for net in range(81)}
    assert keys == {"domain pool.example"}
    assert len({find_key(edge(f"198.51.{net}.9"), ENVELOPE, results()) for net in range(81)}) == 81


@pytest.mark.parametrize(
    ("ingress", "key"),
    [
        (edge("2001:db8:1:2::9"), "network 2001:db8:1:2::/64 <>"),
        (edge(None), None),
        (InternalIngress(PEER, "c.example", "mx", PEER, trusted_by="own hop x"), None),
    ],
)
def test_without_authentication(ingress: Ingress, key: str | None) -> None:
    assert find_key(ingress, Envelope(None, ()), results()) == key


def test_from_inside_nobody_waits() -> None:
    inside = InternalIngress(PEER, "c.example", "mx", PEER, trusted_by="own hop x")
    assert find_key(inside, ENVELOPE, results(dkim=((GOOD, "pool.example"),))) is None


def known(first: float, passed: bool = False, expires: float = NOW + DAY) -> Acquaintance:
    return Acquaintance("k", first, passed, expires)


@pytest.mark.parametrize(
    ("before", "first", "wait"),
    [
        (None, NOW, True),
        (known(NOW - 299), NOW - 299, True),
        (known(NOW - 300), NOW - 300, False),
        (known(NOW - 5, passed=True), NOW - 5, False),
        (known(NOW - 2 * DAY, expires=NOW), NOW, True),
        (known(NOW - 40 * DAY, passed=True, expires=NOW - 1), NOW, True),
    ],
    ids=["new", "too early", "waited", "was let in", "forgotten", "was let in long ago"],
)
def test_who_waits(before: Acquaintance | None, first: float, wait: bool) -> None:
    assert greylist("k", before, NOW, TERMS) == Greylisting("k", first, wait)


def test_what_is_remembered() -> None:
    waiting, ready = Greylisting("k", NOW - 5, True), Greylisting("k", NOW - 400, False)
    assert remember(waiting, Action.GREYLIST, NOW, TERMS) == Acquaintance("k", NOW - 5, False, NOW - 5 + 2 * DAY)
    for action in (Action.ACCEPT, Action.QUARANTINE):
        assert remember(ready, action, NOW, TERMS) == Acquaintance("k", NOW - 400, True, NOW + 35 * DAY)
    for action in (Action.REJECT, Action.DEFER, Action.HOLD):
        assert remember(ready, action, NOW, TERMS) is None
    assert remember(None, Action.ACCEPT, NOW, TERMS) is None


def test_a_key_is_bounded() -> None:
    key = find_key(edge(), replace(ENVELOPE, mail_from=mailbox("a" * 64 + "@" + "b" * 240 + ".example")), results())
    assert key is not None
    assert len(key) <= 320
