"""Grounds for rejecting a message beyond the published record, and the evidence against it.

RFC 9989 section 7.4 forbids rejecting on p=reject alone, because mail that took an indirect way fails DMARC without
being forged. So each piece of evidence for an indirect way is searched for, and a ground exists only without such
evidence. Evidence counts when it is plausible: a signature whose key exists, a seal that verifies, a hop with a public
address, a list that signs or is known here, a sender on the author's behalf that signs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from gateway.mail.domain import a_label, is_subdomain, organization_of
from gateway.mail.header import Field, fields, find_fields, unfold
from gateway.mail.received import is_named
from gateway.model.decision import Finding
from gateway.model.envelope import IPText, ip_text, is_special, network_of, parse_ip
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import NO_KEY, REVOKED, ArcVerdict, Authentication, DkimResult, DkimVerdict, SpfVerdict
from gateway.model.value import Value

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


class Source(Value):
    """A named service or machine. One proof is enough: a passing signature, or the true client's address."""

    name: str
    dkim: frozenset[str] = frozenset()
    """d= of its signatures."""
    networks: Networks = ()
    domains: frozenset[str] = frozenset()
    """The author domains that it may write for, with all their subdomains; every domain when empty."""

    def is_behind(self, client: IPText | None, passing: Collection[str]) -> bool:
        """`passing` are the d= of the signatures that pass."""
        return not self.dkim.isdisjoint(passing) or (client is not None and contains(self.networks, client))

    def stands_for(self, authors: Collection[str]) -> bool:
        return not self.domains or all(any(is_subdomain(one, zone) for zone in self.domains) for one in authors)


def find_source(
    sources: Sequence[Source], client: IPText | None, passing: Collection[str], authors: Collection[str]
) -> str:
    """The name of the first source behind a message of these author domains; empty when there is none."""
    for source in sources:
        if source.is_behind(client, passing) and source.stands_for(authors):
            return source.name
    return ""


def find_networks(networks: Mapping[str, Networks], client: IPText | None) -> list[str]:
    """The names of the networks that hold the client."""
    if client is None:
        return []
    return [name for name, ranges in networks.items() if contains(ranges, client)]


def contains(networks: Networks, client: IPText) -> bool:
    """True when a network holds the address. The two families never match each other."""
    address = parse_ip(client)
    return any(address in network for network in networks)


@lru_cache(maxsize=2048)
def is_in(networks: frozenset[IPv4Network | IPv6Network], client: IPText) -> bool:
    """`contains`, cached: a session asks it with each message."""
    return contains(tuple(networks), client)


OWN_DOMAIN = "own-domain"
PROTECTED = "protected"
DIRECT_SPOOF = "direct-spoof"
STRANGE_SOURCE = "strange-source"
GROUNDS = (OWN_DOMAIN, PROTECTED, DIRECT_SPOOF, STRANGE_SOURCE)

ADDED_FIELD = "added-field"

AUTHOR_SIGNATURE = "author-signature"
EVIDENCE = (AUTHOR_SIGNATURE, "list", "sender", "earlier-hop", "arc")
"""Each piece is evidence for an indirect way. None ever accepts by itself."""

_ONCE = (
    *("subject", "date", "to", "cc", "bcc", "sender", "reply-to", "message-id", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"),
)
_SHOWN = frozenset({"subject", "date", "to", "cc"})
"""Fields that every mail program shows beside From, and that no list adds."""
_MOST_RECEIVED = 60
_MOST_OCTETS = 2000
_MOST_SAID = 300
_BY = re.compile(r"(?:^|\s)by\s+(?P<by>[^\s;()]+)", re.IGNORECASE)
_ORIGIN = re.compile(r"\s*from\s+(?P<origin>.*?)\sby\s", re.IGNORECASE | re.DOTALL)
_FROM_PERSON = re.compile(r"\swith\s+(?:(?:E?SMTP|UTF8SMTP|LMTP)S?A|HTTPS?)(?:[\s;]|$)", re.IGNORECASE)
_SAID = re.compile(r"\b(?:[HE][EH]LO[ =]|ident=)\s*[^\s)]+", re.IGNORECASE)
"""The client's HELO name, as qmail (`HELO x`) and Exim (`helo=x`) mark it: never an address that the server saw."""
_ADDRESS = re.compile(
    r"(?<![\w.:-])(?:IPv6:)?(\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:[.\d]{6,12})?)"
    r"(?![\w.-])",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+")
_KEYLESS = ("signature field is longer", "too many signatures")
"""Prefixes of the reasons of signatures that were never checked against a key."""


def author_signature(domain: str, organization: str, results: Sequence[DkimResult], seen: Collection[str] = ()) -> str:
    """`pass`, `broken` or `none`: the state of the signatures of the author's organizational domain."""
    theirs = [one for one in results if one.domain and same_organization(one.domain, domain, organization)]
    if any(one.result is DkimVerdict.PASS for one in theirs):
        return "pass"
    had_key = any(_has_key(one) or (seen and _lacks_key(one) and one.key_name in seen) for one in theirs)
    return "broken" if had_key else "none"


def signed_header(header: Sequence[Field], authentication: Authentication) -> bool:
    """The author's organization did sign this header, with everything that a reader sees: only the body was changed
    since."""
    dmarc, present = authentication.dmarc, {field.lower for field in header}
    return any(
        present.intersection(_SHOWN) <= set(one.signed_fields) and not _find_open(header, [one.signed_fields])
        for one in authentication.dkim
        if one.header_holds and one.domain and same_organization(one.domain, dmarc.domain, dmarc.organizational_domain)
    )


def _has_key(result: DkimResult) -> bool:
    """The signature was checked against a key in DNS."""
    return result.result is DkimVerdict.FAIL or (
        result.result is DkimVerdict.POLICY and not result.reason.startswith(_KEYLESS)
    )


def _lacks_key(result: DkimResult) -> bool:
    """DNS has no key for it, or one that was withdrawn."""
    return result.result is DkimVerdict.PERMERROR and result.reason in (NO_KEY, REVOKED)


def find_seen(results: Sequence[DkimResult], selectors: Collection[str]) -> tuple[str, ...]:
    """The missing keys of signatures that are among `selectors`."""
    return tuple(dict.fromkeys(one.key_name for one in results if _lacks_key(one) and one.key_name in selectors))


def same_organization(signer: str, domain: str, organization: str) -> bool:
    """Both belong to one organization: the one that DMARC found, or, without one, as far as the names show."""
    if organization and is_subdomain(domain, organization):
        return is_subdomain(signer, organization)
    return is_subdomain(signer, domain) or ("." in signer and is_subdomain(domain, signer))


def added_fields(header: Sequence[Field], authentication: Authentication) -> tuple[Finding, ...]:
    """Fields that RFC 5322 section 3.6 allows once, with one more above those that every aligned signature covers, as a
    field or as a line that some software reads as one. Anyone can have added it, and mail programs show it (RFC 6376
    section 8.15). Empty when SPF is aligned too, because then the pass does not depend on the signatures."""
    dmarc = authentication.dmarc
    if dmarc.spf_aligned:
        return ()
    pairs = zip(authentication.dkim, dmarc.dkim_aligned, strict=True)
    covered = [one.signed_fields for one, aligned in pairs if aligned]
    return tuple(Finding(ADDED_FIELD, name) for name in _find_open(header, covered))


def _find_open(header: Sequence[Field], covered: Sequence[Sequence[str]]) -> list[str]:
    """The names for which some of these signatures cover a field, but none covers all. A line that only some software
    reads as a field of that name is covered by none."""
    names = [field.lower for field in header]
    junk = [field for field in header if not field.lower]
    found = []
    for name in _ONCE:
        count = names.count(name)
        if count < 2 and not junk:
            continue
        hidden = find_fields(junk, name)[1]
        open_to_all = hidden or (count > 1 and all(signed.count(name) < count for signed in covered))
        if open_to_all and any(name in signed for signed in covered):
            found.append(name)
    return found


def indirect_evidence(
    ingress: EdgeIngress,
    header: Sequence[Field],
    authentication: Authentication,
    signature: str,
    said: Mapping[str, str],
    relays: Collection[str],
) -> tuple[Finding, ...]:
    """The members of `EVIDENCE` that the message carries, in that order. `said` are its plausible claims, of a list and
    of a sender on the author's behalf; `relays` are the names that our own listed relays write after `by`."""
    arc = authentication.arc
    found = {
        AUTHOR_SIGNATURE: "" if signature == "none" else f"a signature of the author's organization: {signature}",
        **said,
        "earlier-hop": _earlier_hop(ingress, header, authentication, relays),
        # Anyone can write a chain that does not verify.
        "arc": f"ARC sealed by {', '.join(arc.sealers)}" if arc.result is ArcVerdict.PASS else "",
    }
    return tuple(Finding(name, found[name][:_MOST_SAID]) for name in EVIDENCE if found[name])


def _earlier_hop(
    ingress: EdgeIngress, header: Sequence[Field], authentication: Authentication, relays: Collection[str]
) -> str:
    """The earlier machine outside the client's own domain that handled the message, according to its trace; empty when
    there is none."""
    own = {organization_of(name) for name in _client_names(ingress, authentication)}
    lines = [unfold(field.value)[:_MOST_OCTETS] for field in fields(header, "received")[:_MOST_RECEIVED]]
    walked = ingress.source is ClientSource.RECEIVED
    while walked and lines and (by := _BY.search(lines[0])) and is_named(by["by"], relays):
        # A line by our own relay describes the client, not a hop before it.
        lines.pop(0)
    found = next(filter(None, (_read_origin(line, ingress.client, own) for line in lines)), "")
    return f"Received tells of {found}" if found else ""


def _client_names(ingress: EdgeIngress, authentication: Authentication) -> Iterator[str]:
    """The names of the client. The MAIL FROM domain is one of them only when SPF passes for it: a forwarder that keeps
    MAIL FROM is not the sender's machine."""
    for name in (ingress.rdns, ingress.helo):
        if _NAME.fullmatch(name):
            yield name.lower()
    if authentication.spf.result is SpfVerdict.PASS and authentication.spf.domain:
        yield authentication.spf.domain


def _read_origin(line: str, client: IPText | None, own: Collection[str]) -> str:
    """The machine that a line names as its origin, unless it is the client's own: the public address that a server
    writes into the `from` part. Names alone are the other side's own claim (RFC 5321 section 4.4)."""
    found = _ORIGIN.match(line)
    if found is None or _FROM_PERSON.search(line):
        # RFC 3848: an authenticated client is a person's program, not a relay.
        return ""
    first, _, rest = _SAID.sub(" ", found["origin"]).partition("(")
    # The address that the server saw stands in the parentheses. Without any, Exim writes it in front of them.
    addresses = _ADDRESS.findall(rest) or _ADDRESS.findall(first)
    address = _read_public(addresses[-1]) if addresses else None
    if address is None or (client is not None and network_of(address) == network_of(client)):
        return ""
    name = _host_name(rest.partition(" ")[0]) or _host_name(first.strip().partition(" ")[0])
    return "" if name and organization_of(name) in own else f"{name} [{address}]".strip()


def _read_public(text: str) -> IPText | None:
    try:
        address = ip_text(text)
    except ValueError:
        return None
    return None if is_special(address) else address


def _host_name(text: str) -> str:
    """The name, if it can be a machine in DNS; empty for address literals, single labels and junk."""
    name = text.strip("<>,[]()").rstrip(".")
    top = name.rpartition(".")[2].lower()
    if not _NAME.fullmatch(name) or top.isdigit():
        return ""
    return a_label(name) or ""
