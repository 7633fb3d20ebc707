"""The stored trace has from the start all values that an aggregate report needs (RFC 9990 section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.mail.path import mailbox
from gateway.mail.tokens import parse_tags
from gateway.model.delivery import Trace
from gateway.model.envelope import ip_text
from gateway.model.result import DmarcPolicy, DmarcVerdict
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.spool.codec import TRACE
from gateway.tools.rehearsal import Delivered, rehearse
from gateway.tools.simulate import make_config
from tests.support.samples import break_between_boundaries, nested_multipart, plain, sign, signing_key

RECORD = "v=DMARC1; p=reject; sp=quarantine; np=reject; adkim=s; aspf=s; fo=1; t=n; rua=mailto:r@sender.example"
ZONE = {
    "sender.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]},
    "_dmarc.sender.example": {"TXT": [RECORD]},
    "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
    "_dmarc.testing.example": {"TXT": ["v=DMARC1; p=reject; t=y"]},
    "other.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]},
    "www.sub.sender.example": {"A": ["192.0.2.1"]},
    "sub.sender.example": {"A": ["192.0.2.1"]},
}
SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")
ALICE = mailbox("alice@corp.example")
assert ALICE is not None


@dataclass(frozen=True)
class Row:
    """The elements of a report's `record`, and of its `policy_published`."""

    source_ip: str
    disposition: str
    dkim: str
    spf: str
    reasons: list[str]
    header_from: str
    envelope_from: str
    envelope_to: str
    auth_dkim: list[tuple[str, str, str]]
    auth_spf: tuple[str, str]
    domain: str
    published: dict[str, str]


def make_row(trace: Trace) -> Row:
    assert trace.edge is not None
    assert trace.authentication is not None
    results, dmarc = trace.authentication, trace.authentication.dmarc
    enforcing = dmarc.policy in (DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT)
    passes = dmarc.result is DmarcVerdict.PASS and enforcing
    tags: Any = parse_tags(dmarc.record) or {}
    sender = trace.envelope.mail_from
    return Row(
        source_ip=str(trace.edge.client),
        disposition="pass" if passes else trace.decision.disposition.value,
        dkim="pass" if any(dmarc.dkim_aligned) else "fail",
        spf="pass" if dmarc.spf_aligned else "fail",
        reasons=[one.type for one in trace.decision.overrides],
        header_from=dmarc.domain,
        envelope_from=sender.ascii_domain if sender else "",
        envelope_to=trace.envelope.rcpts[0].mailbox.ascii_domain,
        auth_dkim=[(one.domain, one.selector, one.result.value) for one in results.dkim],
        auth_spf=(results.spf.domain, results.spf.result.value),
        domain=dmarc.policy_domain,
        published={name: tags[name] for name in ("p", "sp", "np", "adkim", "aspf", "fo", "t", "rua") if name in tags},
    )


async def stored(octets: bytes, mail_from: str) -> Trace:
    delivered = Delivered(ip_text("203.0.113.7"), "h.example", mailbox(mail_from), (ALICE,), octets, 1795295400.0)
    trace = (await rehearse(delivered, make_runtime(make_config([ALICE])), ZoneResolver(build_zone(ZONE)))).trace
    # As it is read back after the content is gone.
    return TRACE.unpack(TRACE.pack(replace(trace, content=None)))


PUBLISHED = {
    "p": "reject", "sp": "quarantine", "np": "reject", "adkim": "s", "aspf": "s", "fo": "1", "t": "n",
    "rua": "mailto:r@sender.example",
}  # fmt: skip


async def test_a_message_that_passes() -> None:
    row = make_row(await stored(SIGNED, "author@sender.example"))
    assert row == Row(
        source_ip="203.0.113.7",
        disposition="pass",
        dkim="pass",
        spf="pass",
        reasons=[],
        header_from="sender.example",
        envelope_from="sender.example",
        envelope_to="corp.example",
        auth_dkim=[("sender.example", "sel1", "pass")],
        auth_spf=("sender.example", "pass"),
        domain="sender.example",
        published=PUBLISHED,
    )


async def test_each_signature_that_was_tried_is_there_with_its_selector() -> None:
    twice = sign(SIGNED, "sender.example", selector="gone")
    row = make_row(await stored(break_between_boundaries(twice), "x@other.example"))
    assert [(domain, selector) for domain, selector, _ in row.auth_dkim] == [
        ("sender.example", "gone"), ("sender.example", "sel1"),
    ]  # fmt: skip
    assert {result for _, _, result in row.auth_dkim} <= {"fail", "permerror"}
    assert (row.dkim, row.spf) == ("fail", "fail")


@pytest.mark.parametrize(
    ("author", "disposition", "reasons", "domain"),
    [
        ("ceo@sender.example", "reject", [], "sender.example"),
        ("ceo@sub.sender.example", "quarantine", [], "sender.example"),
        ("ceo@nowhere.sender.example", "reject", [], "sender.example"),
        ("ceo@testing.example", "quarantine", ["policy_test_mode"], "testing.example"),
    ],
)
async def test_what_was_done_and_why(author: str, disposition: str, reasons: list[str], domain: str) -> None:
    row = make_row(await stored(plain(author), "x@other.example"))
    assert (row.disposition, row.reasons, row.domain) == (disposition, reasons, domain)
    assert (row.header_from, row.envelope_from) == (author.partition("@")[2], "other.example")


async def test_a_policy_that_is_not_followed_has_its_reason() -> None:
    """RFC 9990 section 3.1.6: the applied policy is not the published one, so the reason must be reported."""
    hop = b"Received: from x (unknown [192.0.2.9]) by mx.forwarder.example with ESMTP id 1; today\r\n"
    trace = await stored(hop + plain("ceo@sender.example"), "x@other.example")
    row = make_row(trace)
    assert row.disposition == "quarantine"
    assert len(row.reasons) == 1
    assert trace.decision.overrides[0].comment
