"""What we do with a message, and why."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.reply import Reply
from gateway.model.result import DmarcPolicy
from gateway.model.value import Value


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

    @property
    def keeps(self) -> bool:
        """The message becomes ours: it is answered 250."""
        return self.delivers or self is Action.HOLD


class RuleHit(Value):
    """One rule that was considered."""

    rule: str
    stage: Stage
    matched: bool


class OverrideType(StrEnum):
    """Why a published policy was not followed (RFC 9990 section 3.1.6)."""

    LOCAL_POLICY = "local_policy"
    MAILING_LIST = "mailing_list"
    TRUSTED_FORWARDER = "trusted_forwarder"
    POLICY_TEST_MODE = "policy_test_mode"
    OTHER = "other"


class Override(Value):
    """A published policy that was not followed."""

    type: str
    """One of `OverrideType`."""
    comment: str


class Finding(Value):
    """A ground for rejecting, or a piece of evidence for an indirect way, and what it rests on."""

    name: str
    source: str
    """Where it was seen, e.g. `field List-Id`, `Received by mx.list.example`."""


class Aside(Value):
    """What another rule set says of the same message, beside the one in force. It changes nothing."""

    rule_set: str
    action: Action
    rule: str


class Decision(Value):
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
    seal: bool = True
    """False when the rule asks that no ARC set be put on."""
    findings: tuple[Finding, ...] = ()
    """What the grounds, and the evidence for an indirect way, rest on."""
    awaits_dns: bool = False
    """Deferred because DNS withheld an answer that could make it a reject."""
    would: Aside | None = None
    """What the set that this one prepares for would do, as `learn` prepares for `enforce`: marked in the verdict
    field."""
    shadow_set: Aside | None = None
    """What the set says that `policy.shadow` names."""
    kind: str = ""
    """What the sender of a message that fails looks like: `list`, `forwarder`, `service`. It decides nothing."""
