"""Cheap cases for large counts: hypothesis draws octets, and each octet picks a piece or a number.

A case so made costs a tenth of one drawn piece by piece, and still shrinks and is repeated from its database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import SOAK, SOAK_FACTOR

T = TypeVar("T")
CASES = 20_000
"""In `make test`; `make soak` has fifty times as many: a million."""


class Plan:
    """The octets of one case, consumed from the front; zeros when they are exhausted."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def __len__(self) -> int:
        return max(0, len(self._octets) - self._at)

    def number(self, below: int) -> int:
        value = self._octets[self._at] if self._at < len(self._octets) else 0
        self._at += 1
        return value % below

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.number(len(choices))]

    def raw(self, most: int) -> bytes:
        """Octets of the plan themselves."""
        count = self.number(most + 1)
        octets = self._octets[self._at : self._at + count]
        self._at += count
        return octets

    def join(self, pieces: Sequence[bytes], most: int) -> bytes:
        """Pieces one after the other, some of them octets of the plan."""
        found = bytearray()
        for _ in range(self.number(most + 1)):
            at = self.number(len(pieces) + 1)
            found += pieces[at] if at < len(pieces) else self.raw(12)
        return bytes(found)

    def cut(self, octets: bytes, most: int) -> list[bytes]:
        """The octets in up to `most` + 1 parts; one in four times, octet by octet."""
        if self.number(4) == 3 and len(octets) < 400:
            return [octets[at : at + 1] for at in range(len(octets))]
        edges = sorted((self.number(256) * 256 + self.number(256)) % (len(octets) + 1) for _ in range(most))
        return [octets[start:end] for start, end in zip([0, *edges], [*edges, len(octets)], strict=True)]


def planned(most: int = 80, share: int = 1) -> Callable[[Callable[..., Any]], Any]:
    """Run a test with a `Plan` of up to `most` octets, `CASES` times; `share`: so many tests share the count."""
    counts = settings(
        max_examples=CASES * (SOAK_FACTOR if SOAK else 1) // share,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    def wrap(test: Callable[..., Any]) -> Any:
        return counts(given(st.binary(max_size=most).map(Plan))(test))

    return wrap
