"""Conditions of rules: CEL over typed facts. The only file that imports the CEL library.

Each fact is declared as a variable with a dotted name, so a misspelt one is refused when the rule is loaded. This file
adds two checks that the library lacks. A value that is missing or of the wrong type can vanish behind `&&` and `||`, so
facts are checked before they are used. An expression that cannot be evaluated yields an error value or raises; it never
yields a boolean.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from cel_expr_python import cel

from gateway.model.decision import Stage
from gateway.model.value import Value
from gateway.policy.facts import Fact, FactKind

Activation: TypeAlias = Any
"""Facts in the form of the library."""

_TYPES = {
    FactKind.BOOL: cel.Type.BOOL,
    FactKind.INT: cel.Type.INT,
    FactKind.STRING: cel.Type.STRING,
    FactKind.STRINGS: cel.Type.List(cel.Type.STRING),
}
PYTHON_TYPES = {FactKind.BOOL: bool, FactKind.INT: int, FactKind.STRING: str, FactKind.STRINGS: list}
_AT_ONCE = 8
"""Conditions in one choice: the library accepts expressions nested up to 32 deep."""
_FAULT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_EXPECTING = re.compile(r" expecting \{.*", re.DOTALL)


class CannotEvaluate(Exception):
    """A condition gave no boolean, or the facts differ from their declaration."""


class ExpressionFault(Value):
    """A fault in an expression. Line and column count from 1."""

    line: int
    column: int
    problem: str


class ExpressionErrors(Exception):
    """All faults of one expression."""

    def __init__(self, faults: tuple[ExpressionFault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults


class Condition:
    """A compiled expression that gives a boolean."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def holds(self, facts: Activation) -> bool:
        """Raises CannotEvaluate for a result that is not a boolean."""
        try:
            value = self._compiled.eval(facts).value()
        except RuntimeError as error:
            # E.g. nested loops over long lists use up the iteration budget.
            raise CannotEvaluate(str(error)) from None
        if value is True or value is False:
            return value
        raise CannotEvaluate(str(value))


class Choice:
    """Several consecutive conditions in one evaluation, which costs little more than one of them alone."""

    __slots__ = ("_compiled", "size")

    def __init__(self, size: int, compiled: Any) -> None:
        self.size = size
        self._compiled = compiled

    def find_first(self, facts: Activation) -> int | None:
        """The number of the first condition that holds; None when none does. Raises CannotEvaluate when an asked
        condition gives no boolean."""
        try:
            value = self._compiled.eval(facts).value()
        except RuntimeError as error:
            raise CannotEvaluate(str(error)) from None
        if type(value) is not int:
            raise CannotEvaluate(str(value))
        return value if value < self.size else None


class Language:
    """CEL over one set of facts."""

    def __init__(self, facts: Collection[Fact]) -> None:
        self._facts = {fact.name: fact for fact in facts}
        self._env = _declare(facts)
        self._known = {
            stage: {fact.name: PYTHON_TYPES[fact.kind] for fact in facts if fact.known_at(stage)} for stage in Stage
        }
        self._types = {stage: list(known.values()) for stage, known in self._known.items()}
        self._envs = {stage: _declare([fact for fact in facts if fact.known_at(stage)]) for stage in Stage}

    def compile(self, text: str, stage: Stage) -> Condition:
        """Check an expression against the facts known at `stage`. Raises ExpressionErrors with every fault."""
        try:
            self._envs[stage].compile(text)
            compiled = self._env.compile(text)
        except RuntimeError as error:
            raise ExpressionErrors(self._explain(str(error), text, stage)) from None
        given = compiled.return_type()
        if given != cel.Type.BOOL:
            raise ExpressionErrors((ExpressionFault(1, 1, f"gives {given.name().lower()}, not true or false"),))
        return Condition(text, compiled)

    def compile_part(self, text: str) -> Condition | None:
        """A part of an expression that was checked; None for a part that gives no boolean, or cannot stand alone."""
        try:
            compiled = self._env.compile(text)
        except RuntimeError:
            return None
        return Condition(text, compiled) if compiled.return_type() == cel.Type.BOOL else None

    def choose(self, conditions: Sequence[Condition]) -> tuple[Choice, ...]:
        """The conditions in order, in as few choices as the library's limit on nesting allows."""
        choices: list[Choice] = []
        for start in range(0, len(conditions), _AT_ONCE):
            choices += self._choose(conditions[start : start + _AT_ONCE])
        return tuple(choices)

    def _choose(self, conditions: Sequence[Condition]) -> Iterator[Choice]:
        size = len(conditions)
        text = str(size)
        for number in reversed(range(size)):
            text = f"(\n{conditions[number].text}\n) ? {number} : ({text})"
        try:
            compiled = self._env.compile(text)
        except RuntimeError:
            if size == 1:
                raise
            yield from self._choose(conditions[: size // 2])
            yield from self._choose(conditions[size // 2 :])
        else:
            yield Choice(size, compiled)

    def bind(self, facts: Mapping[str, object], stage: Stage) -> Activation:
        """The facts of one message. Raises CannotEvaluate unless every fact of the stage is there, well typed: the
        library would pass over a missing one where another operand decides."""
        known = self._known[stage]
        try:
            types = [*map(type, map(facts.__getitem__, known))]
        except KeyError as error:
            raise CannotEvaluate(f"fact {error.args[0]} is missing") from None
        if types != self._types[stage]:
            wrong = next(name for name, wanted in known.items() if type(facts[name]) is not wanted)
            raise CannotEvaluate(f"fact {wrong} is {type(facts[wrong]).__name__}")
        return self._env.Activation(facts)

    def bind_some(self, facts: Mapping[str, object]) -> Activation:
        """Facts of which only some are known. A condition that needs another fact raises CannotEvaluate."""
        return self._env.Activation(facts)

    def _explain(self, said: str, text: str, stage: Stage) -> tuple[ExpressionFault, ...]:
        lines = text.split("\n")
        faults = []
        for found in _FAULT.finditer(said):
            line, column = int(found[1]), int(found[2])
            problem = _EXPECTING.sub("", found[3]).removesuffix(" [INVALID_ARGUMENT]")
            undeclared = _UNDECLARED.match(problem)
            if undeclared and 0 < line <= len(lines):
                name = undeclared[1]
                # The library points at a dot inside the name.
                column = max(lines[line - 1].rfind(name, 0, column + len(name)) + 1, 1)
                problem = self._explain_name(name, stage)
            faults.append(
                ExpressionFault(line, column, problem.replace("found no matching overload for", "types do not fit:"))
            )
        return tuple(faults) or (ExpressionFault(1, 1, said),)

    def _explain_name(self, name: str, stage: Stage) -> str:
        if name in self._facts:
            return f"{name} is not known yet at stage {stage}, only from {self._facts[name].stage} on"
        close = get_close_matches(name, self._facts, 1)
        return f"no fact named {name}" + (f"; did you mean {close[0]}?" if close else "")


def _declare(facts: Collection[Fact]) -> Any:
    return cel.NewEnv(variables={fact.name: _TYPES[fact.kind] for fact in facts})
