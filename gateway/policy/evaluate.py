"""Facts and rules to a decision. The first matching rule of a stage decides; every rule asked is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.model.decision import Action, Aside, Decision, Override, OverrideType, RuleHit, Stage
from gateway.model.reply import REPLIES, Reply
from gateway.model.result import DmarcPolicy, DmarcVerdict, SpfVerdict
from gateway.model.value import Value, replace
from gateway.policy.advice import add_help, advise, find_kind
from gateway.policy.expression import Activation, CannotEvaluate
from gateway.policy.rules import DEFAULT, Rule, RuleFailure, RuleSet, StageRules


class RuleVerdict(Value):
    """The result of the rules of one stage."""

    rule: Rule | None
    """The rule that decides; None when none matches."""
    considered: tuple[RuleHit, ...]
    """The rules asked, in order, up to the one that decided."""
    shadow: tuple[RuleHit, ...]
    """The shadow rules, which decide nothing."""

    @property
    def action(self) -> Action:
        return self.rule.action if self.rule else Action.ACCEPT

    @property
    def name(self) -> str:
        return self.rule.id if self.rule else DEFAULT


def decide(rules: RuleSet, stage: Stage, facts: Mapping[str, object]) -> RuleVerdict:
    """Ask the rules of a stage. Raises RuleFailure when a rule cannot be asked, or a fact of the stage is missing or of
    the wrong type."""
    try:
        known = rules.language.bind(facts, stage)
    except CannotEvaluate as error:
        raise RuleFailure("", str(error)) from None
    stage_rules = rules.stages[stage]
    shadow = tuple(_ask_shadow(rule, known) for rule in stage_rules.shadow)
    number = _find_first(stage_rules, known)
    if number is None:
        return RuleVerdict(None, stage_rules.misses, shadow)
    rule = stage_rules.live[number]
    return RuleVerdict(rule, (*stage_rules.misses[:number], RuleHit(rule.id, stage, True)), shadow)


def _find_first(stage_rules: StageRules, known: Activation) -> int | None:
    """The number of the live rule that decides. Raises RuleFailure."""
    asked = 0
    for choice in stage_rules.choices:
        try:
            number = choice.find_first(known)
        except CannotEvaluate:
            number = _find_first_of(stage_rules.live[asked : asked + choice.size], known)
        if number is not None:
            return asked + number
        asked += choice.size
    return None


def _find_first_of(rules: Sequence[Rule], known: Activation) -> int | None:
    """The same, one by one, to name the rule that cannot be asked."""
    for number, rule in enumerate(rules):
        try:
            if rule.condition.holds(known):
                return number
        except CannotEvaluate as error:
            raise RuleFailure(rule.id, str(error)) from None
    return None


def _ask_shadow(rule: Rule, known: Activation) -> RuleHit:
    """The hit of a shadow rule. A shadow rule that cannot be asked must not stop mail; the trace shows it."""
    try:
        return RuleHit(rule.id, rule.stage, rule.condition.holds(known))
    except CannotEvaluate as error:
        return RuleHit(f"{rule.id} (failed: {error})", rule.stage, False)


def judge_early(rules: RuleSet, stage: Stage, facts: Mapping[str, object]) -> Decision:
    """The decision on a connection, a sender or a recipient, before the message: accept means that the transaction goes
    on. Raises RuleFailure."""
    verdict = decide(rules, stage, facts)
    reply = verdict.rule.reply if verdict.rule and not verdict.action.keeps else REPLIES["accepted"]
    if stage is Stage.CONNECT and not reply.positive:
        # RFC 5321 section 3.1 and 3.8: a connection is refused with 554, and deferred with 421.
        reply = replace(reply, code=554 if reply.permanent else 421)
    return Decision(
        action=verdict.action,
        rule=verdict.name,
        rule_set=rules.name,
        reply=_fill(reply, facts),
        considered=verdict.considered,
        shadow=verdict.shadow,
    )


def judge(rules: RuleSet, facts: Mapping[str, object]) -> Decision:
    """The decision on a message at end of data. `facts` are those of `data_facts`. Raises RuleFailure."""
    facts = add_doubt(rules, facts)
    verdict = decide(rules, Stage.DATA, facts)
    rule, action = verdict.rule, verdict.action
    disposition = _DISPOSITIONS.get(action, DmarcPolicy.NONE)
    return Decision(
        action=action,
        rule=verdict.name,
        rule_set=rules.name,
        reply=_fill(rule.reply if rule else REPLIES["accepted"], facts),
        disposition=disposition,
        grounds=_words(facts, "dmarc.grounds"),
        overrides=_find_overrides(facts, action, disposition, rule),
        considered=verdict.considered,
        shadow=verdict.shadow,
        seal=rule.seal if rule else True,
        awaits_dns=action is Action.DEFER and True in (facts["dns.could_reject"], facts["dns.could_quarantine"]),
        would=judge_beside(rules.beside, facts) if rules.beside else None,
        kind=find_kind(facts).value if facts["dmarc.result"] == DmarcVerdict.FAIL or not action.delivers else "",
    )


def judge_beside(rules: RuleSet, facts: Mapping[str, object], stage: Stage = Stage.DATA) -> Aside:
    """The decision of a set that is not in force. If it cannot be asked, that must not stop mail."""
    try:
        if stage is Stage.DATA:
            facts = add_doubt(rules, {**facts, "dns.could_reject": False, "dns.could_quarantine": False})
        verdict = decide(rules, stage, facts)
    except RuleFailure as error:
        return Aside(rules.name, Action.ACCEPT, f"failed: {error}")
    return Aside(rules.name, verdict.action, verdict.name)


def add_doubt(rules: RuleSet, facts: Mapping[str, object]) -> Mapping[str, object]:
    """The facts, with `dns.could_reject` and `dns.could_quarantine` for these rules. They are true when the worst
    possible answer in place of a missing one would make the rules reject, or mark, a message that they otherwise would
    not. Raises RuleFailure."""
    at_edge = facts["ingress.edge"] and facts["ingress.client_known"]
    if facts["dmarc.result"] != DmarcVerdict.TEMPERROR or facts["dmarc.aligned"] or not at_edge:
        # An aligned pass is never in doubt, and an unknown client cannot fail.
        return facts
    worst: dict[str, object] = {"dmarc.result": str(DmarcVerdict.FAIL)}
    if not facts["dmarc.policy"]:
        worst |= dict.fromkeys(("dmarc.policy", "dmarc.published"), str(DmarcPolicy.REJECT))
        if facts["spf.result"] == SpfVerdict.TEMPERROR:
            # All of DNS is silent: the record might also declare that the domain sends no mail at all.
            worst |= {"spf.result": str(SpfVerdict.FAIL), "spf.sends_no_mail": True}
    then, now = decide(rules, Stage.DATA, {**facts, **worst}).action, decide(rules, Stage.DATA, facts).action
    could_reject = then is Action.REJECT and now is not Action.REJECT
    could_quarantine = then in _MARKED and now in (Action.ACCEPT, Action.GREYLIST)
    return {**facts, "dns.could_reject": could_reject, "dns.could_quarantine": could_quarantine}


_MARKED = (Action.QUARANTINE, Action.HOLD)


_DISPOSITIONS = {
    Action.REJECT: DmarcPolicy.REJECT,
    Action.QUARANTINE: DmarcPolicy.QUARANTINE,
    Action.HOLD: DmarcPolicy.QUARANTINE,
}


def _find_overrides(
    facts: Mapping[str, object], action: Action, disposition: DmarcPolicy, rule: Rule | None
) -> tuple[Override, ...]:
    """The reasons, if our action differs from the published policy (RFC 9989 section 5.4, RFC 9990 section 3.1.6)."""
    published, policy = facts["dmarc.published"], facts["dmarc.policy"]
    if not policy or action in (Action.DEFER, Action.GREYLIST):
        # No policy is published, or no action is taken yet.
        return ()
    failed = facts["dmarc.result"] == DmarcVerdict.FAIL
    overrides = []
    if failed and facts["dmarc.testing"] and published != policy:
        overrides.append(Override(OverrideType.POLICY_TEST_MODE, f"t=y: {policy} instead of {published}"))
    wanted = policy if failed else DmarcPolicy.NONE
    if disposition != wanted:
        type = rule.override if rule else OverrideType.LOCAL_POLICY
        overrides.append(Override(type, _explain_override(facts, disposition, rule)))
    return tuple(overrides)


def _explain_override(facts: Mapping[str, object], disposition: DmarcPolicy, rule: Rule | None) -> str:
    """The comment of an override: the chain when a trusted seal decided (RFC 8617 section 7.2.2), else the rule and the
    findings behind it."""
    name = rule.id if rule else DEFAULT
    if disposition == DmarcPolicy.REJECT:
        return name
    asked = rule.condition.text if rule else ""
    if facts["arc.trusted"] and "arc.trusted" in asked:
        return str(facts["arc.trusted_chain"])
    for fact in ("author.sender", "forwarder.name"):
        if facts[fact] and fact in asked:
            return f"{name} ({facts[fact]})"
    evidence = _words(facts, "indirect.evidence")
    return f"{name} ({', '.join(evidence)})" if evidence else name


def _fill(reply: Reply, facts: Mapping[str, object]) -> Reply:
    """The reply with its names filled in. Before the message has arrived, its sender's domain stands for the
    author's."""
    if reply.positive:
        return reply
    sender = facts.get("envelope.mail_from_domain", "")
    filled = reply.filled(
        advice=advise(facts),
        domain=str(facts.get("author.domain", sender)),
        spf_domain=str(facts.get("spf.domain", sender)),
        client=str(facts["ingress.address"]),
        lists=", ".join(_words(facts, "dnsbl.listed")),
    )
    return add_help(filled, facts)


def _words(facts: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = facts.get(name)
    return tuple(str(word) for word in value) if isinstance(value, list) else ()
