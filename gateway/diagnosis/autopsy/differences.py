"""The lines in which a message differs from its original, for a user who has both."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from gateway.model.value import Value

_MOST_COMPARED = 4_000
"""Differing lines on either side that are still matched to each other; the time grows with their square."""


class Difference(Value):
    """Lines that were replaced, removed or inserted. Numbers count from 1."""

    original_line: int
    original: tuple[bytes, ...]
    line: int
    lines: tuple[bytes, ...]


def find_differences(original: bytes, message: bytes) -> tuple[Difference, ...]:
    """Top to bottom; a line ends in LF. A single difference when the messages have too little in common."""
    old, new = _split(original), _split(message)
    return tuple(_compare(old, new))


def _compare(old: list[bytes], new: list[bytes]) -> Iterator[Difference]:
    head = _count_alike(old, new)
    tail = _count_alike(old[head:][::-1], new[head:][::-1])
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(len(middle_old), len(middle_new)) > _MOST_COMPARED:
        yield Difference(head + 1, tuple(middle_old), head + 1, tuple(middle_new))
        return
    matcher = difflib.SequenceMatcher(None, middle_old, middle_new, autojunk=False)
    for word, a, b, c, d in matcher.get_opcodes():
        if word != "equal":
            yield Difference(head + a + 1, tuple(middle_old[a:b]), head + c + 1, tuple(middle_new[c:d]))


def _count_alike(one: list[bytes], other: list[bytes]) -> int:
    most = min(len(one), len(other))
    return next((at for at in range(most) if one[at] != other[at]), most)


def _split(octets: bytes) -> list[bytes]:
    """Lines with their ends; a bare CR is an ordinary octet."""
    return [line + b"\n" for line in octets.split(b"\n")[:-1]] + [
        last for last in [octets.rpartition(b"\n")[2]] if last
    ]
