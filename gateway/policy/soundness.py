"""Conditions that fail when they are asked. Such a rule defers every message that reaches it (451), so these failures
are searched for when rules are read.

A literal pattern is compiled. The condition is asked about an everyday message of its stage and about its examples.
Each operand of `&&`, `||` and `? :` is asked by itself, about messages that differ in every fact. An operand that fails
for all of them never works, though another operand may hide it for a while.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from gateway.model.value import Value
from gateway.policy.expression import Activation, CannotEvaluate, Condition, ExpressionFault, Language
from gateway.policy.facts import FACTS, FactKind

_TOKEN = re.compile(
    r"""(?P<string>[bB]?(?:[rR](?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        |\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<gap>\s+|//[^\n]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||.)""",
    re.DOTALL | re.VERBOSE,
)
_OPERATORS = frozenset({"&&", "||", "?", ":"})
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_PREFIX = re.compile(r"^[A-Z_]+: ")
_TEXTS = ("", "1", "1.5", "true", "192.0.2.1", "2026-01-01T00:00:00Z", "1h", "someone@sender.example")
"""Possible texts, among them a valid one for each conversion."""
_NUMBERS = (0, 1, 7, -1)
_USUAL = {fact.name: fact.usual for fact in FACTS}


class _Token(Value):
    kind: str
    text: str
    start: int


def find_failure(
    condition: Condition, examples: Sequence[Mapping[str, object]], language: Language
) -> ExpressionFault | None:
    """The first place where the condition fails; None when it can be asked."""
    tokens = [token for token in _read(condition.text) if token.kind != "gap"]
    for token in _find_patterns(tokens):
        problem = _try_pattern(token.text, language)
        if problem:
            return _place(condition.text, token.start, f"matches: {problem}")
    operands = [(part[0].start, _compile(condition.text, part, language)) for part in _split(tokens) if part]
    usual, vary = _bind_messages(language)
    for number, known in enumerate((usual, *(language.bind_some({**_USUAL, **facts}) for facts in examples))):
        problem = _ask(condition, known)
        if problem:
            whom = f"example {number}" if number else "an everyday message"
            failing = (start for start, operand in operands if operand is not None and _ask(operand, known))
            return _place(condition.text, next(failing, 0), f"fails for {whom}: {problem}")
    for start, operand in operands:
        problems = [_ask(operand, known) for known in (usual, *vary)] if operand is not None else [""]
        if all(problems):
            return _place(condition.text, start, f"fails for every message: {problems[0]}")
    return None


def _read(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        yield _Token(found.lastgroup or "", found.group(), found.start())


def _find_patterns(tokens: Sequence[_Token]) -> Iterator[_Token]:
    """The last argument of each `matches`, if it is a single literal string."""
    for at, token in enumerate(tokens[:-1]):
        if token.text == "matches" and tokens[at + 1].text == "(":
            depth = 0
            for end in range(at + 1, len(tokens)):
                depth += (tokens[end].text in _OPEN) - (tokens[end].text in _CLOSE)
                if depth == 0:
                    if tokens[end - 1].kind == "string" and tokens[end - 2].text in ("(", ","):
                        yield tokens[end - 1]
                    break


def _try_pattern(literal: str, language: Language) -> str:
    condition = language.compile_part(f'"".matches({literal})')
    return _ask(condition, language.bind_some({})) if condition is not None else ""


def _split(tokens: Sequence[_Token]) -> Iterator[Sequence[_Token]]:
    """The operands, down to those that contain no other."""
    depth, start, parts = 0, 0, []
    for at, token in enumerate(tokens):
        depth += (token.kind == "mark") * ((token.text in _OPEN) - (token.text in _CLOSE))
        if depth == 0 and token.kind == "mark" and token.text in _OPERATORS:
            parts.append(tokens[start:at])
            start = at + 1
    parts.append(tokens[start:])
    if len(parts) > 1:
        for part in parts:
            yield from _split(part)
    elif tokens and tokens[0].text == "!":
        yield from _split(tokens[1:])
    elif tokens and tokens[0].text == "(" and tokens[-1].text == ")" and _is_one_group(tokens):
        yield from _split(tokens[1:-1])
    else:
        yield tokens


def _is_one_group(tokens: Sequence[_Token]) -> bool:
    """The last token closes the group that the first one opens."""
    depth = 0
    for token in tokens[:-1]:
        depth += (token.kind == "mark") * ((token.text in _OPEN) - (token.text in _CLOSE))
        if depth == 0:
            return False
    return True


def _compile(text: str, part: Sequence[_Token], language: Language) -> Condition | None:
    """None for a part that is not a condition by itself. The whole expression was already checked for the facts that it
    may name."""
    return language.compile_part(text[part[0].start : part[-1].start + len(part[-1].text)])


def _ask(condition: Condition, known: Activation) -> str:
    """The reason of a failure; empty when it gives true or false."""
    try:
        condition.holds(known)
    except CannotEvaluate as error:
        return _PREFIX.sub("", str(error)).strip()
    return ""


@lru_cache(maxsize=2)
def _bind_messages(language: Language) -> tuple[Activation, tuple[Activation, ...]]:
    """The everyday message, and some that differ from it and from each other in every fact."""
    messages = []
    for number, text in enumerate(_TEXTS):
        values: dict[FactKind, object] = {
            FactKind.BOOL: bool(number % 2),
            FactKind.INT: _NUMBERS[number % len(_NUMBERS)],
            FactKind.STRING: text,
            FactKind.STRINGS: [text] * (number * 3),
        }
        messages.append(language.bind_some({fact.name: values[fact.kind] for fact in FACTS}))
    return language.bind_some(_USUAL), tuple(messages)


def _place(text: str, start: int, problem: str) -> ExpressionFault:
    before = text[:start]
    return ExpressionFault(before.count("\n") + 1, start - before.rfind("\n"), problem)
