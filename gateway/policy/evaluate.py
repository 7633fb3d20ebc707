"""Facts and rules to a decision. The first rule of a stage that holds decides; every rule asked is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model.decision import Action, Decision, Override, RuleHit, Stage
from gateway.model.reply import REPLIES
from gateway.model.result import DmarcPolicy, DmarcVerdict
from gateway.policy.expression import Activation, CannotEvaluate
from gateway.policy.load import DEFAULT
from gateway.policy.rules import Rule, RuleFailure, RuleSet


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules of one stage say."""

    rule: Rule | None
    """The rule that decides; None when none holds."""
    considered: tuple[RuleHit, ...]
    """The rules asked, in order, up to the one that decided."""
    shadow: tuple[RuleHit, ...]
    """The shadow rules, which decide nothing."""


def decide(rules: RuleSet, stage: Stage, facts: Mapping[str, object]) -> Verdict:
    """Ask the rules of a stage. Raises RuleFailure when one cannot be asked, or a fact of the stage is missing or of
    the wrong type."""
    try:
        known = rules.language.bind(facts, stage)
    except CannotEvaluate as error:
        raise RuleFailure("", str(error)) from None
    considered: list[RuleHit] = []
    shadow: list[RuleHit] = []
    decided: Rule | None = None
    for rule in rules.rules[stage]:
        if rule.shadow:
            shadow.append(_ask_shadow(rule, known))
        elif decided is None:
            try:
                matched = rule.condition.holds(known)
            except CannotEvaluate as error:
                raise RuleFailure(rule.id, str(error)) from None
            considered.append(RuleHit(rule.id, stage, matched))
            decided = rule if matched else None
    return Verdict(decided, tuple(considered), tuple(shadow))


def _ask_shadow(rule: Rule, known: Activation) -> RuleHit:
    """A shadow rule that cannot be asked must not stop mail; the trace shows it."""
    try:
        return RuleHit(rule.id, rule.stage, rule.condition.holds(known))
    except CannotEvaluate as error:
        return RuleHit(f"{rule.id} (failed: {error})", rule.stage, False)


def judge(rules: RuleSet, facts: Mapping[str, object]) -> Decision:
    """The decision on a message at end of data. `facts` are those of `data_facts`. Raises RuleFailure."""
    verdict = decide(rules, Stage.DATA, facts)
    rule = verdict.rule
    action = rule.action if rule else Action.ACCEPT
    name = rule.id if rule else DEFAULT
    reply = rule.reply if rule else REPLIES["accepted"]
    disposition = _DISPOSITIONS.get(action, DmarcPolicy.NONE)
    return Decision(
        action=action,
        rule=name,
        rule_set=rules.name,
        reply=reply.filled(domain=str(facts["author.domain"]), spf_domain=str(facts["spf.domain"])),
        disposition=disposition,
        grounds=_words(facts, "dmarc.grounds"),
        overrides=_find_overrides(facts, action, disposition, rule),
        considered=verdict.considered,
        shadow=verdict.shadow,
    )


_DISPOSITIONS = {
    Action.REJECT: DmarcPolicy.REJECT,
    Action.QUARANTINE: DmarcPolicy.QUARANTINE,
    Action.HOLD: DmarcPolicy.QUARANTINE,
}


def _find_overrides(
    facts: Mapping[str, object], action: Action, disposition: DmarcPolicy, rule: Rule | None
) -> tuple[Override, ...]:
    """Where what we do is not what the domain published (RFC 9989 section 5.4, RFC 9990 section 3.1.6)."""
    published, policy = facts["dmarc.published"], facts["dmarc.policy"]
    if not policy or action in (Action.DEFER, Action.GREYLIST):
        # Nothing is published, or nothing is done yet.
        return ()
    failed = facts["dmarc.result"] == DmarcVerdict.FAIL
    overrides = []
    if failed and facts["dmarc.testing"] and published != policy:
        overrides.append(Override("policy_test_mode", f"t=y: {policy} instead of {published}"))
    wanted = policy if failed else DmarcPolicy.NONE
    if disposition != wanted:
        overrides.append(Override("local_policy", _explain_override(facts, disposition, rule)))
    return tuple(overrides)


def _explain_override(facts: Mapping[str, object], disposition: DmarcPolicy, rule: Rule | None) -> str:
    """The comment of an override: the chain where a trusted seal decided (RFC 8617 section 7.2.2), else the rule."""
    name = rule.id if rule else DEFAULT
    if disposition == DmarcPolicy.REJECT:
        return name
    if rule and facts["arc.trusted"] and "arc.trusted" in rule.condition.text:
        return str(facts["arc.trusted_chain"])
    evidence = _words(facts, "indirect.evidence")
    return f"{name} ({', '.join(evidence)})" if evidence else name


def _words(facts: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = facts[name]
    return tuple(str(word) for word in value) if isinstance(value, list) else ()
