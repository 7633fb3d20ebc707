"""Greylisting: by what a sender is known, whether it has waited, and what is remembered of it. Off by default."""

from __future__ import annotations

from collections.abc import Collection

from gateway.model.address import network_of
from gateway.model.decision import Action
from gateway.model.envelope import Envelope
from gateway.model.greylisting import Acquaintance, Greylisting
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.result import Authentication, DkimVerdict, SpfVerdict
from gateway.model.value import Value
from gateway.policy.routing import is_role

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
