"""Greylisting: by what a sender is known, whether it has waited, and what is remembered of it. Off by default."""

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
"""Seconds; then such mail is judged without the answer."""
_REMEMBERED = 8 * 3600.0
"""Seconds after the last message that waited: more than a sender lets pass between two tries."""


def find_wait_key(domain: str, network: str) -> str:
    """By what a wait is remembered, beside what the greylist remembers."""
    return f"dns {domain} {network}"


def join_wait(key: str, known: Acquaintance | None, now: float) -> Wait:
    """The wait that a message falls into: the one under way, or its own."""
    return Wait(key, known.first if known is not None and known.expires > now else now)


def is_over(wait: Wait, now: float) -> bool:
    return now - wait.begun >= LONGEST


def remember_wait(wait: Wait | None, now: float) -> Acquaintance | None:
    """What is stored of it with the message."""
    return Acquaintance(wait.key, wait.begun, False, now + _REMEMBERED) if wait is not None else None


def sight(ingress: Ingress, results: Authentication, settings: FactSettings) -> Sighting | None:
    """None when nothing can be learnt: it came from inside or from an unknown address, or what DNS would say of it is
    not known, or its domain is none of ours and publishes no DMARC policy."""
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
    """Who answers for a message that DMARC fails: d= of its passing signatures, and d= of the last seal of a chain that
    verifies. An author's own are none of them: DMARC would have passed."""
    passing = dict.fromkeys(one.domain for one in results.dkim if one.result is DkimVerdict.PASS)
    sealers = results.arc.sealers[-1:] if results.arc.result is ArcVerdict.PASS else ()
    return tuple(passing), sealers


_MOST_CHARACTERS = 320
"""Of a key: a path has no more (RFC 5321 section 4.5.3.1)."""


class GreylistTerms(Value):
    """How long, in seconds."""

    delay: float
    """Between the first try and the one that is let in."""
    retry: float
    """For which a first try is remembered."""
    keep: float
    """For which who was let in is remembered, from the last message on."""


def find_key(ingress: Ingress, envelope: Envelope, results: Authentication, own: Collection[str] = ()) -> str | None:
    """By what the sender is known; None when it is not greylisted: from inside, to a role address of our `own` domains,
    or from a client that is not known.

    An authenticated domain comes first: the large providers send each retry from another network, and are known all the
    same (SPEC section 2). Without one it is the client's network and the sender, as everybody can write any name.
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
    """What becomes of a message of this sender. `known` is what is remembered of it."""
    if known is None or known.expires <= now:
        return Greylisting(key, now, wait=True)
    return Greylisting(key, known.first, wait=not known.passed and now - known.first < terms.delay)


def remember(
    greylisting: Greylisting | None, action: Action, now: float, terms: GreylistTerms | None
) -> Acquaintance | None:
    """What is stored of the sender with the reception; None when nothing is: of what was refused nothing is learnt."""
    if greylisting is None or terms is None or not (action is Action.GREYLIST or action.delivers):
        return None
    passed = action.delivers
    expires = now + terms.keep if passed else greylisting.first + terms.retry
    return Acquaintance(greylisting.key, greylisting.first, passed, expires)
