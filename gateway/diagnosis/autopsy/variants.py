"""The proposals of an inverse: changed places, of which all or only some may have been changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import StrEnum

from gateway.diagnosis.autopsy.edits import Edit
from gateway.model.value import Value

_MOST_SUBSETS = 600
"""Subsets of one variant: nine places are tried in every combination, more in the simplest ones."""


class VariantChoice(StrEnum):
    """The edits of a variant that go together."""

    ALL = "all"
    """They are one change."""
    ANY = "any"
    """Each place was changed or not, independently."""
    ONE = "one"
    """One of them, or all."""


class Variant(Value):
    """One way to undo a change."""

    edits: tuple[Edit, ...]
    choice: VariantChoice = VariantChoice.ANY
    cost: float = 0.0
    """Improbability compared with the entry's usual way; 1 is about a tenth."""


def choose(variant: Variant) -> Iterator[tuple[float, tuple[Edit, ...]]]:
    """The sets of edits that a variant stands for, each with its cost, the likely ones first."""
    edits = variant.edits
    if not edits:
        return
    yield variant.cost, edits
    if variant.choice is VariantChoice.ALL or len(edits) == 1:
        return
    if variant.choice is VariantChoice.ONE:
        for number, edit in enumerate(edits):
            yield variant.cost + 0.5 + number / 1000, (edit,)
        return
    subsets = itertools.islice(_subsets(edits), _MOST_SUBSETS)
    for number, subset in enumerate(subsets):
        yield variant.cost + 0.3 + number / 100, subset


def _subsets(edits: tuple[Edit, ...]) -> Iterator[tuple[Edit, ...]]:
    """All proper subsets, few places or nearly all of them first."""
    count = len(edits)
    for size in range(1, count // 2 + 1):
        yield from itertools.combinations(edits, size)
        if size != count - size:
            yield from itertools.combinations(edits, count - size)
