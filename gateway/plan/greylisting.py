"""Greylisting: the key of a sender, whether it has waited, and the memory of it. Off by default."""

from __future__ import annotations

from collections.abc import Collection

from gateway.mail.domain import is_subdomain
from gateway.model.decision import Action
from gateway.model.envelope import Envelope, network_of
from gateway.model.history import Acquaintance, Greylisting, Sighting, Wait
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.result import ArcVerdict, Authentication, DkimVerdict, DmarcVerdict, SpfVerdict
from gateway.model.value import Value
from gateway.policy.routing import is_role
from gateway.policy.weighing import FactSettings, find_zones, is_vouched

LONGEST = 4 * 3600.0
"""Seconds of waiting, after which such mail is judged without the answer."""
_REMEMBERED = 8 * 3600.0
"""Seconds for which a wait is remembered after its last message: longer than a sender's usual interval between
tries."""


def find_wait_key(domain: str, network: str) -> str:
    """The key of a wait, beside the greylist's own entries."""
    return f"dns {domain} {network}"


def join_wait(key: str, known: Acquaintance | None, now: float) -> Wait:
    """The wait that a message belongs to: the one under way, or a new one."""
    return Wait(key, known.first if known is not None and known.expires > now else now)


def is_over(wait: Wait, now: float) -> bool:
    return now - wait.begun >= LONGEST


def remember_wait(wait: Wait | None, now: float) -> Acquaintance | None:
    """The entry stored about the wait with the message."""
    return Acquaintance(wait.key, wait.begun, False, now + _REMEMBERED) if wait is not None else None


def sight(ingress: Ingress, results: Authentication, settings: FactSettings) -> Sighting | None:
    """The entry for the memory of senders. None when nothing can be learnt: the message is internal, its client's
    address is unknown, an answer of DNS about it is missing, or its domain is not ours and publishes no DMARC
    policy."""
    dmarc = results.dmarc
    if not isinstance(ingress, EdgeIngress) or ingress.client is None or not dmarc.domain:
        return None
    zones = find_zones((dmarc.domain,), settings.own | settings.protected)
    if dmarc.result not in (DmarcVerdict.PASS, DmarcVerdict.FAIL) and not (zones and dmarc.result is DmarcVerdict.NONE):
        return None
    passed = is_vouched(zones, (dmarc.domain,), results) if zones else dmarc.result is DmarcVerdict.PASS
    organization = dmarc.organizational_domain or dmarc.domain
    passing = [one for one in results.dkim if one.result is DkimVerdict.PASS]
    others = (one.domain for one in passing if not is_subdomain(one.domain, organization))
    theirs = (one.key_name for one in passing if is_subdomain(one.domain, organization))
    name = ingress.rdns or ingress.helo
    return Sighting(
        zone=min(zones, key=len) if zones else organization,
        domain=dmarc.domain,
        source=network_of(ingress.client),
        signer=next(others, ""),
        name=name[:255],
        passed=passed,
        ours=bool(zones),
        selector=next(theirs, ""),
    )


def find_signers(results: Authentication) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The domains that answer for a message that DMARC fails: d= of its passing signatures, and d= of the last seal of
    a chain that verifies. They are never the author's own, because DMARC would then pass."""
    passing = dict.fromkeys(one.domain for one in results.dkim if one.result is DkimVerdict.PASS)
    sealers = results.arc.sealers[-1:] if results.arc.result is ArcVerdict.PASS else ()
    return tuple(passing), sealers


_MOST_CHARACTERS = 320
"""Of a key: no path is longer (RFC 5321 section 4.5.3.1)."""


class GreylistTerms(Value):
    """The times of greylisting, in seconds."""

    delay: float
    """Between the first try and acceptance."""
    retry: float
    """Lifetime of a first try."""
    keep: float
    """Lifetime of an accepted sender, from its last message on."""


def find_key(ingress: Ingress, envelope: Envelope, results: Authentication, own: Collection[str] = ()) -> str | None:
    """The key of the sender; None when it is not greylisted: from inside, to a role address of our `own` domains, or
    from an unknown client.

    An authenticated domain comes first: the large providers send each retry from another network, and are recognised by
    it (SPEC section 2). Without one the key is the client's network and the sender, because anyone can write any name.
    """
    role = bool(envelope.rcpts) and all(is_role(rcpt.mailbox, own) for rcpt in envelope.rcpts)
    if role or not isinstance(ingress, EdgeIngress):
        return None
    domain = _find_domain(results)
    if domain:
        return f"domain {domain}"
    if ingress.client is None:
        return None
    return f"network {network_of(ingress.client)} {envelope.mail_from or '<>'}"[:_MOST_CHARACTERS]


def _find_domain(results: Authentication) -> str:
    """The domain that answers for the message: the author's, else a signer's, else that of the return path."""
    if results.dmarc.authenticated:
        return results.dmarc.organizational_domain or results.dmarc.domain
    for one in results.dkim:
        if one.result is DkimVerdict.PASS:
            return one.domain
    return results.spf.domain if results.spf.result is SpfVerdict.PASS else ""


def greylist(key: str, known: Acquaintance | None, now: float, terms: GreylistTerms) -> Greylisting:
    """The greylist's result for a message of this sender. `known` is the stored entry."""
    if known is None or known.expires <= now:
        return Greylisting(key, now, wait=True)
    return Greylisting(key, known.first, wait=not known.passed and now - known.first < terms.delay)


def remember(
    greylisting: Greylisting | None, action: Action, now: float, terms: GreylistTerms | None
) -> Acquaintance | None:
    """The entry stored with the reception; None when there is none, because refused mail teaches nothing."""
    if greylisting is None or terms is None or not (action is Action.GREYLIST or action.delivers):
        return None
    passed = action.delivers
    expires = now + terms.keep if passed else greylisting.first + terms.retry
    return Acquaintance(greylisting.key, greylisting.first, passed, expires)
