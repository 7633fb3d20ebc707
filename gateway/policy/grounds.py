"""What speaks for rejecting a message beyond the published record, and what speaks against.

RFC 9989 section 7.4 forbids rejecting on p=reject alone, because mail that took an indirect way fails DMARC without
being forged. So each piece of evidence for an indirect way is looked for, and a ground is only what is left without.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from gateway.mail.domain import a_label, is_subdomain
from gateway.mail.header import Field, fields, unfold
from gateway.mail.received import is_named
from gateway.model.decision import Finding
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import ArcVerdict, Authentication, DkimResult, DkimVerdict, SpfVerdict

OWN_DOMAIN = "own-domain"
PROTECTED = "protected"
DIRECT_SPOOF = "direct-spoof"
STRANGE_SOURCE = "strange-source"
GROUNDS = (OWN_DOMAIN, PROTECTED, DIRECT_SPOOF, STRANGE_SOURCE)

ADDED_FIELD = "added-field"

EVIDENCE = ("author-signature", "list", "earlier-hop", "arc")
"""Each speaks for an indirect way. None ever accepts by itself."""

_LIST_FIELDS = frozenset(
    {
        # RFC 2919, RFC 2369, and what list managers wrote before. List-Unsubscribe and List-Help are left out: every
        # bulk sender writes them on mail of his own, so they say nothing about a list in between.
        *("list-id", "list-post", "list-owner", "list-archive", "list-subscribe"),
        *("mailing-list", "x-mailing-list", "x-beenthere", "x-mailman-version"),
    }
)
_ONCE = (
    *("subject", "date", "to", "cc", "bcc", "sender", "reply-to", "message-id", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"),
)
_MOST_RECEIVED = 60
_MOST_OCTETS = 2000
_MOST_SAID = 300
_FROM = re.compile(r"from\s+(?P<helo>[^\s;()]+)(?:\s*\((?P<inside>[^()]{0,500})\))?", re.IGNORECASE)
_BY = re.compile(r"(?:^|\s)by\s+(?P<by>[^\s;()]+)", re.IGNORECASE)
_FROM_PERSON = re.compile(r"\swith\s+(?:(?:E?SMTP|UTF8SMTP|LMTP)S?A|HTTPS?)(?:[\s;]|$)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+")
_NOT_IN_DNS = frozenset({"local", "localdomain", "localhost", "lan", "home", "internal", "intranet", "corp", "invalid"})
"""Top labels of machines inside some network: they tell nothing of a machine that relays."""
_PUBLIC_SECOND = frozenset({"ac", "co", "com", "edu", "gob", "gouv", "gov", "gv", "mil", "ne", "net", "or", "org"})


def author_signature(domain: str, organization: str, results: Sequence[DkimResult]) -> str:
    """`pass`, `broken` or `none`: what became of the signatures of the author's organizational domain.

    A broken one is what a changed message looks like, so it speaks for an indirect way (incident 1b).
    """
    theirs = [one for one in results if one.domain and same_organization(one.domain, domain, organization)]
    if any(one.result is DkimVerdict.PASS for one in theirs):
        return "pass"
    return "broken" if theirs else "none"


def same_organization(signer: str, domain: str, organization: str) -> bool:
    """Both are of one organization: the one that DMARC found, or, without one, as far as the names tell."""
    if organization and is_subdomain(domain, organization):
        return is_subdomain(signer, organization)
    return is_subdomain(signer, domain) or ("." in signer and is_subdomain(domain, signer))


def added_fields(header: Sequence[Field], authentication: Authentication) -> tuple[Finding, ...]:
    """Fields that RFC 5322 section 3.6 allows once, and of which one more stands above what every aligned signature
    covers: anyone can have put it there, and mail programs show it (RFC 6376 section 8.15). None where SPF is aligned
    too, because then the pass does not rest on the signatures."""
    dmarc = authentication.dmarc
    if dmarc.spf_aligned:
        return ()
    names = [field.lower for field in header]
    repeated = [name for name in _ONCE if names.count(name) > 1]
    if not repeated:
        return ()
    pairs = zip(authentication.dkim, dmarc.dkim_aligned, strict=True)
    covered = [one.signed_fields for one, aligned in pairs if aligned]
    return tuple(
        Finding(ADDED_FIELD, name)
        for name in repeated
        if all(signed.count(name) < names.count(name) for signed in covered)
        and any(name in signed for signed in covered)
    )


def list_evidence(header: Sequence[Field]) -> str:
    """By which field a mailing list says that it was here; empty when none does."""
    for field in header:
        if field.lower in _LIST_FIELDS:
            return f"field {field.lower}"
        if field.lower == "precedence" and unfold(field.value[:_MOST_OCTETS]).strip().lower() == "list":
            return "field precedence"
    return ""


def indirect_evidence(
    ingress: EdgeIngress,
    header: Sequence[Field],
    authentication: Authentication,
    signature: str,
    relays: Collection[str],
) -> tuple[Finding, ...]:
    """Which of `EVIDENCE` the message carries, in that order. `relays` are the names that our own listed relays
    write after `by`."""
    sealers = ", ".join(authentication.arc.sealers) or "nobody readable"
    found = {
        "author-signature": "" if signature == "none" else f"a signature of the author's organization: {signature}",
        "list": list_evidence(header),
        "earlier-hop": _earlier_hop(ingress, header, authentication, relays),
        "arc": "" if authentication.arc.result is ArcVerdict.NONE else f"ARC sealed by {sealers}",
    }
    return tuple(Finding(name, found[name][:_MOST_SAID]) for name in EVIDENCE if found[name])


def _earlier_hop(
    ingress: EdgeIngress, header: Sequence[Field], authentication: Authentication, relays: Collection[str]
) -> str:
    """The earlier machine outside the client's own domain that handled the message, as its trace says; empty when there
    is none."""
    own = {_organization(name) for name in _client_names(ingress, authentication)}
    lines = [unfold(field.value)[:_MOST_OCTETS] for field in fields(header, "received")[:_MOST_RECEIVED]]
    walked = ingress.source is ClientSource.RECEIVED
    while walked and lines and (by := _BY.search(lines[0])) and is_named(by["by"], relays):
        # What our own relay wrote tells of the client, not of a hop before it.
        lines.pop(0)
    names = (name for line in lines for name in _hop_names(line) if _organization(name) not in own)
    name = next(names, "")
    return f"Received tells of {name}" if name else ""


def _client_names(ingress: EdgeIngress, authentication: Authentication) -> Iterator[str]:
    """The names the client goes by. The MAIL FROM domain is among them only where SPF says so: a forwarder that
    leaves MAIL FROM as it was is no machine of the sender's."""
    for name in (ingress.rdns, ingress.helo):
        if _NAME.fullmatch(name):
            yield name.lower()
    if authentication.spf.result is SpfVerdict.PASS and authentication.spf.domain:
        yield authentication.spf.domain


def _hop_names(line: str) -> Iterator[str]:
    """Names of the machines that one Received line tells of (RFC 5321 section 4.4)."""
    by = _BY.search(line)
    if by and (name := _host_name(by["by"])):
        yield name
    origin = _FROM.match(line.lstrip())
    if not origin or _FROM_PERSON.search(line):
        # RFC 3848: whoever logged in is a person's program, not a machine that relays.
        return
    for text in (origin["helo"], (origin["inside"] or "").partition(" ")[0]):
        if name := _host_name(text):
            yield name


def _host_name(text: str) -> str:
    """The name when it is one of a machine in DNS; empty for address literals, single labels and junk."""
    name = text.strip("<>,").rstrip(".")
    top = name.rpartition(".")[2].lower()
    if not _NAME.fullmatch(name) or top.isdigit() or top in _NOT_IN_DNS:
        return ""
    return a_label(name) or ""


def _organization(name: str) -> str:
    """The registered part of a host name, by its looks: verdicts do not rest on it, it only tells hops apart."""
    labels = name.rsplit(".", 3)
    wide = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _PUBLIC_SECOND
    return ".".join(labels[-3:] if wide else labels[-2:])
