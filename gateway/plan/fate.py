"""What a recipient's outcome comes to."""

from __future__ import annotations

from enum import Enum

from gateway.model.delivery import Final, Outcome, OutcomeKind, Transfer
from gateway.plan.notification import why_withheld


class Fate(Enum):
    """A final state, or none yet."""

    DELIVERED = Final.DELIVERED
    TOLD = Final.FAILED
    """The client got the refusal, or the sender gets a DSN."""
    WITHHELD = Final.WITHHELD
    RETURNED = Final.RETURNED
    EXPIRED = Final.EXPIRED
    """Tried until the queue's end; the sender gets a DSN."""
    WAITS = "waits"
    KEPT = "kept"
    """Taken for spam by the backend, and for a role address: it is held."""
    PARKED = "parked"
    """Failed, and the DSN that should say so cannot be made: it is held."""


def find_fate(transfer: Transfer, outcome: Outcome, due: float | None, told: bool) -> Fate:
    """`due`: when the next attempt would be; None when time is over. `told`: the client gets the refusal."""
    if outcome.kind is OutcomeKind.DELIVERED:
        return Fate.DELIVERED
    if outcome.kind is OutcomeKind.DEFERRED and due is not None:
        return Fate.WAITS
    if not told and why_withheld(transfer, outcome.rcpt):
        return Fate.WITHHELD
    return Fate.EXPIRED if outcome.kind is OutcomeKind.DEFERRED else Fate.TOLD
