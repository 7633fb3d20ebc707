"""The facts that rules may use, declared once: name, type, when it is known, what it means.

Every fact is total at its stage: empty, never absent. What is known early can become more exact later, as the client
behind a relay of ours does.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from itertools import combinations

from gateway.model.circumstances import CLIENT_KNOWN, Standing
from gateway.model.decision import Stage
from gateway.model.ingress import ClientSource
from gateway.model.result import ArcVerdict, DmarcPolicy, DmarcVerdict, DomainState, IprevVerdict, SpfVerdict
from gateway.model.value import Value
from gateway.policy.grounds import EVIDENCE, GROUNDS


class FactKind(StrEnum):
    """A fact's type, as CEL calls it."""

    BOOL = "bool"
    INT = "int"
    STRING = "string"
    STRINGS = "list(string)"


class Fact(Value):
    """One fact."""

    name: str
    kind: FactKind
    stage: Stage
    """The first stage at which it is known."""
    help: str
    values: tuple[object, ...] = ()
    """Everything that it can be; empty when that has no end."""
    usual: object = None
    """What it is for an everyday message: examples of rules name only what is different."""
    setting: str = ""
    """The setting that feeds it; empty when none does."""

    def known_at(self, stage: Stage) -> bool:
        return _ORDER[self.stage] <= _ORDER[stage]


_ORDER = {stage: number for number, stage in enumerate(Stage)}


def _flag(name: str, stage: Stage, help: str, usual: bool = False, setting: str = "") -> Fact:
    return Fact(name, FactKind.BOOL, stage, help, (False, True), usual, setting)


def _number(name: str, stage: Stage, help: str, usual: int) -> Fact:
    return Fact(name, FactKind.INT, stage, help, usual=usual)


def _text(name: str, stage: Stage, help: str, usual: str = "", setting: str = "") -> Fact:
    return Fact(name, FactKind.STRING, stage, help, usual=usual, setting=setting)


def _texts(name: str, stage: Stage, help: str, *usual: str, setting: str = "") -> Fact:
    return Fact(name, FactKind.STRINGS, stage, help, usual=list(usual), setting=setting)


def _word(name: str, stage: Stage, help: str, *values: type[Enum] | str, usual: str = "", setting: str = "") -> Fact:
    words: list[object] = []
    for value in values:
        words += [value] if isinstance(value, str) else [str(one.value) for one in value]
    return Fact(name, FactKind.STRING, stage, help, tuple(words), usual, setting)


def _words(name: str, stage: Stage, help: str, *values: str) -> Fact:
    some = tuple(list(one) for size in range(len(values) + 1) for one in combinations(values, size))
    return Fact(name, FactKind.STRINGS, stage, help, some, [])


_CONNECT, _MAIL, _RCPT, _DATA = Stage

FACTS: tuple[Fact, ...] = (
    _flag("ingress.edge", _CONNECT, "the message crosses the border of our network here: SPF has data", True),
    _text("ingress.listener", _CONNECT, "name of the listener", "mx"),
    _text("ingress.peer", _CONNECT, "address of the TCP peer", "192.0.2.1"),
    _text("ingress.address", _CONNECT, "address of the client as far as it is known by then; never empty", "192.0.2.1"),
    _texts("ingress.networks", _CONNECT, "the [policy.networks] that hold that address", setting="policy.networks"),
    _text("ingress.helo", _MAIL, "what the client said in HELO or EHLO", "mail.sender.example"),
    _word("ingress.helo_kind", _MAIL, "what that is; ours: our own host name, or one in a domain of ours",
          "name", "literal", "label", "localhost", "ours", "malformed", usual="name"),
    _flag("ingress.tls", _MAIL, "the session is under TLS", True),
    _text("ingress.tls_subject", _MAIL, "subject of the client's verified certificate; empty without one"),
    _text("ingress.login", _MAIL, "who logged in; empty when nobody did"),
    _text("ingress.client", _DATA, "address of the true client; empty when unknown", "192.0.2.1"),
    _flag("ingress.client_known", _DATA, "the true client's address is known", True),
    _word("ingress.source", _DATA, "how that address was proven; empty inside", ClientSource, "", usual="peer"),
    _text("ingress.rdns", _DATA, "the client's name in reverse DNS, confirmed forward; empty when unknown"),
    _flag("ingress.shared", _DATA, "the client is in a network that all tenants of a provider send from"),
    _word("iprev.result", _DATA, "the client's name in DNS both ways; none without policy.fcrdns", IprevVerdict,
          usual="none", setting="policy.fcrdns"),
    _texts("dnsbl.listed", _DATA, "the [[dnsbl]] zones that list the client; empty for role recipients",
           setting="dnsbl"),
    _texts("dnsbl.errors", _DATA, "the [[dnsbl]] zones that gave no usable answer", setting="dnsbl"),
    _word("dnsbl.action", _CONNECT, "the setting policy.listed", "ignore", "quarantine", "reject", usual="ignore",
          setting="policy.listed"),
    _flag("envelope.null_sender", _MAIL, "MAIL FROM is <>"),
    _text("envelope.mail_from", _MAIL, "MAIL FROM as received; empty for the null sender", "someone@sender.example"),
    _text("envelope.mail_from_domain", _MAIL, "its domain in A-labels; empty for the null sender", "sender.example"),
    _flag("envelope.ours", _MAIL, "that domain is ours or below one of ours", setting="domain"),
    _word("envelope.domain_state", _DATA, "what DNS says of it; asked only where SPF does not pass", DomainState,
          usual="unknown"),
    _texts("rcpt.addresses", _RCPT, "the recipient, at end of data all of them, in lower case", "user@own.example"),
    _texts("rcpt.domains", _RCPT, "their domains in A-labels", "own.example"),
    _flag("rcpt.role", _RCPT, "every recipient is postmaster or abuse of a domain of ours"),
    _number("rcpt.count", _DATA, "how many recipients", 1),
    _number("author.fields", _DATA, "number of From fields", 1),
    _text("author.domain", _DATA, "the Author Domain that DMARC judged; empty when there is none", "sender.example"),
    _texts("author.domains", _DATA, "every domain in From, at most five", "sender.example"),
    _flag("author.complete", _DATA, "author.domains holds every domain of From", True),
    _flag("author.nobody", _DATA, "there is at most one From field, and it names no domain"),
    _flag("author.ours", _DATA, "a domain in From is ours or below one of ours", setting="domain"),
    _flag("author.protected", _DATA, "a domain in From is protected or below a protected one",
          setting="policy.protected_domains"),
    _flag("author.vouched", _DATA,
          "the owner of each domain of ours or protected in From vouches: DMARC, or aligned SPF or DKIM"),
    _text("author.sender", _DATA, "the [[policy.sender]] that may write as that domain; empty when none",
          setting="policy.sender"),
    _flag("author.own_half", _DATA,
          "a notification or a service of our own tenant: our SPF record lists the client, our signature is missing"),
    _word("author.domain_state", _DATA, "what DNS says of the Author Domain; asked only where nothing authenticates it",
          DomainState, usual="unknown"),
    _flag("author.silent", _DATA, 'the Author Domain says that it sends no mail: "v=spf1 -all", or a null MX'),
    _flag("author.enforced", _DATA, "a domain in From is in policy.enforce_for or below one of these",
          setting="policy.enforce_for"),
    _word("author.standing", _DATA, "what passed here before of the domain, and from there; unknown where DMARC passes",
          Standing, usual="unknown"),
    _words("client.known", _DATA, "by what the client is known here for mail that passed, of whatever domain",
           *CLIENT_KNOWN),
    _text("forwarder.name", _DATA, "the [[policy.forwarder]] that passed the message on; empty when none",
          setting="policy.forwarder"),
    _word("spf.result", _DATA, "SPF for MAIL FROM, or for HELO with the null sender", SpfVerdict, usual="pass"),
    _text("spf.domain", _DATA, "the domain that SPF judged", "sender.example"),
    _flag("spf.aligned", _DATA, "SPF passes for the Author Domain"),
    _flag("spf.only", _DATA, "DMARC's pass rests on SPF alone"),
    _flag("spf.sends_no_mail", _DATA, 'the SPF record is exactly "v=spf1 -all"'),
    _number("dkim.signatures", _DATA, "how many DKIM signatures were judged", 0),
    _texts("dkim.pass_domains", _DATA, "d= of the signatures that pass"),
    _word("dkim.author_signature", _DATA, "signatures of the author's organization", "none", "pass", "broken",
          usual="none"),
    _flag("dkim.author_header", _DATA, "the author's organization signed this header: only the body was changed"),
    _texts("dkim.added_fields", _DATA, "fields of which one more stands above what the author's signatures cover"),
    _word("dmarc.result", _DATA, "DMARC for the Author Domain", DmarcVerdict, usual="none"),
    _word("dmarc.policy", _DATA, "the policy that applies, after sp, np and t; empty without one", DmarcPolicy, ""),
    _word("dmarc.published", _DATA, "p= as published; empty without a record", DmarcPolicy, ""),
    _flag("dmarc.testing", _DATA, "the record says t=y"),
    _flag("dmarc.aligned", _DATA, "SPF or a DKIM signature passes and is aligned"),
    _words("dmarc.grounds", _DATA, "what speaks for rejecting beyond the record", *GROUNDS),
    _flag("dns.could_reject", _DATA, "an answer that DNS withheld could turn what is done without it into a reject"),
    _flag("dns.could_quarantine", _DATA, "an answer that DNS withheld could turn an accept into quarantine or hold"),
    _flag("dns.waited", _DATA, "author domain and network have been deferred for DNS for four hours"),
    _word("arc.result", _DATA, "the ARC chain", ArcVerdict, usual="none"),
    _number("arc.sets", _DATA, "how many ARC sets", 0),
    _flag("arc.trusted", _DATA, "a sealer that policy.trusted_sealers names says that DMARC passed with it",
          setting="policy.trusted_sealers"),
    _text("arc.trusted_chain", _DATA, "that chain as a report shows it (RFC 8617 section 7.2.2); else empty"),
    _flag("greylist.wait", _DATA, "the sender is new here and has not waited long enough",
          setting="greylisting.enabled"),
    _flag("list.evidence", _DATA, "a mailing list that signs, or is known here, says that it was here"),
    _words("indirect.evidence", _DATA, "what speaks for an indirect way", *EVIDENCE),
    _flag("notification", _DATA, "a report or an automatic answer: null sender, and what such mail has"),
    _number("message.size", _DATA, "octets of the content", 10_000),
    _number("message.hops", _DATA, "number of Received fields", 1),
    _word("firewall.mode", _CONNECT, "the setting policy.firewall", "published", "reject", "quarantine",
          usual="published", setting="policy.firewall"),
    _text("policy.help", _CONNECT, "the setting policy.help", setting="policy.help"),
)  # fmt: skip


def facts_table() -> str:
    """The facts as a Markdown table, for the documentation."""
    lines = ["| fact | type | known from | meaning |", "|---|---|---|---|"]
    lines += [f"| `{fact.name}` | {fact.kind} | {fact.stage} | {fact.help} |" for fact in FACTS]
    return "\n".join(lines) + "\n"
