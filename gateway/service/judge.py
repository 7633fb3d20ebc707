"""Judges a message: the pure judgement over DNS, and over the memory of its sender if that matters."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model.decision import Action, Decision, RuleHit, Stage
from gateway.model.envelope import Envelope, IPText, network_of
from gateway.model.event import Event, Level
from gateway.model.history import Greylisting
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.reply import REPLIES
from gateway.model.result import DmarcVerdict
from gateway.model.value import Value, replace
from gateway.plan.greylisting import find_key, find_signers, find_wait_key, greylist, is_over, join_wait
from gateway.plan.judgement import Judged, JudgementContext, again, ask_early, judge
from gateway.policy.grounds import find_seen
from gateway.policy.rules import RuleFailure
from gateway.policy.weighing import Case
from gateway.ports import EventSink, IntakeReader, emit_all
from gateway.service.authenticator import Authenticator, Outage


class EarlyRules:
    """The early rules of one session."""

    def __init__(self, address: IPText) -> None:
        self._address = address
        self._session: tuple[Decision, ...] = ()
        self._transaction: tuple[Decision, ...] = ()

    def ask(
        self, stage: Stage, find_ingress: Callable[[], Ingress], envelope: Envelope, context: JudgementContext
    ) -> Decision | None:
        """The decision, if it stops the client. Raises RuleFailure."""
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
        """The decision with every rule asked on the way to it; a rule asked with the same result for many recipients
        appears once."""
        earlier = (*self._session, *self._transaction)
        if not earlier:
            return decision
        heard = (*earlier, decision)
        considered = [hit for one in heard for hit in one.considered]
        shadow = [hit for one in heard for hit in one.shadow]
        # A decision that would have ended it earlier.
        aside = next((one.shadow_set for one in heard if one.shadow_set), None)
        return replace(decision, considered=_once(considered), shadow=_once(shadow), shadow_set=aside)


def _once(hits: list[RuleHit]) -> tuple[RuleHit, ...]:
    return tuple(dict.fromkeys(hits))


def put_off(failure: RuleFailure, stage: Stage, rule_set: str) -> Decision:
    """The decision when a rule cannot be asked: mail is deferred, because the fault is ours (promise P5)."""
    reply = REPLIES["internal"]
    if stage is Stage.CONNECT:
        reply = replace(reply, code=421)
    return Decision(Action.DEFER, failure.rule or "facts", rule_set, reply)


def report_failure(failure: RuleFailure, id: str, stage: Stage) -> Event:
    """The event for the admin: the rule, and the reason."""
    fields = (("rule", failure.rule), ("stage", stage.value), ("error", failure.reason))
    return Event("rule-failed", id, fields, Level.ALARM)


class Judge(Value):
    """Drives `plan.judgement.judge`."""

    authenticator: Authenticator
    memory: IntakeReader
    outage: Outage
    emit: EventSink

    async def judge(self, case: Case, context: JudgementContext) -> Judged:
        """The judgement. The memory is read only if it can matter: of the author's domain when DMARC does not pass, of
        the greylist when the message would be accepted. Raises RuleFailure."""
        client = case.ingress.client
        judgement, window = await self.authenticator.run(
            lambda window: judge(case, window, context), network_of(client) if client else ""
        )
        emit_all(self.emit, self.outage.note(window.used, case.received))
        judged = await self._recall(Judged(case, judgement, window), context)
        greylisting = await self._ask_greylist(judged, context)
        return again(judged, context, replace(judged.case.circumstances, greylisting=greylisting))

    async def _recall(self, judged: Judged, context: JudgementContext) -> Judged:
        """Add the memory of the author's domain, and the time that the message has waited for DNS."""
        dmarc, ingress = judged.judgement.authentication.dmarc, judged.case.ingress
        if not isinstance(ingress, EdgeIngress) or ingress.client is None:
            return judged
        network = network_of(ingress.client)
        if dmarc.result not in (DmarcVerdict.FAIL, DmarcVerdict.TEMPERROR):
            return judged
        signers, sealers = find_signers(judged.judgement.authentication)
        history = await self.memory.recall(dmarc.domain, network, (*signers, *sealers))
        known = history.know_client(len(signers))
        seen = find_seen(judged.judgement.authentication.dkim, history.selectors)
        remembered = replace(
            judged.case.circumstances, standing=history.standing, client_known=known, selectors_seen=seen
        )
        judged = again(judged, context, remembered)
        if not judged.judgement.decision.awaits_dns:
            return judged
        key = find_wait_key(dmarc.domain, network)
        wait = join_wait(key, await self.memory.acquaintance(key), judged.case.received)
        waited = is_over(wait, judged.case.received)
        return again(judged, context, replace(remembered, dns_wait=wait, dns_waited=waited))

    async def _ask_greylist(self, judged: Judged, context: JudgementContext) -> Greylisting | None:
        case, judgement = judged.case, judged.judgement
        if context.greylist is None or not judgement.decision.action.delivers:
            return None
        key = find_key(case.ingress, case.envelope, judgement.authentication, context.facts.own)
        if key is None:
            return None
        return greylist(key, await self.memory.acquaintance(key), case.received, context.greylist)
