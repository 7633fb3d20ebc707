"""The rules asked in a session before there is a message, and what they said, for the trace of what follows."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model.address import IPText
from gateway.model.decision import Action, Decision, RuleHit, Stage
from gateway.model.envelope import Envelope
from gateway.model.event import Event, Level
from gateway.model.ingress import Ingress
from gateway.model.reply import REPLIES
from gateway.model.value import replace
from gateway.plan.judgement import JudgementContext, ask_early
from gateway.policy.rules import RuleFailure


class EarlyRules:
    """One session's."""

    def __init__(self, address: IPText) -> None:
        self._address = address
        self._session: tuple[Decision, ...] = ()
        self._transaction: tuple[Decision, ...] = ()

    def ask(
        self, stage: Stage, find_ingress: Callable[[], Ingress], envelope: Envelope, context: JudgementContext
    ) -> Decision | None:
        """The decision when it is not to let the client go on. Raises RuleFailure."""
        if stage is Stage.MAIL:
            self._transaction = ()
        if not context.asks(stage, envelope):
            return None
        decision = ask_early(stage, find_ingress(), self._address, envelope, context)
        if decision.action is not Action.ACCEPT:
            return self.complete(decision)
        if stage is Stage.CONNECT:
            self._session = (decision,)
        else:
            self._transaction = (*self._transaction, decision)
        return None

    def complete(self, decision: Decision) -> Decision:
        """The decision with every rule that was asked on the way to it; one asked alike for many recipients is there
        once."""
        earlier = (*self._session, *self._transaction)
        if not earlier:
            return decision
        heard = (*earlier, decision)
        considered = [hit for one in heard for hit in one.considered]
        shadow = [hit for one in heard for hit in one.shadow]
        # What would have ended it first.
        aside = next((one.shadow_set for one in heard if one.shadow_set), None)
        return replace(decision, considered=_once(considered), shadow=_once(shadow), shadow_set=aside)


def _once(hits: list[RuleHit]) -> tuple[RuleHit, ...]:
    return tuple(dict.fromkeys(hits))


def put_off(failure: RuleFailure, stage: Stage, rule_set: str) -> Decision:
    """What becomes of mail when a rule cannot be asked: it waits, for the fault is ours (promise P5)."""
    reply = REPLIES["internal"]
    if stage is Stage.CONNECT:
        reply = replace(reply, code=421)
    return Decision(Action.DEFER, failure.rule or "facts", rule_set, reply)


def report_failure(failure: RuleFailure, id: str, stage: Stage) -> Event:
    """For the admin: which rule, and why."""
    fields = (("rule", failure.rule), ("stage", stage.value), ("error", failure.reason))
    return Event("rule-failed", id, fields, Level.ALARM)
