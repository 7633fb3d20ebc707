"""A stored decision made again: by the rules alone, with the results of then, or by the checks and the rules."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.model.decision import Action, Decision, Stage
from gateway.model.delivery import TRACE_VERSION, Trace
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress
from gateway.model.message import Evidence
from gateway.model.reply import REPLIES
from gateway.model.value import replace
from gateway.plan.client import recorded_checks
from gateway.plan.judgement import JudgementContext, ask_early, conclude, judge
from gateway.policy.routing import is_role
from gateway.policy.rules import DEFAULT, RuleFailure
from gateway.policy.weighing import Case

INVARIANT = "invariant"
"""The rule set in the trace of the program's own decisions, and of its own mail."""


def judge_again(trace: Trace, context: JudgementContext) -> Decision | None:
    """The decision of these rules about a message, with its stored results and circumstances. None when no rule decided
    about it, or none could be asked. A rule that cannot be asked now defers, as in the live path."""
    ingress, decided = trace.edge or trace.internal, trace.decision
    failed = trace.authentication is None and trace.evidence is not None
    if ingress is None or decided.rule_set == INVARIANT or failed:
        return None
    rules = context.rules_of(trace.envelope)
    try:
        refusal = next(_refuse_early(trace, ingress, context), None)
        if refusal is not None:
            return refusal
        if trace.authentication is None or trace.evidence is None:
            # The message was refused before its content arrived: it is only certain that it would go on.
            return Decision(Action.ACCEPT, DEFAULT, rules.name, REPLIES["accepted"])
        return conclude(_open(trace, ingress, trace.evidence), trace.authentication, context)
    except RuleFailure as failure:
        return Decision(Action.DEFER, failure.rule or "facts", rules.name, REPLIES["internal"])


def is_repeated(trace: Trace, context: JudgementContext) -> bool:
    """The stored evidence, judged again with the DNS answers of then and the rules of now, gives the same (promise P4).

    A refusal by an invariant, such as an unknown recipient, depends on no verdict that could change. For a refusal at
    an earlier stage, only the rules of that stage are asked.
    """
    if trace.version != TRACE_VERSION:
        return False
    ingress, then = trace.edge or trace.internal, trace.decision
    if trace.authentication is None or trace.evidence is None or ingress is None:
        asked = judge_again(trace, context)
        return asked is None or (asked.rule == then.rule and not differ(then, asked))
    context = replace(context, client=recorded_checks(trace.authentication, context.client))
    window = DnsView({lookup.question: lookup.answer for lookup in trace.lookups}.get)
    try:
        judgement = judge(_open(trace, ingress, trace.evidence), window, context)
    except (NeedAnswers, RuleFailure):
        return False
    now = judgement.decision
    return (
        not window.pending
        and judgement.authentication == trace.authentication
        and (now.action, now.rule, now.disposition, now.grounds)
        == (then.action, then.rule, then.disposition, then.grounds)
        and now.reply == then.reply
    )


def _open(trace: Trace, ingress: Ingress, evidence: Evidence) -> Case:
    return Case.of(ingress, trace.envelope, evidence, trace.received, trace.circumstances)


def _refuse_early(trace: Trace, ingress: Ingress, context: JudgementContext) -> Iterator[Decision]:
    """The refusals by rules before the end of data. A message goes on unless all its recipients are refused."""
    # A relay's record of its client was not known before the message.
    behind_relay = isinstance(ingress, EdgeIngress) and ingress.source is ClientSource.RECEIVED
    address = ingress.peer if behind_relay or ingress.client is None else ingress.client
    nobody = replace(trace.envelope, rcpts=())
    for stage in (Stage.CONNECT, Stage.MAIL):
        if context.asks(stage, nobody):
            decision = ask_early(stage, ingress, address, nobody, context)
            if decision.action is not Action.ACCEPT:
                yield decision
    refused = []
    for rcpt in trace.envelope.rcpts:
        named = replace(trace.envelope, rcpts=(rcpt,))
        # No rule is asked about a role address before the message.
        if is_role(rcpt.mailbox, context.facts.own) or not context.asks(Stage.RCPT, named):
            return
        decision = ask_early(Stage.RCPT, ingress, address, named, context)
        if decision.action is Action.ACCEPT:
            return
        refused.append(decision)
    yield from refused


def differ(one: Decision, other: Decision) -> bool:
    """The verdicts differ: in the action, the reported disposition, or the answer to the client. 421 and 451 with one
    enhanced code are the same answer, at different moments."""
    return _verdict(one) != _verdict(other)


def _verdict(decision: Decision) -> tuple[object, ...]:
    return decision.action, decision.disposition, decision.reply.code // 100, decision.reply.detail
