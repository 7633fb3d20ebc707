"""A stored decision taken again under other rules: the results of the checks stand, only the rules are asked anew."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.mail.author import find_author
from gateway.mail.header import parse_header
from gateway.model.decision import Action, Decision, Stage
from gateway.model.delivery import Trace
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress
from gateway.model.reply import REPLIES
from gateway.model.value import replace
from gateway.plan.client import name_client
from gateway.plan.judgement import JudgementContext, ask_early, conclude
from gateway.policy.routing import is_role
from gateway.policy.rules import DEFAULT, RuleFailure

INVARIANT = "invariant"
"""The rule set of what the program itself decides, and of its own mail."""


def judge_again(trace: Trace, context: JudgementContext) -> Decision | None:
    """What these rules say of a message, its results and circumstances being what they were; None when no rule had a
    say in it, or none could be asked. A rule that cannot be asked now defers, as it would live."""
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
            # It was refused before its content came: all that can be said is that it would go on.
            return Decision(Action.ACCEPT, DEFAULT, rules.name, REPLIES["accepted"])
        header = parse_header(trace.evidence.header)
        author, size = find_author(header), trace.evidence.size
        known, results = name_client(ingress, trace.authentication.iprev), trace.authentication
        return conclude(known, trace.envelope, header, author, size, results, context, trace.circumstances)
    except RuleFailure as failure:
        return Decision(Action.DEFER, failure.rule or "facts", rules.name, REPLIES["internal"])


def _refuse_early(trace: Trace, ingress: Ingress, context: JudgementContext) -> Iterator[Decision]:
    """What the rules before the end of data refuse. A message whose recipients are not all refused goes on."""
    # What a relay of ours wrote of its client was not known before the message.
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
    """The verdicts differ: what is done, what reports say of it, or which answer the client gets. 421 and 451 with one
    enhanced code are one answer, at different moments."""
    return _verdict(one) != _verdict(other)


def _verdict(decision: Decision) -> tuple[object, ...]:
    return decision.action, decision.disposition, decision.reply.code // 100, decision.reply.detail
