"""The facts of one message, built in one place from what the checks found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.mail.author import Author
from gateway.mail.domain import is_subdomain, parent
from gateway.mail.header import Field, fields, unfold
from gateway.model.envelope import Envelope
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.result import Authentication, DkimVerdict, DmarcPolicy, DmarcVerdict, SpfVerdict
from gateway.policy.grounds import (
    DIRECT_SPOOF,
    OWN_DOMAIN,
    PROTECTED,
    author_signature,
    indirect_evidence,
    list_evidence,
)
from gateway.policy.routing import is_role
from gateway.policy.sealers import find_trusted
from gateway.policy.vocabulary import FACTS as FACTS
from gateway.policy.vocabulary import facts_table as facts_table

FactValue: TypeAlias = bool | int | str | list[str]
Firewall: TypeAlias = Literal["published", "reject", "quarantine"]

_MOST_CHARACTERS = 1000
"""Of any text that a client chose."""


@dataclass(frozen=True, slots=True)
class FactSettings:
    """What the facts need of the configuration. Domains are A-labels."""

    own: frozenset[str]
    protected: frozenset[str] = frozenset()
    firewall: Firewall = "published"
    relays: frozenset[str] = frozenset()
    """Names, in lower case, that our listed relays write after `by`."""
    trusted_sealers: frozenset[str] = frozenset()


def data_facts(
    ingress: Ingress,
    envelope: Envelope,
    header: Sequence[Field],
    size: int,
    authentication: Authentication,
    author: Author,
    settings: FactSettings,
) -> dict[str, FactValue]:
    """Every fact known at end of data. `header` is the message's as received; `size` is in octets."""
    own = find_zones(author.domains, settings.own)
    protected = find_zones(author.domains, settings.protected)
    vouched = is_vouched({*own, *protected}, author.domains, authentication)
    dmarc = authentication.dmarc
    chain = find_trusted(header, authentication.arc, author, settings.trusted_sealers)
    signature = author_signature(dmarc.domain, dmarc.organizational_domain, authentication.dkim)
    indirect: list[str] = []
    grounds: list[str] = []
    if isinstance(ingress, EdgeIngress):
        indirect = indirect_evidence(ingress, header, authentication, signature, settings.relays)
        if ingress.client is not None:
            claimed = () if vouched else ((OWN_DOMAIN, own), (PROTECTED, protected))
            grounds = [ground for ground, zones in claimed if zones]
            failed = dmarc.result in (DmarcVerdict.FAIL, DmarcVerdict.TEMPERROR)
            if failed and not indirect and not dmarc.spf_aligned:
                grounds.append(DIRECT_SPOOF)
    return {
        **_ingress_facts(ingress),
        **_envelope_facts(envelope, settings.own),
        "author.fields": author.fields,
        "author.domain": dmarc.domain,
        "author.domains": list(author.domains),
        "author.complete": not author.reason,
        "author.ours": bool(own),
        "author.protected": bool(protected),
        "author.vouched": vouched,
        **_authentication_facts(authentication),
        "arc.trusted": bool(chain),
        "arc.trusted_chain": chain,
        "dkim.author_signature": signature,
        "dmarc.grounds": grounds,
        "dmarc.could_reject": _could_reject(authentication, grounds, settings.firewall),
        "list.evidence": list_evidence(header),
        "indirect.evidence": indirect,
        "notification": _is_notification(envelope, header),
        "message.size": size,
        "message.hops": len(fields(header, "received")),
        "firewall.mode": settings.firewall,
    }


def _ingress_facts(ingress: Ingress) -> dict[str, FactValue]:
    edge = isinstance(ingress, EdgeIngress)
    return {
        "ingress.edge": edge,
        "ingress.listener": ingress.listener,
        "ingress.peer": ingress.peer,
        "ingress.helo": _clean(ingress.helo),
        "ingress.tls": ingress.tls is not None,
        "ingress.tls_subject": _clean(ingress.tls.peer_subject) if ingress.tls else "",
        "ingress.client": ingress.client or "",
        "ingress.client_known": ingress.client is not None,
        "ingress.source": str(ingress.source) if isinstance(ingress, EdgeIngress) else "",
        "ingress.rdns": _clean(ingress.rdns),
    }


def _envelope_facts(envelope: Envelope, own: Collection[str]) -> dict[str, FactValue]:
    sender = envelope.mail_from
    return {
        "envelope.null_sender": sender is None,
        "envelope.mail_from": _clean(str(sender)) if sender else "",
        "envelope.mail_from_domain": _clean(sender.ascii_domain) if sender else "",
        "rcpt.count": len(envelope.rcpts),
        "rcpt.role": bool(envelope.rcpts) and all(is_role(rcpt.mailbox, own) for rcpt in envelope.rcpts),
    }


def _authentication_facts(authentication: Authentication) -> dict[str, FactValue]:
    spf, dmarc, arc = authentication.spf, authentication.dmarc, authentication.arc
    passing = [one.domain for one in authentication.dkim if one.result is DkimVerdict.PASS]
    return {
        "spf.result": str(spf.result),
        "spf.domain": _clean(spf.domain),
        "spf.aligned": dmarc.spf_aligned,
        "spf.sends_no_mail": spf.sends_no_mail,
        "dkim.signatures": len(authentication.dkim),
        "dkim.pass_domains": passing,
        "dmarc.result": str(dmarc.result),
        "dmarc.policy": str(dmarc.policy or ""),
        "dmarc.published": str(dmarc.published or ""),
        "dmarc.testing": dmarc.testing,
        "arc.result": str(arc.result),
        "arc.sets": len(arc.sealers),
        "iprev.result": str(authentication.iprev.result),
        "dnsbl.listed": list(authentication.dnsbl.listed),
        "dnsbl.errors": list(authentication.dnsbl.errors),
    }


def find_zones(domains: Collection[str], zones: Collection[str]) -> set[str]:
    """For each domain that is in some zones, the widest of them."""
    found = set()
    for domain in domains:
        widest = ""
        at = domain
        while at:
            widest = at if at in zones else widest
            at = parent(at)
        if widest:
            found.add(widest)
    return found


def is_vouched(zones: Collection[str], authors: Collection[str], authentication: Authentication) -> bool:
    """The owner of each zone stands behind the message.

    DMARC says so where it could judge. Where it could not, for want of a record or because From has several domains,
    the same is asked of the passing identifiers, with the alignment that RFC 9989 has by default.
    """
    result = authentication.dmarc.result
    if not zones or result is DmarcVerdict.TEMPERROR:
        return False
    if len(authors) == 1 and result in (DmarcVerdict.PASS, DmarcVerdict.FAIL):
        return result is DmarcVerdict.PASS
    passing = [one.domain for one in authentication.dkim if one.result is DkimVerdict.PASS]
    if authentication.spf.result is SpfVerdict.PASS:
        passing.append(authentication.spf.domain)
    return all(any(is_subdomain(signer, zone) for signer in passing) for zone in zones)


def _could_reject(authentication: Authentication, grounds: Collection[str], firewall: Firewall) -> bool:
    """An answer that DNS withheld could make this a reject, so it is worth waiting for."""
    dmarc = authentication.dmarc
    if dmarc.result is not DmarcVerdict.TEMPERROR:
        return False
    if not grounds:
        # With the author's policy and the sender's SPF record both unknown, nothing is known that would let it pass:
        # the one may be p=reject, the other `v=spf1 -all`.
        return dmarc.policy is None and authentication.spf.result is SpfVerdict.TEMPERROR
    if OWN_DOMAIN in grounds or PROTECTED in grounds:
        return firewall == "reject" or (firewall == "published" and dmarc.policy is not DmarcPolicy.NONE)
    return dmarc.policy is None or dmarc.policy is DmarcPolicy.REJECT


def _is_notification(envelope: Envelope, header: Sequence[Field]) -> bool:
    """A report or an automatic answer, with the null sender that both must have (RFC 3464, RFC 3834)."""
    if envelope.mail_from is not None:
        return False
    for field in header:
        if field.lower not in ("content-type", "auto-submitted"):
            continue
        value = unfold(field.value[:_MOST_CHARACTERS]).partition(";")[0].strip().lower()
        # RFC 3834 section 5: any keyword but `no`.
        if value == "multipart/report" if field.lower == "content-type" else value not in ("", "no"):
            return True
    return False


def _clean(text: str) -> str:
    """Bounded, and without the lone surrogates that stand for octets which are no UTF-8."""
    text = text[:_MOST_CHARACTERS]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
