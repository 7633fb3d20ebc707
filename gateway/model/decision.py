"""The decision about a message, and its reasons."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.reply import Reply
from gateway.model.result import DmarcPolicy
from gateway.model.value import Value


class Stage(StrEnum):
    """The point of the SMTP dialogue at which a rule is asked."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Action(StrEnum):
    """The gateway's answer to a message."""

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
        """True when the gateway takes responsibility for the message: the reply is 250."""
        return self.delivers or self is Action.HOLD


class RuleHit(Value):
    """One rule that was considered."""

    rule: str
    stage: Stage
    matched: bool


class OverrideType(StrEnum):
    """Reasons for not following a published policy (RFC 9990 section 3.1.6)."""

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
    """A ground for rejecting, or a sign that the message came indirectly, with the place where it was seen."""

    name: str
    source: str
    """The place where it was seen, e.g. `field List-Id`, `Received by mx.list.example`."""


class Aside(Value):
    """The decision of another rule set about the same message, made beside the one in force. It changes nothing."""

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
    """DMARC's word for the action taken: it goes into reports."""
    grounds: tuple[str, ...] = ()
    """Knowledge beyond the published record that supports a reject (RFC 9989 section 7.4)."""
    overrides: tuple[Override, ...] = ()
    considered: tuple[RuleHit, ...] = ()
    shadow: tuple[RuleHit, ...] = ()
    seal: bool = True
    """False when the rule asks for no ARC set."""
    findings: tuple[Finding, ...] = ()
    """The places in the message behind the grounds and the signs of an indirect way."""
    awaits_dns: bool = False
    """Deferred because DNS withheld an answer that might make it a reject."""
    would: Aside | None = None
    """The decision of the set that this one prepares for, as `learn` prepares for `enforce`. The verdict field shows
    it."""
    shadow_set: Aside | None = None
    """The decision of the set named by `policy.shadow`."""
    kind: str = ""
    """The kind of sender that a failing message appears to have: `list`, `forwarder`, `service`. It decides nothing."""
