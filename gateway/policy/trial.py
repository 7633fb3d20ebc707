"""Whether the examples of rules come true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.model.decision import Stage
from gateway.model.value import Value
from gateway.policy.evaluate import add_doubt, decide
from gateway.policy.rules import Example, Rule, RuleFailure, RuleSet
from gateway.policy.vocabulary import FACTS


class Tried(Value):
    """An example, asked."""

    rule: Rule
    example: Example
    problem: str
    """What came out instead; empty when it came true."""


def usual_facts(different: Mapping[str, object]) -> dict[str, object]:
    """The facts of an everyday message with these differences."""
    return {**{fact.name: fact.usual for fact in FACTS}, **different}


def try_examples(rules: RuleSet) -> Iterator[Tried]:
    """Ask the set about every example of its rules, in the order of the set."""
    for stage in Stage:
        for rule in rules.rules[stage]:
            for example in rule.examples:
                yield Tried(rule, example, _try(rules, rule, example))


def _try(rules: RuleSet, rule: Rule, example: Example) -> str:
    facts = usual_facts(example.facts)
    try:
        if rule.stage is Stage.DATA and "dns.could_reject" not in example.facts:
            facts = dict(add_doubt(rules, facts))
        verdict = decide(rules, rule.stage, facts)
    except RuleFailure as error:
        return str(error)
    hits = (*verdict.shadow, *verdict.considered)
    decides = any(hit.matched and hit.rule == rule.id for hit in hits)
    if decides == example.decides:
        return ""
    other = f"{verdict.rule.id} decides ({verdict.rule.action})" if verdict.rule else "no rule decides"
    return f"{other}, not {rule.id}" if example.decides else f"{rule.id} decides, and must not"
