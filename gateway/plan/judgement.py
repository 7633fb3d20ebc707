"""The judgement of one message: every check, then the rules. One pure function for the live path, explain, simulate
and replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from gateway.authentication import arc, dkim, dmarc, spf
from gateway.authentication.lookup import NeedAnswers, Window
from gateway.mail.author import Author, find_author
from gateway.mail.domain import a_label
from gateway.mail.header import Field, parse_header
from gateway.model.circumstances import NOTHING_REMEMBERED, Circumstances
from gateway.model.decision import Action, Decision
from gateway.model.envelope import Envelope
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.message import Evidence
from gateway.model.result import Authentication, SpfIdentity, SpfResult, SpfVerdict
from gateway.plan.client import NO_CHECKS, ClientChecks, check_client, name_client
from gateway.plan.holding import USUAL_TERMS, HoldTerms, turn_back
from gateway.plan.sealing import Sealing
from gateway.policy.evaluate import judge as judge_facts
from gateway.policy.facts import FactSettings, data_facts
from gateway.policy.rules import RuleSet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """What a judgement needs besides the message: who we are, and the law."""

    hostname: str
    authserv_id: str
    rules: RuleSet
    facts: FactSettings
    sealing: Sealing | None = None
    """None when no backend wants a seal."""
    client: ClientChecks = NO_CHECKS
    hold: HoldTerms = USUAL_TERMS


@dataclass(frozen=True, slots=True)
class Judgement:
    """Results, and what follows from them."""

    authentication: Authentication
    author: Author
    decision: Decision


def judge(
    ingress: Ingress,
    envelope: Envelope,
    evidence: Evidence,
    window: Window,
    now: float,
    bench: Bench,
    header: tuple[Field, ...] | None = None,
    circumstances: Circumstances = NOTHING_REMEMBERED,
) -> Judgement:
    """Judge a message. Raises NeedAnswers with everything it can name already noted in the window, so that one round
    of lookups serves all checks. `header` is `evidence.header` parsed, where the caller has it."""
    if header is None:
        header = parse_header(evidence.header)
    author = find_author(header)
    client = _note(lambda: check_client(ingress, envelope, bench.client, bench.facts.own, window))
    authentication = _authenticate(ingress, envelope, evidence, header, author, window, now, bench.hostname)
    if client is None:
        raise NeedAnswers
    authentication = replace(authentication, iprev=client[0], dnsbl=client[1])
    ingress = name_client(ingress, authentication.iprev)
    facts = data_facts(ingress, envelope, header, evidence.size, authentication, author, bench.facts)
    decision = judge_facts(bench.rules, facts)
    if decision.action is Action.HOLD and circumstances.hold_full:
        decision = turn_back(decision, authentication.dmarc.domain)
    return Judgement(authentication, author, decision)


def _authenticate(
    ingress: Ingress,
    envelope: Envelope,
    evidence: Evidence,
    header: tuple[Field, ...],
    author: Author,
    window: Window,
    now: float,
    hostname: str,
) -> Authentication:
    for question in dmarc.questions(author):
        window.peek(question)
    spf_mailfrom = _note(lambda: _evaluate_spf(ingress, envelope, SpfIdentity.MAILFROM, window, hostname))
    spf_helo = _note(lambda: _evaluate_spf(ingress, envelope, SpfIdentity.HELO, window, hostname))
    dkim_results = _note(
        lambda: window.remember(("dkim", evidence, now), lambda: dkim.verify(evidence, header, window, now))
    )
    arc_result = _note(
        lambda: window.remember(("arc", evidence, now), lambda: arc.validate(evidence, header, window, now))
    )
    if spf_mailfrom is None or spf_helo is None or dkim_results is None or arc_result is None:
        raise NeedAnswers
    # Without SPF at the true ingress address DMARC may pass by DKIM but cannot fail (SPEC section 2).
    can_fail = isinstance(ingress, EdgeIngress) and ingress.client is not None
    dmarc_result = dmarc.evaluate(author, spf_mailfrom, dkim_results, window, can_fail=can_fail)
    return Authentication(spf_mailfrom, spf_helo, dkim_results, arc_result, dmarc_result)


def _evaluate_spf(
    ingress: Ingress, envelope: Envelope, identity: SpfIdentity, window: Window, hostname: str
) -> SpfResult:
    if isinstance(ingress, EdgeIngress):
        return window.remember(
            ("spf", identity, ingress, envelope.mail_from, hostname),
            lambda: spf.evaluate(ingress, envelope.mail_from, identity, window, hostname),
        )
    reason = f"not an edge ({ingress.trusted_by}): SPF is judged where mail enters"
    if identity is SpfIdentity.HELO or envelope.mail_from is None:
        return SpfResult(SpfVerdict.NONE, a_label(ingress.helo) or "", SpfIdentity.HELO, reason)
    return SpfResult(SpfVerdict.NONE, envelope.mail_from.ascii_domain, identity, reason)


def _note(check: Callable[[], T]) -> T | None:
    """The check's result, or None when it lacks answers: the others still get to name theirs."""
    try:
        return check()
    except NeedAnswers:
        return None
