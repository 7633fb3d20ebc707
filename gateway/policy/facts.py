"""The facts of a session and of its message, built in one place; those of a stage contain those of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from gateway.mail.author import Author
from gateway.mail.domain import a_label
from gateway.mail.header import Field, fields
from gateway.model.address import IPText
from gateway.model.circumstances import Circumstances
from gateway.model.envelope import Envelope
from gateway.model.ingress import EdgeIngress, Ingress, InternalIngress
from gateway.model.result import Authentication, DkimVerdict
from gateway.policy.routing import is_role
from gateway.policy.sources import find_networks, is_in
from gateway.policy.weighing import FactSettings, Weighed, find_zones, is_within

FactValue: TypeAlias = bool | int | str | list[str]
Facts: TypeAlias = dict[str, FactValue]

_LOOPBACK = ("[127.0.0.1]", "127.0.0.1", "[ipv6:::1]", "::1")
_MOST_CHARACTERS = 1000
"""Of any text that a client chose."""


def connect_facts(ingress: Ingress, address: IPText, settings: FactSettings) -> Facts:
    """What is known of a connection before a word was said. `address` is the client's as far as the transport proves
    it, which is our own relay's where one stands in between."""
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
    """What is known at MAIL."""
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
    """What is known at RCPT, where `envelope` has the one recipient that is asked about, and at end of data, where it
    has all."""
    rcpts = [rcpt.mailbox for rcpt in envelope.rcpts]
    return {
        **mail_facts(ingress, address, envelope, settings),
        "rcpt.addresses": [_clean(rcpt.key) for rcpt in rcpts],
        "rcpt.domains": sorted({_clean(rcpt.ascii_domain) for rcpt in rcpts}),
        "rcpt.role": bool(rcpts) and all(is_role(rcpt, settings.own) for rcpt in rcpts),
    }


def data_facts(
    ingress: Ingress,
    envelope: Envelope,
    header: Sequence[Field],
    size: int,
    authentication: Authentication,
    author: Author,
    settings: FactSettings,
    weighed: Weighed,
    circumstances: Circumstances,
) -> Facts:
    """Every fact known at end of data. `header` is the message's as received; `size` is in octets. Whether a missing
    answer of DNS matters is left to whoever asks the rules (`evaluate.judge`)."""
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
        **_author_facts(author, authentication, settings, weighed),
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
        "indirect.evidence": [one.name for one in weighed.evidence],
        "notification": bool(weighed.notification),
        "message.size": size,
        "message.hops": len(fields(header, "received")),
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
        "author.own_half": bool(weighed.own_half),
        "author.domain_state": str(authentication.named.author),
        "author.silent": authentication.named.author_silent,
        "author.enforced": bool(settings.enforced and find_zones(author.domains, settings.enforced)),
    }


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
    """What the client calls itself. `ours` is our own host name, or one in a domain of ours."""
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
    """Bounded, and without the lone surrogates that stand for octets which are no UTF-8."""
    text = text[:_MOST_CHARACTERS]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
