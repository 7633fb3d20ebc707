"""`waypost policy test`: the results of examples, those beside the rules and those in files of the admin's own.

In: rule sets, TOML files with [[example]] tables, and a judge of message files. Out: a line for each example.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Group
from rich.text import Text

from gateway.config.text_file import read_text
from gateway.model.decision import Action, Decision, Stage
from gateway.model.place import KeyPath, Place, locate, nearest
from gateway.model.value import Value
from gateway.policy.draft import suggest
from gateway.policy.evaluate import judge, judge_early
from gateway.policy.proof import try_examples, usual_facts
from gateway.policy.rules import RuleErrors, RuleFailure, RuleMistake, RuleSet, find_fact_faults
from gateway.tools.narrative import clean
from gateway.tools.results import Json
from gateway.tools.simulate import CaseError, SimulatedCase, SimulationContext, read_case, simulate

_OWN = ("name", "stage", "facts", "then", "rule")
_OF_A_FILE = ("file", "ip", "helo", "mail_from", "rcpt", "dns", "now", "raw")
_AT = re.compile(r" \(at line (\d+), column \d+\)$")


class Trial(Value):
    """One example and its result."""

    place: str
    """`file:line`."""
    set: str
    name: str
    problem: str = ""
    """The actual result; empty when the example is true."""


class WantedDecision(Value):
    """An example from a file of the admin's own."""

    place: str
    name: str
    then: str
    """The action; empty for any."""
    rule: str
    """The rule that decides; empty for any."""
    stage: Stage
    facts: Mapping[str, object]
    case: SimulatedCase | None
    """A message file and its circumstances, instead of facts."""


MakeCase: TypeAlias = Callable[[Mapping[str, object], Path], SimulatedCase]


def try_rules(rules: RuleSet) -> Iterator[Trial]:
    """The examples beside the rules of a set."""
    for tried in try_examples(rules):
        place = f"{tried.rule.file}:{tried.example.line}"
        yield Trial(place, rules.name, tried.example.name or tried.rule.id, tried.problem)


async def try_wanted(
    wanted: Sequence[WantedDecision], rules: RuleSet, simulation_context: SimulationContext
) -> AsyncIterator[Trial]:
    """The examples of a file, under one set."""
    for one in wanted:
        try:
            decision = await _decide(one, rules, simulation_context)
        except (CaseError, OSError, RuleFailure) as error:
            yield Trial(one.place, rules.name, one.name, str(error))
            continue
        differs = (one.then and decision.action != one.then) or (one.rule and decision.rule != one.rule)
        said = f"{decision.rule} decides ({decision.action})"
        expected = " by ".join(word for word in (one.then, one.rule) if word)
        yield Trial(one.place, rules.name, one.name, f"{said}, not {expected}" if differs else "")


async def _decide(one: WantedDecision, rules: RuleSet, simulation_context: SimulationContext) -> Decision:
    if one.case is not None:
        return (await simulate(one.case, simulation_context)).rehearsed.trace.decision
    facts = usual_facts(one.facts)
    return judge(rules, facts) if one.stage is Stage.DATA else judge_early(rules, one.stage, facts)


def read_wanted(file: Path, defaults: Mapping[str, object]) -> list[WantedDecision]:
    """The examples of a file. `defaults` are options of the cases in it. Raises RuleErrors with every mistake, OSError
    when the file cannot be read."""
    text = read_text(file, toml=True)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT.search(str(error))
        problem = f"no TOML: {_AT.sub('', str(error))}"
        raise RuleErrors((RuleMistake(str(file), int(at[1]) if at else 1, "", problem),)) from None
    places = locate(text)
    tables = tree.get("example")
    if not isinstance(tables, list) or len(tree) != 1:
        raise RuleErrors((RuleMistake(str(file), 1, "", "write each example as [[example]], and nothing else"),))
    reader = _Reader(file, places, defaults)
    wanted = [reader.read(number, table) for number, table in enumerate(tables)]
    if reader.mistakes:
        raise RuleErrors(tuple(reader.mistakes))
    return [one for one in wanted if one is not None]


class _Reader:
    """One file, and its mistakes."""

    def __init__(self, file: Path, places: dict[KeyPath, Place], defaults: Mapping[str, object]) -> None:
        self._file = file
        self._places = places
        self._defaults = defaults
        self.mistakes: list[RuleMistake] = []

    def read(self, number: int, table: dict[str, Any]) -> WantedDecision | None:
        """The example; None when it has a mistake."""
        before = len(self.mistakes)
        known = _OF_A_FILE if "file" in table else ("stage", "facts")
        for key in table:
            if key not in (*known, "name", "then", "rule"):
                self._complain(number, (key,), f"{key}: no such setting{suggest(key, (*_OWN, *_OF_A_FILE))}")
        stage = Stage(self._choose(number, table, "stage", list(Stage)) or Stage.DATA)
        then = self._choose(number, table, "then", list(Action)) or ""
        if not then and not table.get("rule"):
            self._complain(number, (), 'says nothing of what is wanted: write then = "reject", rule = "...", or both')
        case = self._read_case(number, table) if "file" in table else None
        facts = table.get("facts", {})
        for path, problem in find_fact_faults(facts, stage) if isinstance(facts, dict) else [(("facts",), "a table")]:
            self._complain(number, path, problem)
        if len(self.mistakes) > before:
            return None
        line = nearest(self._places, ("example", number)).line
        name = str(table.get("name") or table.get("file") or f"example {number + 1}")
        return WantedDecision(f"{self._file}:{line}", name, then, str(table.get("rule", "")), stage, facts, case)

    def _read_case(self, number: int, table: dict[str, Any]) -> SimulatedCase | None:
        options = {**self._defaults, **{key: table[key] for key in _OF_A_FILE if key in table}}
        try:
            case = read_case(options, self._file.parent)
        except OSError as error:
            self._complain(number, ("dns",), f"dns: cannot read {error.filename}: {error.strerror}")
            return None
        except CaseError as error:
            self._complain(number, (), str(error))
            return None
        if not case.file.is_file():
            self._complain(number, ("file",), f"file: no message {case.file}; create it or fix its path")
        return case

    def _choose(self, number: int, table: dict[str, Any], key: str, words: Sequence[str]) -> str:
        value = table.get(key, "")
        if value and value not in words:
            self._complain(number, (key,), f'{key}: no "{value}"; there are: {", ".join(words)}')
            return ""
        return str(value)

    def _complain(self, number: int, path: tuple[str | int, ...], problem: str) -> None:
        line = nearest(self._places, ("example", number, *path)).line
        self.mistakes.append(RuleMistake(str(self._file), line, "", f"example {number + 1}: {problem}"))


def trials_json(trials: Sequence[Trial]) -> list[Json]:
    """One object for each example."""
    return [
        {"place": one.place, "set": one.set, "name": one.name, "true": not one.problem, "problem": one.problem or None}
        for one in trials
    ]


def render_trials(trials: Sequence[Trial]) -> Group:
    """The examples that are not true, and the number of true ones."""
    failed = [one for one in trials if one.problem]
    lines = [Text(clean(f"{one.place}: {one.set}: {one.name}: {one.problem}"), "red") for one in failed]
    return Group(*lines, Text(f"{len(trials) - len(failed)} of {len(trials)} examples come true."))
