"""Time, chance, counts, keys and the log: what the machine gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gateway.model.event import Event


class Clock(Protocol):
    """Time and chance."""

    def now(self) -> float:
        """Wall clock, epoch seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def jitter(self) -> float:
        """A number in [0, 1)."""

    def new_id(self) -> str:
        """A fresh id for a message, transfer or session: sorts by time, names its shard, safe in a reply."""


class Tally(Protocol):
    """Counts by key over all `workers` of the gateway; what a worker has counted goes with it."""

    workers: int

    def add(self, key: str, number: int = 1) -> int:
        """Count so many more; returns how many there are now. A negative number takes back, and returns 0."""

    def total(self, key: str) -> int:
        """How many there are."""


class Signer(Protocol):
    """A private key that seals."""

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest. Does no IO, and the same digest gives the same one."""


class EventSink(Protocol):
    """Takes events; must not block and must not raise."""

    def __call__(self, event: Event) -> None: ...


def emit_all(sink: EventSink, events: Iterable[Event]) -> None:
    """Hand each event to the sink."""
    for event in events:
        sink(event)
