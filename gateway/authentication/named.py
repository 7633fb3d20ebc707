"""DNS checks of the domains that an unauthenticated message names: whether they exist, whether they have mail at all,
and for an author of ours whether its SPF record lists the client.

A proven domain is known to exist. So an authenticated message costs no lookup here.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView
from gateway.mail.domain import is_subdomain
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.envelope import Envelope, Mailbox
from gateway.model.ingress import EdgeIngress
from gateway.model.result import (
    Authentication,
    DkimVerdict,
    DmarcPolicy,
    DmarcVerdict,
    DomainState,
    NamedDomains,
    SpfIdentity,
    SpfVerdict,
)

LOCAL_NAMES = frozenset({"local", "localdomain", "localhost", "lan", "home", "internal", "intranet", "corp", "invalid"})
"""Top labels of machines inside some network, which DNS does not know."""
NOTHING_ASKED = NamedDomains()
_FOLLOWED = (DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT)


def evaluate(
    ingress: EdgeIngress, envelope: Envelope, results: Authentication, own: Collection[str], window: DnsView, host: str
) -> NamedDomains:
    """Check MAIL FROM and the author. `own` are our domains, `host` is our own name. Raises NeedAnswers with all
    questions noted."""
    sender = envelope.mail_from.ascii_domain if envelope.mail_from else ""
    author, dmarc = results.dmarc.domain, results.dmarc
    if ingress.client is None or dmarc.result is DmarcVerdict.PASS:
        return NOTHING_ASKED
    proven = results.spf.result is SpfVerdict.PASS
    unproven = [] if proven or not sender else [sender]
    # If the author's policy is followed, there is nothing to add to it.
    follows = dmarc.result is DmarcVerdict.FAIL and dmarc.policy in _FOLLOWED
    if author and not follows and not _stands_behind(author, results):
        unproven.append(author)
    for name in unproven:
        _peek(name, window)
    ours = dmarc.result is DmarcVerdict.FAIL and any(is_subdomain(author, zone) for zone in own)
    listed = _ask_spf(ingress, author, window, host) if ours else None
    states = {name: _find_state(name, window) for name in dict.fromkeys(unproven)}
    unknown = DomainState.UNKNOWN
    return NamedDomains(
        envelope=states.get(sender, unknown) if not proven else unknown,
        author=states.get(author, unknown) if author in unproven else unknown,
        author_silent=author in unproven and _is_silent(author, states[author], window),
        author_spf=listed,
    )


def _stands_behind(author: str, results: Authentication) -> bool:
    """The author's domain, or one above or below it, is proven, though it publishes no policy."""
    passing = [one.domain for one in results.dkim if one.result is DkimVerdict.PASS]
    if results.spf.result is SpfVerdict.PASS:
        passing.append(results.spf.domain)
    return any(is_subdomain(one, author) or ("." in one and is_subdomain(author, one)) for one in passing)


def _is_local(name: str) -> bool:
    return "." not in name or name.startswith("[") or name.rpartition(".")[2] in LOCAL_NAMES


def _peek(name: str, window: DnsView) -> None:
    if not _is_local(name):
        for type in ("TXT", "MX", "A"):
            window.peek(Question(name, type))


def _find_state(name: str, window: DnsView) -> DomainState:
    if _is_local(name):
        return DomainState.LOCAL
    text, exchanges, address = window.ask_all(Question(name, type) for type in ("TXT", "MX", "A"))
    if DnsStatus.NXDOMAIN in (text.status, exchanges.status, address.status):
        return DomainState.MISSING
    if exchanges.failed:
        return DomainState.UNKNOWN
    if exchanges.records:
        return DomainState.NULL_MX if all(map(_is_null, exchanges.records)) else DomainState.EXISTS
    if not address.records:
        address = window.ask(Question(name, "AAAA"))
    if address.failed:
        return DomainState.UNKNOWN
    return DomainState.EXISTS if address.records else DomainState.NO_MAIL


def _is_null(record: str) -> bool:
    return record.partition(" ")[2].strip() in ("", ".")


def _is_silent(name: str, state: DomainState, window: DnsView) -> bool:
    """The domain declares that it sends no mail. RFC 7505 concerns accepting mail, but a domain that accepts none sends
    none."""
    if state is DomainState.NULL_MX:
        return True
    known: Answer | None = None if state is DomainState.LOCAL else window.peek(Question(name, "TXT"))
    records = [record.lower().split() for record in known.records] if known else []
    return [record for record in records if record[:1] == ["v=spf1"]] == [["v=spf1", "-all"]]


def _ask_spf(ingress: EdgeIngress, author: str, window: DnsView, host: str) -> SpfVerdict:
    """The result of the author's own SPF record for the client, regardless of MAIL FROM. Raises NeedAnswers."""
    return spf.evaluate(ingress, Mailbox("postmaster", author, author), SpfIdentity.MAILFROM, window, host).result
