"""Asking rules: first match, faults that are ours, shadows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.decision import Action, RuleHit, Stage
from gateway.policy.evaluate import decide, judge
from gateway.policy.facts import FACTS, Fact, FactKind
from gateway.policy.load import load
from gateway.policy.rules import RuleFailure, RuleSet
from tests.unit.policy.scenes import Scene, shipped


def rules(*conditions: str, more: str = "") -> RuleSet:
    text = 'set = "mine"\n'
    for number, when in enumerate(conditions, 1):
        text += f'[[rule]]\nid = "r{number}"\nstage = "data"\nwhen = \'{when}\'\nthen = "hold"\n{more}'
    return load("mine", {"mine.toml": text})


def hit(rule: str, matched: bool) -> RuleHit:
    return RuleHit(rule, Stage.DATA, matched)


def test_the_first_rule_that_holds_decides_and_no_later_one_is_asked() -> None:
    decision = judge(rules("message.size > 5000", "message.size > 500", "message.size > 400"), Scene().facts())
    assert (decision.action, decision.rule) == (Action.HOLD, "r2")
    assert decision.considered == (hit("r1", False), hit("r2", True))
    assert decision.reply.code == 250


def test_without_a_match_a_message_is_accepted_by_default() -> None:
    decision = judge(rules("message.size > 5000"), Scene().facts())
    assert (decision.action, decision.rule) == (Action.ACCEPT, "default")
    assert decision.considered == (hit("r1", False),)


@pytest.mark.parametrize("when", ['author.domains[10 - message.size / 1000] == "x"', "message.size / rcpt.count > 1"])
def test_a_rule_that_gives_no_boolean_is_a_fault_and_never_a_skip(when: str) -> None:
    facts = {**Scene().facts(), "rcpt.count": 0}
    with pytest.raises(RuleFailure) as caught:
        judge(rules("message.size > 5000", when, "message.size > 5"), facts)
    assert caught.value.rule == "r2"


def test_a_missing_fact_is_a_fault_even_if_no_rule_asks_for_it() -> None:
    facts = Scene().facts()
    del facts["message.hops"]
    with pytest.raises(RuleFailure, match=r"message\.hops is missing"):
        judge(rules("message.size > 5000"), facts)


def test_shadow_rules_are_recorded_and_decide_nothing() -> None:
    shadow = rules(
        "message.size > 5",
        'author.domains[10 - message.size / 1000] == "x"',
        "message.size > 5000",
        more="shadow = true\n",
    )
    decision = judge(shadow, Scene().facts())
    assert (decision.action, decision.rule, decision.considered) == (Action.ACCEPT, "default", ())
    assert [(one.rule.split(" ")[0], one.matched) for one in decision.shadow] == [
        ("r1", True),
        ("r2", False),
        ("r3", False),
    ]
    assert "failed: " in decision.shadow[1].rule


@pytest.mark.parametrize("holding", [0, 1, 7, 8, 9, 39, 40])
def test_many_rules_are_asked_together_and_answer_as_each_alone(holding: int) -> None:
    conditions = [f"message.size == {1000 if number == holding else 5000 + number}" for number in range(40)]
    decision = judge(rules(*conditions), Scene().facts())
    assert decision.rule == (f"r{holding + 1}" if holding < 40 else "default")
    asked = range(min(holding + 1, 40))
    assert decision.considered == tuple(hit(f"r{number + 1}", number == holding) for number in asked)


def test_a_failing_rule_among_many_is_named_and_only_when_it_is_asked() -> None:
    conditions = (
        ["message.size == 5000"] * 12
        + ['author.domains[10 - message.size / 1000] == "x"']
        + ["message.size == 1000"] * 3
    )
    conditions = [f"{one} && message.hops < {number + 100}" for number, one in enumerate(conditions)]
    with pytest.raises(RuleFailure) as caught:
        judge(rules(*conditions), Scene().facts())
    assert caught.value.rule == "r13"
    assert judge(rules("message.size == 1000", *conditions), Scene().facts()).rule == "r1"


def test_a_condition_may_be_nested_and_have_remarks() -> None:
    deep = "(" * 9 + "message.size > 500 // a remark\n" + ")" * 9
    text = 'set = "mine"\n' + "".join(
        f"[[rule]]\nid = \"r{n}\"\nstage = \"data\"\nwhen = '''{deep} && message.hops == {n}'''\nthen = \"hold\"\n"
        for n in range(10)
    )
    assert judge(load("mine", {"mine.toml": text}), Scene().facts()).rule == "r0"


def test_stages_are_asked_apart() -> None:
    text = (
        'set = "mine"\n[[rule]]\nid = "tls"\nstage = "mail"\nwhen = "!ingress.tls"\nthen = "reject"\n'
        'reply = "unacceptable"'
    )
    early = load("mine", {"mine.toml": text})
    facts = Scene().facts()
    verdict = decide(early, Stage.MAIL, facts)
    assert verdict.rule is not None
    assert verdict.rule.id == "tls"
    assert decide(early, Stage.DATA, facts).rule is None


def value_of(fact: Fact) -> st.SearchStrategy[object]:
    if fact.values:
        return st.sampled_from(fact.values)
    names = st.sampled_from(["", "own.example", "stranger.example"])
    if fact.kind is FactKind.INT:
        return st.integers(0, 3)
    return st.lists(names, max_size=2) if fact.kind is FactKind.STRINGS else names


@given(
    st.fixed_dictionaries({fact.name: value_of(fact) for fact in FACTS}),
    st.sampled_from([shipped(name) for name in ("learn", "enforce", "strict")]),
)
def test_asked_together_the_shipped_rules_say_what_each_says_alone(facts: dict[str, object], rules: RuleSet) -> None:
    known = rules.language.bind(facts, Stage.DATA)
    alone = next((rule.id for rule in rules.rules[Stage.DATA] if rule.condition.holds(known)), None)
    verdict = decide(rules, Stage.DATA, facts)
    assert (verdict.rule.id if verdict.rule else None) == alone
    asked = [rule.id for rule in rules.rules[Stage.DATA]]
    assert [one.rule for one in verdict.considered] == (asked[: asked.index(alone) + 1] if alone else asked)
