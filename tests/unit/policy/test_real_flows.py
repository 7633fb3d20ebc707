"""Mail of an ordinary day and the attacks among it, judged by each set. The author's domain is new here, known here, or
known from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.app import make_simulation_context
from gateway.config.model import Config
from gateway.model.decision import Action
from gateway.model.value import Value, replace
from gateway.service.runtime import RuntimeConfig
from gateway.tools.simulate import read_case, simulate
from tests.support.samples import sign, signing_key

KEY = {"TXT": [signing_key()[1]]}
OURS, BAD, LIST, CLOUD, PARTNER, PROVIDER = (
    *("192.0.2.10", "198.51.100.66", "203.0.113.5", "40.92.0.5", "192.0.2.20", "209.85.220.41"),
)


def make_domain(name: str, *addresses: str, dmarc: str = "") -> dict[str, Any]:
    spf = " ".join(f"ip4:{one}" for one in addresses)
    zone: dict[str, Any] = {
        name: {"TXT": [f"v=spf1 {spf} -all"], "MX": [f"10 mx.{name}"], "A": ["192.0.2.99"]},
        f"mx.{name}": {"A": ["192.0.2.99"]},
        f"s1._domainkey.{name}": KEY,
    }
    return zone | ({f"_dmarc.{name}": {"TXT": [f"v=DMARC1; p={dmarc}"]}} if dmarc else {})


ZONE: dict[str, Any] = {
    **make_domain("example.com", OURS, dmarc="reject"),
    **make_domain("soft.example", OURS, dmarc="none"),
    **make_domain("bank.example", "192.0.2.50", dmarc="reject"),
    **make_domain("partner.example", PARTNER, dmarc="reject"),
    **make_domain("shop.example", "192.0.2.30", dmarc="none"),
    **make_domain("evil.example", BAD, dmarc="reject"),
    **make_domain("examp1e.com", BAD, dmarc="reject"),
    **make_domain("xn--exmple-4nf.com", BAD, dmarc="reject"),
    **make_domain("tenant.onmicrosoft.com", CLOUD, dmarc="reject"),
    **make_domain("lists.club.example", LIST),
    **make_domain("tickets.example", "192.0.2.31", dmarc="reject"),
    **make_domain("mailer.example", "192.0.2.32", dmarc="none"),
    **make_domain("alumni.example", "203.0.113.30"),
    **make_domain("gmail.example", PROVIDER, dmarc="none"),
    **make_domain("xn--bcher-kva.example", "192.0.2.33", dmarc="reject"),
    "mx.partner.example": {"A": [PARTNER], "TXT": ["v=spf1 a -all"]},
    "small.example": {"A": ["203.0.113.99"]},
}
CONFIG = """
[server]
hostname = "mx.example.com"
spool = "spool"
[[listener]]
address = "127.0.0.1:2599"
[[domain]]
name = "example.com"
backend = "google"
[[domain]]
name = "soft.example"
backend = "google"
[backend.google]
preset = "google-workspace"
hosts = ["smtp.google.com"]
[policy]
set = "enforce"
protected_domains = ["bank.example"]
[[policy.sender]]
name = "tickets"
dkim = ["tickets.example"]
"""
NEW, FORWARDER, STRANGER, FAMILIAR = ("", ""), ("stranger", "known"), ("stranger", "unknown"), ("familiar", "known")
"""What is remembered of the author's domain and of the client."""


class Flow(Value):
    """A message, and who hands it in."""

    author: str
    ip: str
    mail_from: str = ""
    header: str = ""
    """Fields beyond From, To, Subject, Date and Message-ID."""
    signed: tuple[str, ...] = ()
    """Domains that sign, in their order."""
    subject: str = "Minutes of Monday"
    footer: bool = False
    """The body is changed after the author's signature, and before those of others."""
    tag: bool = False
    """The subject likewise."""
    top: str = ""
    """Fields that the last server put above all."""
    helo: str = "mx.sender.example"

    def octets(self) -> bytes:
        header = f"{self.header}\r\n" if self.header else ""
        plain = "" if "Content-Type:" in header else "Content-Type: text/plain; charset=utf-8\r\n"
        octets = (
            f"{header}From: {self.author}\r\nTo: <bob@example.com>\r\nSubject: {self.subject}\r\n"
            "Date: Mon, 21 Sep 2026 13:00:00 +0000\r\nMessage-ID: <a1@sender.example>\r\nMIME-Version: 1.0\r\n"
            f"{plain}\r\nHello,\r\n\r\nthis is a line.\r\n"
        ).encode()
        for number, domain in enumerate(self.signed):
            octets = sign(self._change(octets) if number == 1 else octets, domain, "s1")
        if len(self.signed) < 2:
            octets = self._change(octets)
        return (f"{self.top}\r\n".encode() if self.top else b"") + octets

    def _change(self, octets: bytes) -> bytes:
        if self.tag:
            octets = octets.replace(b"Subject: ", b"Subject: [club] ", 1)
        return octets + b"-- \r\nA footer.\r\n" if self.footer else octets


HOP = (
    "Received: from mx.partner.example (mx.partner.example [192.0.2.20])\r\n"
    "\tby mx.alumni.example (Postfix) with ESMTPS id 4XYZ01\r\n"
    "\tfor <b@alumni.example>; Mon, 21 Sep 2026 13:00:00 +0000"
)
RELAYED = HOP.replace("mx.alumni.example (Postfix) with ESMTPS id 4XYZ01", "mx.google.com with ESMTPS id a1")
REPORT = "Content-Type: multipart/report; report-type=delivery-status; boundary=b"
IDS = "List-Id: <members.lists.club.example>\r\nList-Post: <mailto:members@lists.club.example>"
POST = "members-bounces@lists.club.example"
SRS = "SRS0=x=y=partner.example=ann@alumni.example"

ATTACKS = {
    # own domain
    "as us from a shared cloud, signed by its tenant": Flow(
        "<ceo@example.com>", CLOUD, "x@tenant.onmicrosoft.com", signed=("tenant.onmicrosoft.com",)
    ),
    "as us from a shared cloud, p=none": Flow("<ceo@soft.example>", CLOUD, "x@tenant.onmicrosoft.com"),
    "as a department below us": Flow("<it@hr.example.com>", BAD, "x@evil.example"),
    "as our scanner": Flow("<scan@example.com>", BAD, "scan@example.com", subject="Scan 001"),
    "as our ticket system, signed by another one": Flow(
        "<support@example.com>", BAD, "x@evil.example", signed=("evil.example",), header="X-Ticket: 4711"
    ),
    "as us, with a list field of the forger's own list": Flow(
        "<ceo@example.com>", BAD, "x@evil.example", signed=("evil.example",), header="List-Id: <news.evil.example>"
    ),
    "as us, with a forged hop of ours": Flow("<ceo@example.com>", BAD, "x@evil.example", top=HOP),
    "a bounce of our own daemon": Flow("<mailer-daemon@example.com>", BAD, "", header=REPORT),
    "an out-of-office answer of ours": Flow("<ceo@example.com>", BAD, "", header="Auto-Submitted: auto-replied"),
    "a meeting of ours, handed on by a stranger": Flow(
        "<ceo@example.com>", BAD, "x@evil.example", signed=("evil.example",), header="Sender: <x@evil.example>"
    ),
    "as us in two addresses": Flow(
        "<ceo@example.com>, <x@evil.example>", BAD, "x@evil.example", signed=("evil.example",)
    ),
    "as us in Sender": Flow(
        "<x@evil.example>", BAD, "x@evil.example", signed=("evil.example",), header="Sender: <ceo@example.com>"
    ),
    "our address behind an encoded word": Flow(
        "=?utf-8?q?ceo=40example=2Ecom?= <ceo@example.com>", BAD, "x@evil.example", signed=("evil.example",)
    ),
    "a name beyond ASCII at our domain": Flow("<gesch\u00e4ft@example.com>", BAD, "x@evil.example"),
    # lookalikes
    "a reply in a thread, from a lookalike": Flow(
        "<ceo@examp1e.com>",
        BAD,
        "ceo@examp1e.com",
        signed=("examp1e.com",),
        header="In-Reply-To: <b2@example.com>\r\nReferences: <b2@example.com>",
        subject="Re: Minutes of Monday",
    ),
    "a letter of another alphabet": Flow(
        "<ceo@ex\u0430mple.com>", BAD, "ceo@xn--exmple-4nf.com", signed=("xn--exmple-4nf.com",)
    ),
    # domains of others
    "a protected bank": Flow("<service@bank.example>", BAD, "x@evil.example", signed=("evil.example",)),
    "an invitation of a partner": Flow(
        "<ann@partner.example>", BAD, "x@evil.example", header="Content-Class: urn:content-classes:calendarmessage"
    ),
    "a partner's invoice, SPF passes for the forger": Flow("<ann@partner.example>", BAD, "x@evil.example"),
    "a partner's invoice with his own MAIL FROM": Flow("<ann@partner.example>", BAD, "ann@partner.example"),
    "a partner's name with SRS of the forger": Flow(
        "<ann@partner.example>", BAD, "SRS0=x=y=partner.example=ann@evil.example"
    ),
    "a partner with p=none whose SPF denies it": Flow("<news@shop.example>", BAD, "news@shop.example"),
    "a domain that does not exist": Flow("<x@nowhere.example>", BAD, "x@nowhere.example"),
}
HONEST = {
    # notifications
    "a bounce of Postfix at the sender's": Flow(
        "MAILER-DAEMON@mx.partner.example (Mail Delivery System)", PARTNER, "", header=REPORT, helo="mx.partner.example"
    ),
    "a bounce of Exchange, signed": Flow(
        "<postmaster@partner.example>", PARTNER, "", header=REPORT, signed=("partner.example",)
    ),
    "a bounce of qmail": Flow("MAILER-DAEMON@partner.example", PARTNER, "", subject="failure notice"),
    "an out-of-office answer, signed": Flow(
        "<ann@partner.example>", PARTNER, "", header="Auto-Submitted: auto-replied", signed=("partner.example",)
    ),
    "an out-of-office answer with its own MAIL FROM": Flow(
        "<ann@partner.example>", PARTNER, "ann@partner.example", header="X-Autoreply: yes"
    ),
    # calendar
    "an invitation, signed": Flow(
        "<ann@partner.example>",
        PARTNER,
        "ann@partner.example",
        signed=("partner.example",),
        header="Content-Class: urn:content-classes:calendarmessage",
    ),
    "an invitation that an attendee hands on": Flow(
        "<ann@partner.example>",
        "192.0.2.30",
        "eve@shop.example",
        header="Sender: <eve@shop.example>",
        signed=("shop.example",),
    ),
    # services
    "a ticket system with an address of its own": Flow(
        "Support <support@tickets.example>", "192.0.2.31", "b@tickets.example", signed=("tickets.example",)
    ),
    "a ticket system as us, named": Flow(
        "Support <support@example.com>", "192.0.2.31", "b@tickets.example", signed=("tickets.example",)
    ),
    "our scanner, in our SPF record": Flow("<scan@example.com>", OURS, "scan@example.com", subject="Scan 001"),
    "a newsletter whose signature is broken, SPF aligned": Flow(
        "<news@shop.example>", "192.0.2.30", "news@shop.example", signed=("shop.example",), footer=True
    ),
    "a newsletter through a mailer, unaligned, p=none": Flow(
        "<news@shop.example>", "192.0.2.32", "b@mailer.example", signed=("mailer.example",)
    ),
    "a newsletter through a mailer, both sign": Flow(
        "<news@shop.example>", "192.0.2.32", "b@mailer.example", signed=("shop.example", "mailer.example")
    ),
    # lists
    "a list with From of its own": Flow(
        '"Ann via Members" <members@lists.club.example>',
        LIST,
        POST,
        header=IDS,
        signed=("lists.club.example",),
        tag=True,
        footer=True,
    ),
    "a list that changes nothing": Flow("<ann@partner.example>", LIST, POST, top=IDS, signed=("partner.example",)),
    "a list that adds a footer, p=none": Flow(
        "<ann@shop.example>", LIST, POST, signed=("shop.example", "lists.club.example"), footer=True, header=IDS
    ),
    "a list that signs nothing and adds a tag": Flow(
        "<ann@partner.example>", LIST, POST, top=IDS, signed=("partner.example",), tag=True
    ),
    "a list that signs, adds tag and footer": Flow(
        "<ann@partner.example>",
        LIST,
        POST,
        header=IDS,
        signed=("partner.example", "lists.club.example"),
        tag=True,
        footer=True,
    ),
    # forwards
    "a forward with SRS, signature intact": Flow(
        "<ann@partner.example>", "203.0.113.30", SRS, top=HOP, signed=("partner.example",)
    ),
    "a forward without SRS, signature intact": Flow(
        "<ann@partner.example>", "203.0.113.30", "ann@partner.example", top=HOP, signed=("partner.example",)
    ),
    "a forward with SRS of mail with SPF alone": Flow("<ann@partner.example>", "203.0.113.30", SRS, top=HOP),
    "a forward without SRS of mail with SPF alone": Flow(
        "<ann@partner.example>", "203.0.113.30", "ann@partner.example", top=HOP
    ),
    "a forward that adds a tag": Flow(
        "<ann@partner.example>", "203.0.113.30", SRS, top=HOP, signed=("partner.example",), tag=True
    ),
    "a forward by a large provider": Flow(
        "<ann@partner.example>",
        PROVIDER,
        "b+caf_=bob=example.com@gmail.example",
        top=RELAYED,
        signed=("partner.example",),
    ),
    "a forward of mail with p=none and SPF alone": Flow(
        "<news@shop.example>", "203.0.113.30", "news@shop.example", top=HOP
    ),
    # addresses
    "BATV": Flow("<ann@partner.example>", PARTNER, "prvs=1234567890=ann@partner.example"),
    "VERP": Flow("<news@shop.example>", "192.0.2.30", "b-bob=example.com@shop.example"),
    "an address beyond ASCII": Flow(
        "<j\u00f6rg@b\u00fccher.example>",
        "192.0.2.33",
        "joerg@xn--bcher-kva.example",
        signed=("xn--bcher-kva.example",),
    ),
    "several authors' addresses of one domain": Flow(
        "<ann@partner.example>, <eve@partner.example>",
        PARTNER,
        "ann@partner.example",
        signed=("partner.example",),
        header="Sender: <ann@partner.example>",
    ),
    "a vacation of a person with SPF alone": Flow(
        "<ann@partner.example>", "192.0.2.21", "", header="Auto-Submitted: auto-replied", helo="out.partner.example"
    ),
    "a person without any record": Flow("<joe@small.example>", "203.0.113.99", "joe@small.example"),
}

MARKED = {
    "a bounce of qmail",
    "a vacation of a person with SPF alone",
    "an invitation that an attendee hands on",
    "a list that signs nothing and adds a tag",
    "a list that signs, adds tag and footer",
    "a forward with SRS of mail with SPF alone",
    "a forward without SRS of mail with SPF alone",
    "a forward that adds a tag",
}
"""Honest mail under p=reject that nothing authenticates: the record asks for more than a mark."""
REFUSED_FROM_STRANGERS = {
    "an invitation that an attendee hands on",
    "a forward with SRS of mail with SPF alone",
    "a forward without SRS of mail with SPF alone",
}
"""The author's mail is known to pass here, this one has no signature of it, and nothing ever passed from this client:
the ground `strange-source`."""


CONTEXT = make_simulation_context()
RUNTIMES: dict[str, RuntimeConfig] = {}


def make_once(config: Config) -> RuntimeConfig:
    """Compiling rules takes longer than asking them."""
    if config.policy.set not in RUNTIMES:
        RUNTIMES[config.policy.set] = CONTEXT.make_runtime(config)
    return RUNTIMES[config.policy.set]


async def judge(flow: Flow, policy: str, remembered: tuple[str, str], directory: Path) -> Action:
    (directory / "gateway.toml").write_text(CONFIG)
    (directory / "message.eml").write_bytes(flow.octets())
    options = {
        "file": "message.eml",
        "ip": flow.ip,
        "helo": flow.helo,
        "mail_from": flow.mail_from,
        "rcpt": "bob@example.com",
        "dns": ZONE,
        "now": 1_790_000_000,
        "config": "gateway.toml",
        "policy": policy,
        "standing": remembered[0],
        "client": remembered[1],
        "raw": True,
    }
    simulated = await simulate(read_case(options, directory), replace(CONTEXT, make_runtime=make_once))
    return simulated.rehearsed.trace.decision.action


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_never_accepted_unmarked(name: str, tmp_path: Path) -> None:
    for policy, remembered in (("enforce", NEW), ("enforce", STRANGER), ("strict", NEW)):
        assert await judge(ATTACKS[name], policy, remembered, tmp_path) is not Action.ACCEPT, (policy, remembered)
    assert await judge(ATTACKS[name], "learn", NEW, tmp_path) in (Action.ACCEPT, Action.QUARANTINE)


@pytest.mark.parametrize("name", HONEST)
async def test_an_honest_message_is_not_refused_and_rarely_marked(name: str, tmp_path: Path) -> None:
    wanted = Action.QUARANTINE if name in MARKED else Action.ACCEPT
    for remembered in (NEW, FORWARDER, FAMILIAR):
        assert await judge(HONEST[name], "enforce", remembered, tmp_path) is wanted, remembered
    strange = Action.REJECT if name in REFUSED_FROM_STRANGERS else wanted
    assert await judge(HONEST[name], "enforce", STRANGER, tmp_path) is strange
    assert await judge(HONEST[name], "learn", NEW, tmp_path) is Action.ACCEPT


@pytest.mark.parametrize("name", sorted(HONEST.keys() - MARKED))
async def test_strict_loses_only_what_lists_and_forwarders_changed(name: str, tmp_path: Path) -> None:
    assert await judge(HONEST[name], "strict", NEW, tmp_path) is Action.ACCEPT
