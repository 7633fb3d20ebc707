"""The judgement of one message: every check, then the rules. One pure function for the live path, explain, simulate
and replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from gateway.authentication import arc, dkim, dmarc, named, spf
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.mail.domain import a_label
from gateway.mail.srs import Srs
from gateway.model.decision import Action, Decision, Stage
from gateway.model.envelope import Envelope, IPText, Mailbox
from gateway.model.history import Circumstances
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.result import Authentication, SpfIdentity, SpfResult, SpfVerdict
from gateway.model.value import Value, field, replace
from gateway.plan.client import NO_CHECKS, ClientChecks, check_client, name_client
from gateway.plan.greylisting import GreylistTerms
from gateway.plan.holding import USUAL_TERMS, HoldTerms, turn_back
from gateway.plan.sealing import Sealing
from gateway.policy.evaluate import judge as judge_facts
from gateway.policy.evaluate import judge_beside, judge_early
from gateway.policy.facts import connect_facts, data_facts, mail_facts, rcpt_facts
from gateway.policy.rules import RuleSet
from gateway.policy.weighing import Case, FactSettings, weigh

T = TypeVar("T")


class JudgementContext(Value):
    """The context of a judgement besides the message: our identity, and the rules."""

    hostname: str
    authserv_id: str
    rules: RuleSet
    """For every domain without a set of its own, and before a recipient is named."""
    facts: FactSettings
    sealing: Sealing | None = None
    """None when no backend wants a seal."""
    client: ClientChecks = NO_CHECKS
    hold: HoldTerms = USUAL_TERMS
    domain_rules: Mapping[str, RuleSet] = field(default_factory=dict)
    """Recipient domain (A-labels) -> its own set."""
    shadow: RuleSet | None = None
    """A set that is asked too, and decides nothing."""
    greylist: GreylistTerms | None = None
    """None when greylisting is off."""
    srs: Srs | None = None
    """None when return paths are not rewritten."""

    def rules_for(self, mailbox: Mailbox) -> RuleSet:
        """The set that judges mail to this recipient. Recipients under different sets never share a transaction. The
        general set judges mail to the bare `<postmaster>`."""
        return self.domain_rules.get(mailbox.ascii_domain, self.rules)

    def rules_of(self, envelope: Envelope) -> RuleSet:
        """The set that judges a transaction; the general one when our own senders mix recipients under several."""
        if not self.domain_rules or not envelope.rcpts:
            return self.rules
        first, *others = (self.rules_for(rcpt.mailbox) for rcpt in envelope.rcpts)
        return first if all(one is first for one in others) else self.rules

    def asks(self, stage: Stage, envelope: Envelope) -> bool:
        """True when any set has a rule at this stage, even one that decides nothing."""
        return bool(self.rules_of(envelope).rules[stage] or (self.shadow and self.shadow.rules[stage]))


class Judgement(Value):
    """Results, and the decision made from them."""

    authentication: Authentication
    decision: Decision


class Judged(Value):
    """A message, its judgement, and the DNS answers that this rests on."""

    case: Case
    judgement: Judgement
    window: DnsView


def ask_early(
    stage: Stage, ingress: Ingress, address: IPText, envelope: Envelope, context: JudgementContext
) -> Decision:
    """The decision of the rules of a stage before the end of data. `address` is the client's as far as the transport
    proves it; at RCPT `envelope` has only the recipient in question. Raises RuleFailure."""
    rules, shadow = context.rules_of(envelope), context.shadow
    if stage is Stage.CONNECT:
        facts = connect_facts(ingress, address, context.facts)
    else:
        build = mail_facts if stage is Stage.MAIL else rcpt_facts
        facts = build(ingress, address, envelope, context.facts)
    decision = judge_early(rules, stage, facts)
    aside = judge_beside(shadow, facts, stage) if shadow else None
    # While both sets accept, there is nothing to report yet.
    tells = aside is not None and {aside.action, decision.action} != {Action.ACCEPT}
    return replace(decision, shadow_set=aside) if tells else decision


def judge(case: Case, window: DnsView, context: JudgementContext) -> Judgement:
    """Judge a message. Raises NeedAnswers once all questions known so far are noted in the window, so that one round of
    lookups serves all checks. Raises RuleFailure when a rule cannot be asked."""
    ingress, envelope = case.ingress, case.envelope
    client = _note(lambda: check_client(ingress, envelope, context.client, context.facts.own, window))
    authentication = _authenticate(case, window, context.hostname)
    if client is None:
        raise NeedAnswers
    authentication = replace(authentication, iprev=client[0], dnsbl=client[1])
    if isinstance(ingress, EdgeIngress) and context.client.named:
        own, hostname = context.facts.own, context.hostname
        found = named.evaluate(ingress, envelope, authentication, own, window, hostname)
        if found is not named.NOTHING_ASKED:
            authentication = replace(authentication, named=found)
    return Judgement(authentication, conclude(case, authentication, context))


def again(judged: Judged, context: JudgementContext, circumstances: Circumstances) -> Judged:
    """The same message under other circumstances: all DNS answers are known."""
    if circumstances == judged.case.circumstances:
        return judged
    case = replace(judged.case, circumstances=circumstances)
    return Judged(case, judge(case, judged.window, context), judged.window)


def conclude(case: Case, authentication: Authentication, context: JudgementContext) -> Decision:
    """The decision of the rules about the results. Raises RuleFailure."""
    ingress = name_client(case.ingress, authentication.iprev)
    if ingress is not case.ingress:
        case = replace(case, ingress=ingress)
    weighed = weigh(case, authentication, context.facts)
    facts = data_facts(case, authentication, context.facts, weighed)
    decision = judge_facts(context.rules_of(case.envelope), facts)
    findings = (*weighed.grounds, *weighed.evidence, *weighed.added)
    decision = replace(
        decision, findings=findings, shadow_set=judge_beside(context.shadow, facts) if context.shadow else None
    )
    if decision.action is Action.HOLD and case.circumstances.hold_full:
        return turn_back(decision, authentication.dmarc.domain)
    return decision


def _authenticate(case: Case, window: DnsView, hostname: str) -> Authentication:
    ingress, evidence, header, now = case.ingress, case.evidence, case.header, case.received
    for question in dmarc.questions(case.author):
        window.peek(question)
    spf_mailfrom = _note(lambda: _evaluate_spf(ingress, case.envelope, SpfIdentity.MAILFROM, window, hostname))
    spf_helo = _note(lambda: _evaluate_spf(ingress, case.envelope, SpfIdentity.HELO, window, hostname))
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
    dmarc_result = dmarc.evaluate(case.author, spf_mailfrom, dkim_results, window, can_fail=can_fail)
    return Authentication(spf_mailfrom, spf_helo, dkim_results, arc_result, dmarc_result)


def _evaluate_spf(
    ingress: Ingress, envelope: Envelope, identity: SpfIdentity, window: DnsView, hostname: str
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
    """The check's result, or None when it lacks answers: the others can still note their questions."""
    try:
        return check()
    except NeedAnswers:
        return None
