"""The facts of a session and of its message, built in one place. The facts of a stage include those of the stage
before."""

from __future__ import annotations

from enum import Enum, StrEnum
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

from gateway.mail.author import Author
from gateway.mail.domain import a_label
from gateway.mail.header import fields
from gateway.model.decision import Stage
from gateway.model.envelope import Envelope, IPText
from gateway.model.history import CLIENT_KNOWN, Standing
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress
from gateway.model.result import (
    ArcVerdict,
    Authentication,
    DkimVerdict,
    DmarcPolicy,
    DmarcVerdict,
    DomainState,
    IprevVerdict,
    SpfVerdict,
)
from gateway.model.value import Value
from gateway.policy.grounds import EVIDENCE, GROUNDS, find_networks, is_in
from gateway.policy.routing import is_role
from gateway.policy.weighing import Case, FactSettings, Weighed, find_lookalike, find_zones, is_within


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
    """All its possible values; empty when they are unlimited."""
    usual: object = None
    """Its value for an everyday message: examples of rules name only the differences."""
    setting: str = ""
    """The setting that supplies it; empty when none does."""

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
    _flag("sender.unproven", _DATA,
          "Sender names a domain of ours or protected, and neither SPF, a signature nor a named sender stands for it"),
    _flag("author.own_half", _DATA,
          "a notification or a service of our own tenant: our SPF record lists the client, our signature is missing"),
    _text("author.lookalike", _DATA,
          "the domain of ours or protected that a reader takes a domain in From for; empty when none"),
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
    _flag("dkim.author_header", _DATA,
          "the author's organization signed this header and nothing was added to it: only the body was changed"),
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
    _flag("list.signed", _DATA, "the domain that List-Id names is that of a signature that passes"),
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


FactValue: TypeAlias = bool | int | str | list[str]
Facts: TypeAlias = dict[str, FactValue]

_LOOPBACK = ("[127.0.0.1]", "127.0.0.1", "[ipv6:::1]", "::1")
_MOST_CHARACTERS = 1000
"""Of any text that a client chose."""


def connect_facts(ingress: Ingress, address: IPText, settings: FactSettings) -> Facts:
    """The facts of a new connection. `address` is the client's as far as the transport proves it; it is our own relay's
    when one stands in between."""
    return {
        "ingress.edge": isinstance(ingress, EdgeIngress),
        "ingress.listener": ingress.listener,
        "ingress.peer": ingress.peer,
        "ingress.address": address,
        "ingress.networks": find_networks(settings.networks, address),
        "firewall.mode": settings.firewall,
        "policy.help": settings.help,
        "dnsbl.action": settings.listed,
    }


def mail_facts(ingress: Ingress, address: IPText, envelope: Envelope, settings: FactSettings) -> Facts:
    """The facts known at MAIL."""
    sender = envelope.mail_from
    return {
        **connect_facts(ingress, address, settings),
        "ingress.helo": _clean(ingress.helo),
        "ingress.helo_kind": _find_helo_kind(ingress.helo, settings.names, settings.own),
        "ingress.tls": ingress.tls is not None,
        "ingress.tls_subject": _clean(ingress.tls.peer_subject) if ingress.tls else "",
        "ingress.login": _clean(ingress.login) if isinstance(ingress, InternalIngress) else "",
        "envelope.null_sender": sender is None,
        "envelope.mail_from": _clean(str(sender)) if sender else "",
        "envelope.mail_from_domain": _clean(sender.ascii_domain) if sender else "",
        "envelope.ours": sender is not None and is_within(sender.ascii_domain, settings.own),
    }


def rcpt_facts(ingress: Ingress, address: IPText, envelope: Envelope, settings: FactSettings) -> Facts:
    """The facts known at RCPT, when `envelope` has only the recipient in question, and at end of data, when it has
    all."""
    rcpts = [rcpt.mailbox for rcpt in envelope.rcpts]
    return {
        **mail_facts(ingress, address, envelope, settings),
        "rcpt.addresses": [_clean(rcpt.key) for rcpt in rcpts],
        "rcpt.domains": sorted({_clean(rcpt.ascii_domain) for rcpt in rcpts}),
        "rcpt.role": bool(rcpts) and all(is_role(rcpt, settings.own) for rcpt in rcpts),
    }


def data_facts(case: Case, authentication: Authentication, settings: FactSettings, weighed: Weighed) -> Facts:
    """Every fact known at end of data. The caller of the rules (`evaluate.judge`) decides whether a missing
    answer of DNS matters."""
    ingress, envelope, circumstances = case.ingress, case.envelope, case.circumstances
    return {
        **rcpt_facts(ingress, ingress.client or ingress.peer, envelope, settings),
        "ingress.client": ingress.client or "",
        "ingress.client_known": ingress.client is not None,
        "ingress.source": str(ingress.source) if isinstance(ingress, EdgeIngress) else "",
        "ingress.rdns": _clean(ingress.rdns),
        "ingress.networks": find_networks(settings.networks, ingress.client),
        "ingress.shared": ingress.client is not None and is_in(settings.shared, ingress.client),
        "rcpt.count": len(envelope.rcpts),
        "envelope.domain_state": str(authentication.named.envelope),
        **_author_facts(case.author, authentication, settings, weighed),
        "author.standing": str(circumstances.standing),
        "client.known": list(circumstances.client_known),
        "forwarder.name": weighed.forwarder,
        **_authentication_facts(authentication),
        "arc.trusted": bool(weighed.chain),
        "arc.trusted_chain": weighed.chain,
        "dkim.author_signature": weighed.signature,
        "dkim.author_header": weighed.signed_header,
        "dkim.added_fields": [one.source for one in weighed.added],
        "dmarc.grounds": [ground.name for ground in weighed.grounds],
        "dns.could_reject": False,
        "dns.could_quarantine": False,
        "dns.waited": circumstances.dns_waited,
        "greylist.wait": circumstances.greylisting is not None and circumstances.greylisting.wait,
        "list.evidence": bool(weighed.listed),
        "list.signed": weighed.signed_list,
        "indirect.evidence": [one.name for one in weighed.evidence],
        "notification": bool(weighed.notification),
        "message.size": case.evidence.size,
        "message.hops": len(fields(case.header, "received")),
    }


def _author_facts(author: Author, authentication: Authentication, settings: FactSettings, weighed: Weighed) -> Facts:
    return {
        "author.fields": author.fields,
        "author.domain": authentication.dmarc.domain,
        "author.domains": list(author.domains),
        "author.complete": not author.reason,
        "author.nobody": author.fields <= 1 and not author.domains,
        "author.ours": bool(weighed.own),
        "author.protected": bool(weighed.protected),
        "author.vouched": weighed.vouched,
        "author.sender": weighed.sender,
        "sender.unproven": weighed.sender_unproven,
        "author.own_half": bool(weighed.own_half),
        "author.lookalike": _find_lookalike(author.domains, settings),
        "author.domain_state": str(authentication.named.author),
        "author.silent": authentication.named.author_silent,
        "author.enforced": bool(settings.enforced and find_zones(author.domains, settings.enforced)),
    }


def _find_lookalike(authors: tuple[str, ...], settings: FactSettings) -> str:
    for domain in authors:
        found = find_lookalike(domain, settings.own) or find_lookalike(domain, settings.protected)
        if found and not is_within(domain, settings.own) and not is_within(domain, settings.protected):
            return found
    return ""


def _authentication_facts(authentication: Authentication) -> Facts:
    spf, dmarc, arc = authentication.spf, authentication.dmarc, authentication.arc
    passing = [one.domain for one in authentication.dkim if one.result is DkimVerdict.PASS]
    return {
        "spf.result": str(spf.result),
        "spf.domain": _clean(spf.domain),
        "spf.aligned": dmarc.spf_aligned,
        "spf.only": dmarc.spf_aligned and not any(dmarc.dkim_aligned),
        "spf.sends_no_mail": spf.sends_no_mail,
        "dkim.signatures": len(authentication.dkim),
        "dkim.pass_domains": passing,
        "dmarc.result": str(dmarc.result),
        "dmarc.policy": str(dmarc.policy or ""),
        "dmarc.published": str(dmarc.published or ""),
        "dmarc.testing": dmarc.testing,
        "dmarc.aligned": dmarc.spf_aligned or any(dmarc.dkim_aligned),
        "arc.result": str(arc.result),
        "arc.sets": len(arc.sealers),
        "iprev.result": str(authentication.iprev.result),
        "dnsbl.listed": list(authentication.dnsbl.listed),
        "dnsbl.errors": list(authentication.dnsbl.errors),
    }


@lru_cache(maxsize=2048)
def _find_helo_kind(helo: str, names: frozenset[str], own: frozenset[str]) -> str:
    """The kind of the client's HELO name. `ours` is our own host name, or one in a domain of ours."""
    name = helo.lower().rstrip(".")
    if name in names or is_within(name, own):
        return "ours"
    if name.partition(".")[0] == "localhost" or name in _LOOPBACK:
        return "localhost"
    if name.startswith("["):
        return "literal"
    if a_label(name) is None or name.replace(".", "").isdigit():
        return "malformed"
    return "name" if "." in name else "label"


def _clean(text: str) -> str:
    """The text at a bounded length, without the lone surrogates that stand for octets which are not UTF-8."""
    text = text[:_MOST_CHARACTERS]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
