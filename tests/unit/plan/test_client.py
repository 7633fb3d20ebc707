"""DNS data about the client reach results, facts, fields and a later replay; when off, nothing is asked."""

from __future__ import annotations

from ipaddress import IPv4Network

from gateway.authentication.dnsbl import BlockList
from gateway.authentication.lookup import DnsView
from gateway.mail import authres
from gateway.model.dnsdata import Answer, Question
from gateway.model.envelope import Envelope, Mailbox, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress, InternalIngress
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DmarcResult,
    DmarcVerdict,
    DnsblResult,
    IprevResult,
    IprevVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.plan.client import ClientChecks, check_client, name_client, questions, recorded_checks

CLIENT = ip_text("203.0.113.7")
EDGE = EdgeIngress(CLIENT, ClientSource.PEER, "h.example", "mx", CLIENT)
LIST = BlockList("list.example")
ALL = ClientChecks(True, (LIST,))
OWN = frozenset({"own.example"})
ZONE = build_zone(
    {
        "7.113.0.203.in-addr.arpa": {"PTR": ["out.example"]},
        "out.example": {"A": [CLIENT]},
        "7.113.0.203.list.example": {"A": ["127.0.0.2"]},
    }
)


def to(*rcpts: str) -> Envelope:
    parts = [rcpt.partition("@") for rcpt in rcpts]
    return Envelope(None, tuple(Recipient(Mailbox(local, domain, domain)) for local, _, domain in parts))


class Asked:
    """A zone that records its questions."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, question: Question) -> Answer | None:
        self.names.append(question.name)
        return ZoneResolver(ZONE).known(question)


def test_both_checks() -> None:
    found = check_client(EDGE, to("a@own.example"), ALL, OWN, DnsView(ZoneResolver(ZONE).known))
    assert found == (
        IprevResult(IprevVerdict.PASS, "out.example"),
        DnsblResult(("list.example",), ("list.example",)),
    )


def test_role_addresses_are_exempt_from_lists_alone() -> None:
    for rcpt in ("abuse@own.example", "postmaster@own.example"):
        asked = Asked()
        name, lists = check_client(EDGE, to(rcpt), ALL, OWN, DnsView(asked))
        assert (name.result, lists) == (IprevVerdict.PASS, DnsblResult())
        assert not any(name.endswith("list.example") for name in asked.names)
    _, lists = check_client(EDGE, to("abuse@own.example", "a@own.example"), ALL, OWN, DnsView(Asked()))
    assert lists.listed


def test_nothing_is_asked_that_is_off_or_has_no_client() -> None:
    inside = InternalIngress(CLIENT, "h.example", "mx", CLIENT, "own hop x")
    for ingress, checks in ((EDGE, ClientChecks()), (replace(EDGE, client=None), ALL), (inside, ALL)):
        asked = Asked()
        assert check_client(ingress, to("a@own.example"), checks, OWN, DnsView(asked)) == (IprevResult(), DnsblResult())
        assert asked.names == []
    assert questions(EDGE, ClientChecks()) == ()
    assert questions(replace(EDGE, client=None), ALL) == ()
    assert len(questions(EDGE, ALL)) == 2


def test_only_a_confirmed_name_replaces_another() -> None:
    recorded = replace(EDGE, rdns="by-relay.example")
    assert name_client(recorded, IprevResult(IprevVerdict.FAIL, reason="x")).rdns == "by-relay.example"
    assert name_client(recorded, IprevResult(IprevVerdict.PASS, "out.example")).rdns == "out.example"


def results(iprev: IprevResult, dnsbl: DnsblResult = DnsblResult()) -> Authentication:  # noqa: B008
    spf = SpfResult(SpfVerdict.NONE, "b.example", SpfIdentity.MAILFROM)
    dmarc = DmarcResult(DmarcVerdict.NONE, "b.example")
    return Authentication(spf, spf, (), ArcResult(ArcVerdict.NONE), dmarc, iprev, dnsbl)


def test_authentication_results() -> None:
    field = authres.compose("mx.example", results(IprevResult(IprevVerdict.PASS, "out.example")), EDGE)
    assert b"iprev=pass (out.example) policy.iprev=203.0.113.7" in field
    field = authres.compose("mx.example", results(IprevResult(IprevVerdict.FAIL, reason="no (way) back")), EDGE)
    assert b'iprev=fail reason="no (way) back"' in b" ".join(field.split())
    assert b"iprev" not in authres.compose("mx.example", results(IprevResult()), EDGE)


def test_a_judgement_is_repeated_with_the_checks_it_had() -> None:
    off = results(IprevResult())
    assert recorded_checks(off, ALL) == ClientChecks(named=False)
    on = results(IprevResult(IprevVerdict.PERMERROR), DnsblResult(("list.example", "gone.example")))
    assert recorded_checks(on, ALL) == ClientChecks(True, (LIST, BlockList("gone.example")), False)


def test_a_judgement_is_repeated_with_the_codes_of_then() -> None:
    then = BlockList("list.example", (IPv4Network("127.0.0.8/30"),))
    every = BlockList("every.example")
    asked = DnsblResult(("list.example", "every.example"), codes=(("127.0.0.8/30",), ()))
    now = ClientChecks(lists=(BlockList("list.example"), BlockList("every.example", then.codes)))
    assert recorded_checks(results(IprevResult(), asked), now) == ClientChecks(lists=(then, every), named=False)
