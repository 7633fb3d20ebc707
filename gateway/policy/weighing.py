"""Conclusions from the results about the author domain: its owner, the parties that vouch, the grounds for rejecting
and the evidence against. Facts and the trace are both made from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

from gateway.mail.author import Author, find_author, find_domains
from gateway.mail.domain import is_subdomain, look_of, organization_of, parent
from gateway.mail.header import Field, parse_header
from gateway.model.decision import Finding
from gateway.model.envelope import Envelope
from gateway.model.history import NOTHING_REMEMBERED, Circumstances, Standing
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.message import Evidence
from gateway.model.result import Authentication, DkimVerdict, DmarcVerdict, SpfVerdict
from gateway.model.value import Value, field
from gateway.policy.claims import find_agent, find_list, find_notification, find_own_half, is_signed_list
from gateway.policy.grounds import (
    DIRECT_SPOOF,
    OWN_DOMAIN,
    PROTECTED,
    STRANGE_SOURCE,
    Networks,
    Source,
    added_fields,
    author_signature,
    find_source,
    indirect_evidence,
    same_organization,
    signed_header,
)
from gateway.policy.sealers import find_trusted

_SHORTEST_NAME = 4
"""Letters of a name below which a likeness is chance."""
_NO_FINDINGS: tuple[Finding, ...] = ()

Firewall: TypeAlias = Literal["published", "reject", "quarantine"]
ListedAction: TypeAlias = Literal["ignore", "quarantine", "reject"]


class FactSettings(Value):
    """The part of the configuration that facts need. Domains are A-labels."""

    own: frozenset[str]
    protected: frozenset[str] = frozenset()
    firewall: Firewall = "published"
    relays: frozenset[str] = frozenset()
    """Names, in lower case, that our listed relays write after `by`."""
    trusted_sealers: frozenset[str] = frozenset()
    senders: tuple[Source, ...] = ()
    """Sources that may write as us or as a protected domain without its owner's authentication."""
    forwarders: tuple[Source, ...] = ()
    """Sources that pass others' mail on to us, so that it fails DMARC here."""
    networks: Mapping[str, Networks] = field(default_factory=dict)
    """Networks that the admin's own rules name."""
    listed: ListedAction = "ignore"
    """The action on mail of a client that a block list lists."""
    enforced: frozenset[str] = frozenset()
    """Author domains whose DMARC failures are treated as if they published p=reject."""
    names: frozenset[str] = frozenset()
    """Our own host names: no client outside has such a name."""
    shared: frozenset[IPv4Network | IPv6Network] = frozenset()
    """Networks that all tenants of a provider send from."""
    help: str = ""
    """The source of help for a refused sender: an address or a URL, put into refusals."""


class Case(Value):
    """One message as it is judged: made once, judged as often as its DNS answers or its circumstances change, and made
    again from its trace."""

    ingress: Ingress
    envelope: Envelope
    evidence: Evidence
    header: tuple[Field, ...]
    """`evidence.header`, parsed."""
    author: Author
    received: float
    """Epoch seconds; the time that the verdicts are made at."""
    circumstances: Circumstances = NOTHING_REMEMBERED

    @classmethod
    def of(
        cls,
        ingress: Ingress,
        envelope: Envelope,
        evidence: Evidence,
        received: float,
        circumstances: Circumstances = NOTHING_REMEMBERED,
        header: tuple[Field, ...] | None = None,
    ) -> Case:
        """Of its parts; `header` where the caller has parsed it."""
        if header is None:
            header = parse_header(evidence.header)
        return cls(ingress, envelope, evidence, header, find_author(header), received, circumstances)


class Weighed(Value):
    """The conclusions about one message."""

    own: frozenset[str]
    """The own domains that the authors are in."""
    protected: frozenset[str]
    vouched: bool
    """The owner of each of these stands behind the message."""
    sender_unproven: bool
    """Sender names a domain of ours or a protected one, and nothing passes for it."""
    sender: str
    """The named sender that may write as them; empty when there is none."""
    forwarder: str
    signature: str
    """`none`, `pass` or `broken`: the signatures of the author's organization."""
    signed_header: bool
    """The author's organization signed this header and nothing was added to it: only the body was changed."""
    chain: str
    """The ARC chain of a trusted sealer; empty when there is none."""
    listed: str
    """The field of a plausible mailing list; empty when there is none."""
    signed_list: bool
    """The list named by List-Id signs."""
    notification: str
    """The sign that it is a report or an automatic answer; empty when it is neither."""
    own_half: str
    """The reason why it is mail of our own tenant at a provider; empty when it is not."""
    evidence: tuple[Finding, ...]
    """For an indirect way."""
    added: tuple[Finding, ...]
    """Fields above those that the author's signatures cover."""
    grounds: tuple[Finding, ...]
    """For rejecting, beyond the published record (RFC 9989 section 7.4)."""


def weigh(case: Case, authentication: Authentication, settings: FactSettings) -> Weighed:
    """Weigh one message."""
    ingress, envelope, header, author, circumstances = (
        case.ingress,
        case.envelope,
        case.header,
        case.author,
        case.circumstances,
    )
    dmarc = authentication.dmarc
    own, protected = find_zones(author.domains, settings.own), find_zones(author.domains, settings.protected)
    vouched = is_vouched(own | protected, author.domains, authentication)
    # When our own domain is at stake, a key that is gone from DNS is no evidence, and a list must prove itself.
    seen, known = ((), ()) if own or protected else (circumstances.selectors_seen, circumstances.client_known)
    signature = author_signature(dmarc.domain, dmarc.organizational_domain, authentication.dkim, seen)
    passing = [one.domain for one in authentication.dkim if one.result is DkimVerdict.PASS]
    listed = find_list(header, authentication, signature, known)
    notification = find_notification(envelope, header, author)
    unproven, sender, forwarder, own_half = False, "", "", ""
    evidence = grounds = _NO_FINDINGS
    if isinstance(ingress, EdgeIngress):
        agents = find_domains(header, "sender")
        unproven = _is_unproven(agents, ingress, passing, authentication, settings)
        if own or protected:
            sender = find_source(settings.senders, ingress.client, passing, author.domains)
            own_half = find_own_half(header, envelope, authentication, own, notification)
        forwarder = find_source(settings.forwarders, ingress.client, passing, author.domains)
        said = {"list": listed, "sender": find_agent(agents, authentication)}
        evidence = indirect_evidence(ingress, header, authentication, signature, said, settings.relays)
        claimed = () if vouched or sender else _claimed(own, protected)
        grounds = (*claimed, *_suspected(authentication, signature, evidence, circumstances)) if ingress.client else ()
    return Weighed(
        own=own,
        protected=protected,
        vouched=vouched,
        sender_unproven=unproven,
        sender=sender,
        forwarder=forwarder,
        signature=signature,
        signed_header=signature == "broken" and signed_header(header, authentication),
        chain=find_trusted(header, authentication.arc, author, settings.trusted_sealers),
        listed=listed,
        signed_list=bool(listed) and is_signed_list(header, authentication),
        notification=notification,
        own_half=own_half,
        evidence=evidence,
        added=added_fields(header, authentication) if any(dmarc.dkim_aligned) else (),
        grounds=grounds,
    )


def _is_unproven(
    agents: Sequence[str],
    ingress: EdgeIngress,
    passing: Collection[str],
    authentication: Authentication,
    settings: FactSettings,
) -> bool:
    """Sender, which mail programs show beside From (RFC 5322 section 3.6.2), names an own or a protected domain without
    proof of it. `agents` are the domains that it names."""
    claimed = find_zones(agents, settings.own | settings.protected) if agents else ()
    if not claimed or _passes_for(claimed, authentication):
        return False
    return not find_source(settings.senders, ingress.client, passing, claimed)


def _claimed(own: Collection[str], protected: Collection[str]) -> list[Finding]:
    claimed = ((OWN_DOMAIN, own), (PROTECTED, protected))
    return [Finding(ground, f"From is at {', '.join(sorted(zones))}") for ground, zones in claimed if zones]


def _suspected(
    authentication: Authentication, signature: str, evidence: Sequence[Finding], circumstances: Circumstances
) -> list[Finding]:
    """The signs that distinguish a forgery from mail that only took an indirect way. A temperror may still turn out to
    be a fail."""
    dmarc, spf = authentication.dmarc, authentication.spf
    if dmarc.result not in (DmarcVerdict.FAIL, DmarcVerdict.TEMPERROR) or dmarc.authenticated or dmarc.spf_aligned:
        return []
    found = []
    # A record that cannot be evaluated is the domain's own mistake, and affects its genuine mail.
    own_error = spf.result is SpfVerdict.PERMERROR and same_organization(
        spf.domain, dmarc.domain, dmarc.organizational_domain
    )
    if not evidence and not own_error:
        said = f"SPF {spf.result} for {spf.domain or 'no domain'}, nothing signed by {dmarc.domain}, no earlier hop"
        found.append(Finding(DIRECT_SPOOF, said))
    # A list header, a hop or an ARC set is easily forged. A signature of the author's, even broken, is typical of mail
    # changed on its way. A client that has sent passing mail of others is not a stranger: lists and forwarders do that.
    if circumstances.standing is Standing.STRANGER and signature == "none" and not circumstances.client_known:
        said = f"mail of {dmarc.domain} is known to pass here, never from there, and nothing else from there"
        found.append(Finding(STRANGE_SOURCE, said))
    return found


def find_zones(domains: Collection[str], zones: Collection[str]) -> frozenset[str]:
    """The widest zone of each domain that is in any zone."""
    found = set()
    for domain in domains:
        widest = ""
        at = domain
        while at:
            widest = at if at in zones else widest
            at = parent(at)
        if widest:
            found.add(widest)
    return frozenset(found)


@lru_cache(maxsize=4096)
def is_within(domain: str, zones: frozenset[str]) -> bool:
    """The domain is one of the zones or below one. Cached, because each message asks about the same names."""
    return bool(find_zones((domain,), zones))


@lru_cache(maxsize=4096)
def find_lookalike(domain: str, zones: frozenset[str]) -> str:
    """The zone whose owner a reader takes the domain's owner for: the names of both look alike and are not the same,
    whatever stands behind them. Empty when the domain is in a zone, or resembles none."""
    name = _name_of(domain)
    if len(name) < _SHORTEST_NAME or is_within(domain, zones):
        return ""
    look = look_of(name)
    alike = (zone for zone in sorted(zones) if look == look_of(_name_of(zone)) and name != _name_of(zone))
    return next(alike, "")


def _name_of(domain: str) -> str:
    """The part that an owner has chosen: the first label of the organization's domain."""
    return organization_of(domain).partition(".")[0]


def is_vouched(zones: Collection[str], authors: Collection[str], authentication: Authentication) -> bool:
    """The owner of each zone stands behind the message.

    DMARC decides that when it could judge. When it could not, because there is no record or From has several domains,
    the passing identifiers are checked in the same way, with the default alignment of RFC 9989.
    """
    dmarc = authentication.dmarc
    if not zones:
        return False
    if len(authors) == 1 and dmarc.result in (DmarcVerdict.PASS, DmarcVerdict.FAIL, DmarcVerdict.TEMPERROR):
        return dmarc.authenticated
    if dmarc.result is DmarcVerdict.TEMPERROR and not dmarc.authenticated:
        return False
    return _passes_for(zones, authentication)


def _passes_for(zones: Collection[str], authentication: Authentication) -> bool:
    """SPF or a signature passes for each of the zones."""
    passing = [one.domain for one in authentication.dkim if one.result is DkimVerdict.PASS]
    if authentication.spf.result is SpfVerdict.PASS:
        passing.append(authentication.spf.domain)
    return all(any(is_subdomain(signer, zone) for signer in passing) for zone in zones)
