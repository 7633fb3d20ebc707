"""The proof whether a rule can ever decide. A rule that cannot is a mistake: a misspelt value, or a rule hidden by
another one.

The condition is tried with every combination of the values of its finite facts, all other facts unknown. CEL gives a
boolean from unknown operands only when they do not matter, so `false` here is false for every message.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from math import prod

from gateway.model.decision import Stage
from gateway.model.value import Value
from gateway.policy.evaluate import add_doubt, decide
from gateway.policy.expression import CannotEvaluate, Condition, Language
from gateway.policy.facts import FACTS, Fact
from gateway.policy.rules import Example, Rule, RuleFailure, RuleSet


class Tried(Value):
    """An example, asked."""

    rule: Rule
    example: Example
    problem: str
    """The actual result; empty when the example is true."""


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


_MOST_COMBINATIONS = 4096
_NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")


def can_hide(condition: Condition, language: Language, facts: Collection[Fact]) -> bool:
    """True when some values of finite facts alone satisfy the condition. A condition that always depends on other facts
    hides no later rule and need not be tried. So the proof takes about as long per rule in a long set as in a short
    one."""
    own = _finite_facts([condition], [], facts)
    if len(own) < len(_finite_names(condition, facts)):
        return True  # too many combinations to try them all
    return any(_holds(condition, language.bind_some(combination)) for combination in _combine(own))


def find_futility(
    condition: Condition, earlier: Sequence[tuple[str, Condition]], language: Language, facts: Collection[Fact]
) -> str:
    """The reason why the condition can never decide after the earlier ones, which have names; empty when it can, or
    when the proof would take too long."""
    own = _finite_facts([condition], [], facts)
    more = _finite_facts([other for _, other in earlier], own, facts)
    possible = False
    hiding: set[str] = set()
    for combination in _combine(own):
        if _holds(condition, language.bind_some(combination)) is False:
            continue
        possible = True
        # Usually the values in the rule itself already show the earlier rule that comes first.
        first = _find_first(earlier, language, combination)
        if first is not None:
            hiding.add(first)
            continue
        for rest in _combine(more):
            first = _find_first(earlier, language, {**combination, **rest})
            if first is None:
                return ""
            hiding.add(first)
    if not possible:
        return "can never hold"
    names = " or ".join(name for name, _ in earlier if name in hiding)
    return f"is never asked: whenever it holds, {names} comes first; write first = true to have it asked before"


def _find_first(
    earlier: Sequence[tuple[str, Condition]], language: Language, combination: dict[str, object]
) -> str | None:
    """The first rule that certainly matches."""
    known = language.bind_some(combination)
    return next((name for name, condition in earlier if _holds(condition, known)), None)


def _finite_facts(conditions: Sequence[Condition], chosen: Sequence[Fact], facts: Collection[Fact]) -> list[Fact]:
    """The finite facts in the conditions, beyond those chosen: of as many conditions as time allows."""
    found: list[Fact] = []
    for condition in conditions:
        named = _finite_names(condition, facts)
        more = [one for one in named if one not in chosen and one not in found]
        if prod(len(fact.values) for fact in [*chosen, *found, *more]) <= _MOST_COMBINATIONS:
            found += more
    return found


def _finite_names(condition: Condition, facts: Collection[Fact]) -> list[Fact]:
    names = set(_NAME.findall(condition.text))
    return [one for one in facts if one.values and one.name in names]


def _combine(facts: Sequence[Fact]) -> Iterator[dict[str, object]]:
    for values in product(*(fact.values for fact in facts)):
        yield {fact.name: value for fact, value in zip(facts, values, strict=True)}


def _holds(condition: Condition, known: object) -> bool | None:
    """None when it depends on facts that are not known."""
    try:
        return condition.holds(known)
    except CannotEvaluate:
        return None
