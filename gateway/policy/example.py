"""Examples of rules: an everyday message, what is different about it, and whether the rule decides then.

In: the `[[rule.example]]` tables of a rule file. Out: the examples, or what is wrong with them. `trial` asks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from gateway.model.decision import Stage
from gateway.policy.expression import PYTHON_TYPES
from gateway.policy.rules import Example
from gateway.policy.vocabulary import FACTS, FactKind

_SETTINGS = {"name": str, "facts": dict, "decides": bool}
_FACTS = {fact.name: fact for fact in FACTS}
Fault = tuple[tuple[str | int, ...], str]
"""The path inside the example, and what is wrong there."""


def find_example_faults(table: object, stage: Stage) -> list[Fault]:
    """All that is wrong with an example of a rule of this stage."""
    if not isinstance(table, dict):
        return [((), "write each as [[rule.example]]")]
    faults: list[Fault] = []
    for key, value in table.items():
        wanted = _SETTINGS.get(key)
        if wanted is None:
            faults.append(((key,), f"{key}: no such setting; there are: {', '.join(_SETTINGS)}"))
        elif type(value) is not wanted:
            faults.append(((key,), f"{key}: a {wanted.__name__} is wanted"))
    facts = table.get("facts", {})
    return [*faults, *find_fact_faults(facts, stage)] if isinstance(facts, dict) else faults


def find_fact_faults(facts: Mapping[str, object], stage: Stage) -> Iterator[Fault]:
    """What is wrong with facts that somebody wrote down."""
    for name, value in facts.items():
        fact = _FACTS.get(name)
        if fact is None:
            close = get_close_matches(name, _FACTS, 1)
            hint = f"; did you mean {close[0]}?" if close else '; write it in quotes, as "dmarc.result"'
            yield ("facts", name), f"no fact named {name}{hint}"
        elif not fact.known_at(stage):
            yield ("facts", name), f"{name} is not known yet at stage {stage}, only from {fact.stage} on"
        elif type(value) is not PYTHON_TYPES[fact.kind]:
            yield ("facts", name), f"{name} is of type {fact.kind}"
        elif fact.values and fact.kind is FactKind.STRING and value not in fact.values:
            there = ", ".join(str(one) or '""' for one in fact.values)
            yield ("facts", name), f'{name} is never "{value}"; it is one of {there}'


def read_example(table: Mapping[str, Any], line: int) -> Example:
    """An example without faults."""
    return Example(table.get("name", ""), table.get("facts", {}), table.get("decides", True), line)
