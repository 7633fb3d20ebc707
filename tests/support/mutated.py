"""The mutations corpus: signed messages, their changes, and pairs of such changes made from it."""

from __future__ import annotations

import difflib
import functools
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.model.dnsdata import Answer, DnsStatus, Question
from tests.support.corpora import corpus

CONTROLS = ("B20", "H03", "H11", "H13", "H14")
"""Changes that break no relaxed signature."""
NOT_INVERTIBLE = ("B07", "H06", "H08")


@dataclass(frozen=True)
class Case:
    """One message with one change, or two."""

    id: str
    mutations: tuple[str, ...]
    """Ids such as `B01`."""
    base: bytes
    message: bytes
    now: float
    breaks: bool
    """Stock dkimpy finds no signature that passes, or not all."""


@functools.cache
def _corpus() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(corpus("mutations/cases.json").read_text())
    return found


def keys() -> dict[Question, Answer]:
    """The signers' keys."""
    return {Question(name, "TXT"): Answer(DnsStatus.FOUND, (text,)) for name, text in _corpus()["dns"].items()}


def cases() -> list[Case]:
    """Every case of the corpus."""
    return [
        Case(
            case["id"],
            (case["mutation"][:3],),
            corpus(f"mutations/{case['base']}").read_bytes(),
            corpus(f"mutations/{case['file']}").read_bytes(),
            case["verify_now"],
            any(result != "pass" for result in case["dkim_result_dkimpy118"]),
        )
        for case in _corpus()["cases"]
    ]


def pairs(count: int, seed: int = 0) -> list[Case]:
    """So many pairs of invertible changes, drawn from all that can be merged; each change of a pair breaks the
    signature."""
    usable = [case for case in cases() if case.breaks and case.mutations[0] not in NOT_INVERTIBLE]
    together = [
        (one, other)
        for one, other in itertools.combinations(usable, 2)
        if one.base == other.base and one.mutations != other.mutations
    ]
    random.Random(seed).shuffle(together)
    return list(itertools.islice(_merge(together), count))


def _merge(together: list[tuple[Case, Case]]) -> Iterator[Case]:
    for one, other in together:
        edits = sorted([*_edits(one.base, one.message), *_edits(other.base, other.message)])
        if all(upper[1] <= lower[0] and upper[0] != lower[0] for upper, lower in itertools.pairwise(edits)):
            message = _apply(one.base, edits)
            mutations = (one.mutations[0], other.mutations[0])
            yield Case(f"{one.id}+{other.id}", mutations, one.base, message, one.now, True)


@functools.cache
def _edits(base: bytes, message: bytes) -> tuple[tuple[int, int, tuple[bytes, ...]], ...]:
    """(first line, end, new lines)"""
    old, new = base.splitlines(keepends=True), message.splitlines(keepends=True)
    opcodes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return tuple((a, b, tuple(new[c:d])) for word, a, b, c, d in opcodes if word != "equal")


def _apply(base: bytes, edits: list[tuple[int, int, tuple[bytes, ...]]]) -> bytes:
    lines = base.splitlines(keepends=True)
    for start, end, new in reversed(edits):
        lines[start:end] = new
    return b"".join(lines)
