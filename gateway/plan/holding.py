"""Holding: the terms under which a message is kept until an admin decides."""

from __future__ import annotations

from gateway.model.decision import Action, Decision
from gateway.model.delivery import Hold, Quota
from gateway.model.reply import REPLIES
from gateway.model.result import DmarcPolicy, DmarcResult
from gateway.model.value import Value, replace


class HoldTerms(Value):
    """The admin's limits on held mail."""

    expire: float
    """Seconds."""
    quota: Quota


USUAL_TERMS = HoldTerms(2_592_000.0, Quota())


def make_hold(dmarc: DmarcResult, received: float, terms: HoldTerms) -> Hold:
    """The terms of one message. Subdomains count against their organization's quota: they cost a forger nothing."""
    return Hold(dmarc.organizational_domain or dmarc.domain, received + terms.expire, terms.quota)


def turn_back(decision: Decision, domain: str) -> Decision:
    """The decision for a message that should be held while the quota is full. Evidence never accepts by itself, and a
    permanent refusal would also hit the forged party. So the message is deferred, and a genuine sender comes again."""
    return replace(
        decision,
        action=Action.DEFER,
        reply=REPLIES["hold-full"].filled(domain=domain or "unknown authors"),
        disposition=DmarcPolicy.NONE,
        overrides=(),
    )
