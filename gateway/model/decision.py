"""What we do with a message, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.model.reply import Reply
from gateway.model.result import DmarcPolicy


class Stage(StrEnum):
    """When a rule is asked."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Action(StrEnum):
    """What is done with the message."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"
    """Delivered, marked in X-Waypost-Verdict for the backend's junk rule."""
    HOLD = "hold"
    """Kept here, byte-exact, until an admin decides."""
    DEFER = "defer"
    REJECT = "reject"
    GREYLIST = "greylist"

    @property
    def delivers(self) -> bool:
        return self in (Action.ACCEPT, Action.QUARANTINE)


@dataclass(frozen=True, slots=True)
class RuleHit:
    """One rule that was considered."""

    rule: str
    stage: Stage
    matched: bool


@dataclass(frozen=True, slots=True)
class Override:
    """A published policy that was not followed (RFC 9990 section 3.1.6)."""

    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The judgement of one message."""

    action: Action
    rule: str
    """Id of the rule that decided; `default` when none matched."""
    rule_set: str
    reply: Reply
    disposition: DmarcPolicy = DmarcPolicy.NONE
    """DMARC's word for what was done: it goes into reports."""
    grounds: tuple[str, ...] = ()
    """What we know, beyond the published record, that speaks for rejecting (RFC 9989 section 7.4)."""
    overrides: tuple[Override, ...] = ()
    considered: tuple[RuleHit, ...] = ()
    shadow: tuple[RuleHit, ...] = ()
