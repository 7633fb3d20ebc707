"""Traps of the CEL library, and their checks."""

from __future__ import annotations

import pytest

from gateway.model.decision import Stage
from gateway.policy.expression import CannotEvaluate, ExpressionErrors, ExpressionFault, Language
from gateway.policy.facts import Fact, FactKind

FACTS = (
    Fact("a.flag", FactKind.BOOL, Stage.CONNECT, "", (False, True)),
    Fact("a.word", FactKind.STRING, Stage.MAIL, ""),
    Fact("a.words", FactKind.STRINGS, Stage.DATA, ""),
    Fact("a.count", FactKind.INT, Stage.DATA, ""),
)
LANGUAGE = Language(FACTS)
VALUES = {"a.flag": True, "a.word": "x", "a.words": ["x", "y"], "a.count": 3}


def faults(text: str, stage: Stage = Stage.DATA) -> tuple[ExpressionFault, ...]:
    with pytest.raises(ExpressionErrors) as caught:
        LANGUAGE.compile(text, stage)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.flag", True),
        ('a.word == "x" && a.count > 2', True),
        ('"z" in a.words', False),
        ('a.words.exists(w, w.startsWith("y"))', True),
        ('a.word.matches("^(x|y)$")', True),
        ("size(a.words) == 2", True),
    ],
)
def test_conditions_hold_or_not(text: str, expected: bool) -> None:
    assert LANGUAGE.compile(text, Stage.DATA).holds(LANGUAGE.bind(VALUES, Stage.DATA)) is expected


def test_a_misspelt_fact_is_named_with_its_place_and_the_nearest_one() -> None:
    assert faults('a.flag &&\n  "é" == a.wrod') == (
        ExpressionFault(2, 10, "no fact named a.wrod; did you mean a.word?"),
    )


def test_all_faults_are_told_at_once() -> None:
    assert [(fault.line, fault.column) for fault in faults('a.wrod == "x" || a.count == "x"')] == [(1, 1), (1, 26)]


def test_a_fact_of_a_later_stage_is_refused() -> None:
    assert faults('a.word == "x"', Stage.CONNECT)[0].problem == (
        "a.word is not known yet at stage connect, only from mail on"
    )
    LANGUAGE.compile('a.word == "x"', Stage.RCPT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.word", "gives string, not true or false"),
        ("dyn(a.flag)", "gives dyn, not true or false"),
        ('a.count == "3"', "types do not fit: '_==_' applied to '(int, string)'"),
        ("", "Syntax error: mismatched input '<EOF>'"),
        ("a.flag &&", "Syntax error: mismatched input '<EOF>'"),
        ("nonsense()", "no fact named nonsense"),
        ("a.flag == ü", "Syntax error: token recognition error at: 'ü'"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, problem: str) -> None:
    assert faults(text)[0].problem == problem


@pytest.mark.parametrize("missing", VALUES)
def test_a_missing_fact_is_noticed_even_where_the_library_would_not_look(missing: str) -> None:
    values = {name: value for name, value in VALUES.items() if name != missing}
    with pytest.raises(CannotEvaluate, match=missing):
        LANGUAGE.bind(values, Stage.DATA)


@pytest.mark.parametrize(
    "values",
    [{"a.flag": 1}, {"a.flag": None}, {"a.count": True}, {"a.count": 3.0}, {"a.words": ("x",)}, {"a.word": b"x"}],
)
def test_a_fact_of_the_wrong_type_is_noticed(values: dict[str, object]) -> None:
    with pytest.raises(CannotEvaluate, match=next(iter(values))):
        LANGUAGE.bind({**VALUES, **values}, Stage.DATA)


def test_facts_of_later_stages_are_not_asked_for() -> None:
    bound = LANGUAGE.bind({"a.flag": True}, Stage.CONNECT)
    assert LANGUAGE.compile("a.flag", Stage.CONNECT).holds(bound) is True


@pytest.mark.parametrize(
    "text",
    [
        'a.words[5] == "x"',
        "a.count / 0 == 1",
        'a.word.matches("(")',
        # The library's budget for loops.
        'a.words.all(v, a.words.all(w, v != "q" && w != "q"))',
    ],
)
def test_what_cannot_be_evaluated_is_no_answer(text: str) -> None:
    facts = LANGUAGE.bind({**VALUES, "a.words": ["x"] * (5 if "[5]" in text else 400)}, Stage.DATA)
    with pytest.raises(CannotEvaluate):
        LANGUAGE.compile(text, Stage.DATA).holds(facts)


def test_a_hostile_pattern_subject_is_matched_in_linear_time() -> None:
    facts = LANGUAGE.bind({**VALUES, "a.word": "a" * 50_000 + "b"}, Stage.DATA)
    assert LANGUAGE.compile('a.word.matches("(a+)+$")', Stage.DATA).holds(facts) is False
