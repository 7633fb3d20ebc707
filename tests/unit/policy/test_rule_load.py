"""Rule files: the refused ones, and the texts of the refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.model.decision import Action, Stage
from gateway.model.reply import REPLIES
from gateway.policy.draft import name_replies
from gateway.policy.load import load
from gateway.policy.rules import RuleErrors, RuleSet
from tests.unit.policy.scenes import shipped


def rule(id: str = "one", when: str = 'dmarc.result == "fail"', then: str = "quarantine", more: str = "") -> str:
    return f'[[rule]]\nid = "{id}"\nstage = "data"\nwhen = \'{when}\'\nthen = "{then}"\n{more}\n'


def read(*rules: str, **files: str) -> RuleSet:
    named = {f"{name}.toml": text for name, text in files.items()}
    return load("mine", {"mine.toml": 'set = "mine"\n' + "".join(rules), **named})


def complaints(*rules: str, **files: str) -> list[str]:
    with pytest.raises(RuleErrors) as caught:
        read(*rules, **files)
    return caught.value.format().split("\n")


def test_a_rule_as_it_stands_in_force() -> None:
    rules = read(rule(), rule("two", 'spf.result == "fail"', "reject", 'reply = "unacceptable"\nshadow = true'))
    one, two = rules.rules[Stage.DATA]
    assert (one.id, one.action, one.reply.code, one.shadow) == ("one", Action.QUARANTINE, 250, False)
    assert (two.id, two.action, two.reply.code, two.shadow) == ("two", Action.REJECT, 550, True)
    assert rules.name == "mine"
    assert rules.rules[Stage.CONNECT] == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule(then="rejekt"), 'mine.toml:6: rule one: then: no then "rejekt"; did you mean reject?'),
        (rule().replace("data", "dta"), 'mine.toml:4: rule one: stage: no stage "dta"; did you mean data?'),
        (rule(then="reject"), "mine.toml:2: rule one: reply: is not set, and reject needs one"),
        (rule(then="reject", more='reply = "dmarc"'), 'mine.toml:7: rule one: reply: no reply "dmarc"'),
        (rule(then="reject", more='reply = "dns-wait"'), 'reply: "dns-wait" is a 451, and reject needs a 5yz'),
        (rule(then="defer", more='reply = "spf-fail"'), 'reply: "spf-fail" is a 550, and defer needs a 4yz'),
        (rule(then="defer", more='reply = "accepted"'), 'reply: "accepted" is a 250, and defer needs a 4yz'),
        (rule(more='reply = "unacceptable"'), "mine.toml:7: rule one: reply: quarantine is always answered 250"),
        (rule(more="whenn = 1"), "mine.toml:7: rule one: whenn: no such setting; did you mean when?"),
        (rule(more='shadow = "yes"'), "mine.toml:7: rule one: shadow: write true or false"),
        (rule().replace('id = "one"\n', ""), "mine.toml:2: rule #1: id: is not set"),
        (rule("Über"), 'mine.toml:3: rule Über: id: "Über" cannot be an id'),
        (rule("default"), 'mine.toml:3: rule default: id: "default" cannot be an id'),
        (
            rule() + rule("one", 'spf.result == "fail"'),
            "mine.toml:9: rule one: id: another rule has this id: mine.toml:3",
        ),
        ("rules = 1\n", "mine.toml:2: rules: no such setting; did you mean rule?"),
        ("[rule]\nid = 1\n", "mine.toml:2: rule: write each rule as [[rule]]"),
        ("x = \n", "mine.toml:2: no TOML: Invalid value"),
        ('include = ["other.toml"]\n', 'mine.toml:2: include: no rule file "other.toml"'),
        ('include = ["mien.toml"]\n', 'mine.toml:2: include: no rule file "mien.toml"; did you mean mine.toml?'),
        ('beside = "nosuch"\n', 'mine.toml:2: beside: no rule set named "nosuch"; there are: mine'),
        (rule(then="defer", more='reply = "zzz"'), 'reply: no reply "zzz"; for defer there are: dns-wait, hold-full, '),
        (rule(when="dmarc.reslt ==").replace("data", "dta"), "mine.toml:5: rule one: when: "),
        ('include = "other.toml"\n', "mine.toml:2: include: write a list of files"),
    ],
)
def test_refusals(text: str, expected: str) -> None:
    assert any(expected in line for line in complaints(text)), complaints(text)


def test_the_file_must_call_itself_by_its_name() -> None:
    with pytest.raises(RuleErrors, match=r'mine\.toml:1: set: write set = "mine"'):
        load("mine", {"mine.toml": 'set = "other"'})


def test_a_set_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(RuleErrors) as caught:
        load("nosuch", {"mine.toml": 'set = "mine"', "part.toml": rule()})
    assert caught.value.format() == 'no rule set named "nosuch"; there are: mine'


@pytest.mark.parametrize("action", [Action.REJECT, Action.DEFER])
def test_the_page_lists_the_replies_that_a_rule_can_name(action: Action) -> None:
    page = Path("docs/policy.md").read_text("utf-8")
    listed = re.findall(rf"^\| `([a-z0-9-]+)` \| {action} \| (\d+) (\S+) \| (.*) \|$", page, re.MULTILINE)
    replies = [(name, REPLIES[name]) for name in name_replies(action)]
    assert listed == [(name, str(reply.code), reply.enhanced, reply.text) for name, reply in replies]
    for name, _ in replies:
        assert read(rule(then=str(action), more=f'reply = "{name}"')).rules[Stage.DATA]


def test_an_expression_is_shown_with_a_caret() -> None:
    text = rule().replace("'dmarc.result == \"fail\"'", "'''\ningress.edge\n  && dmarc.reslt == \"fail\"\n'''")
    assert complaints(text) == [
        "mine.toml:7: rule one: when: no fact named dmarc.reslt; did you mean dmarc.result?",
        '      && dmarc.reslt == "fail"',
        "         ^",
    ]


def test_every_mistake_is_told_at_once() -> None:
    lines = complaints(rule(then="rejekt"), rule("two", "dmarc.policy"), rule("two", 'spf.result == "fial"'))
    assert [line.split(": ", 1)[0] for line in lines if line.startswith("mine")] == [
        "mine.toml:6",
        "mine.toml:11",
        "mine.toml:15",
        "mine.toml:17",
    ]


@pytest.mark.parametrize(
    "when",
    [
        "false",
        'dmarc.result == "fial"',
        'ingress.edge && dmarc.policy == "pass"',
        "ingress.edge && !ingress.edge",
        'message.size > 10 && spf.result == "softfial"',
        '"direct-spof" in dmarc.grounds',
        'dmarc.result == "pass" && dmarc.result == "fail"',
    ],
)
def test_a_condition_that_can_never_hold_is_refused(when: str) -> None:
    assert complaints(rule(when=when))[0] == "mine.toml:5: rule one: when: can never hold"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("true", "ingress.edge"),
        ("ingress.edge || !ingress.edge", 'dmarc.result == "fail"'),
        ('dmarc.result == "fail"', 'dmarc.result == "fail" && message.size > 10'),
        ('dmarc.result != "pass"', 'dmarc.result == "fail"'),
        ('!("arc" in indirect.evidence)', "size(indirect.evidence) == 0"),
    ],
)
def test_a_rule_that_another_hides_is_refused(first: str, second: str) -> None:
    lines = complaints(rule("first", first), rule("second", second))
    assert "rule second: when: is never asked: whenever it holds, first comes first; write first = true" in lines[0]


def test_rules_that_hide_one_together_are_both_named() -> None:
    lines = complaints(rule("a", "ingress.edge"), rule("b", "!ingress.edge"), rule("c", 'dmarc.result == "fail"'))
    assert "whenever it holds, a or b comes first" in lines[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('dmarc.result == "fail" && message.size > 10', 'dmarc.result == "fail"'),
        ("message.size > 10", "message.size > 20"),
        ('envelope.mail_from == "a@b.example"', 'spf.result == "fail"'),
    ],
)
def test_what_might_decide_is_let_stand(first: str, second: str) -> None:
    assert len(read(rule("first", first), rule("second", second)).rules[Stage.DATA]) == 2


def test_a_shadow_rule_and_another_stage_hide_nothing() -> None:
    early = rule("early", "true").replace('"data"', '"connect"').replace("quarantine", "accept")
    rules = read(early, rule("shadow", "true", more="shadow = true"), rule("second"))
    assert [one.id for one in rules.rules[Stage.DATA]] == ["shadow", "second"]


def test_included_rules_come_first() -> None:
    rules = read('include = ["base.toml"]\n', rule("own"), base=rule("base", 'spf.result == "fail"'))
    assert [one.id for one in rules.rules[Stage.DATA]] == ["base", "own"]


def test_a_rule_can_be_asked_before_those_included() -> None:
    own = rule("own", 'spf.result == "fail" && message.size > 10', more="first = true")
    rules = read('include = ["base.toml"]\n', own, rule("last"), base=rule("base", 'spf.result == "fail"'))
    assert [one.id for one in rules.rules[Stage.DATA]] == ["own", "base", "last"]


def test_only_a_text_can_be_changed() -> None:
    base = rule("base", then="reject", more='reply = "unacceptable"')
    head = 'include = ["base.toml"]\n[texts]\nbase = "Ask {domain} for help"\n'
    (one,) = read(head, base=base).rules[Stage.DATA]
    assert (one.reply.code, one.reply.text) == (550, "Ask {domain} for help")
    wrong = complaints('include = ["base.toml"]\n[texts]\nbsae = "x"\n', base=base)
    assert wrong[0].startswith("mine.toml:4: texts.bsae: there is no rule of this id; did you mean base?")
    assert "texts: write rule ids and texts" in complaints("[texts]\nbase = 1\n")[0]
    assert "no {nobody} here" in complaints('include = ["base.toml"]\n[texts]\nbase = "{nobody}"\n', base=base)[0]


def test_mistakes_in_an_included_file_carry_its_name() -> None:
    lines = complaints('include = ["base.toml"]\n', base="\n" + rule(then="x"))
    assert lines[0].startswith("base.toml:6: rule one: then")


def test_including_in_a_circle_is_refused() -> None:
    lines = complaints('include = ["base.toml"]\n', base='\ninclude = ["mine.toml"]')
    assert lines == ["base.toml:2: mine.toml includes itself"]


def test_a_rule_of_an_early_stage_cannot_see_the_content() -> None:
    text = rule(when='dmarc.result == "fail"', then="accept").replace('"data"', '"rcpt"')
    assert "dmarc.result is not known yet at stage rcpt, only from data on" in complaints(text)[0]


def test_the_shipped_set_loads() -> None:
    assert next(one.id for one in shipped("enforce").rules[Stage.DATA]) == "inside"
