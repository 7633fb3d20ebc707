"""Sentences of a tool, from one module of texts, and the check whether a set of outputs contains each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

_PLACEHOLDER = re.compile(r"\\\{[^{}]*\\\}")


def sentences(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Name and template of every text; those in a mapping or a tuple are numbered."""
    for name, value in vars(module).items():
        if name.startswith("_") or not name.isupper():
            continue
        if isinstance(value, str):
            yield name, value
        else:
            rows = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"{name}[{key}]", text) for key, row in rows for text in _strings(row))


def _strings(row: object) -> Iterator[str]:
    if isinstance(row, str):
        yield row
    elif isinstance(row, tuple):
        yield from (text for one in row for text in _strings(one))


def unsaid(module: ModuleType, *outputs: str) -> list[str]:
    """The names of texts that are in none of the outputs, for any values of their placeholders."""
    said = re.sub(r"\s+", " ", "\n".join(outputs))
    return [name for name, template in sentences(module) if not _pattern(template).search(said)]


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(re.sub(r"\s+", " ", template.strip()).replace("{{", "{").replace("}}", "}"))
    return re.compile(_PLACEHOLDER.sub(".{0,400}?", escaped))
