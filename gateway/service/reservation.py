"""Connections set aside for messages that are just being stored: those go out straight from memory, already claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence


class Reservations:
    """How many connections to each backend are promised and not yet taken."""

    def __init__(self, room: Callable[[str], int]) -> None:
        """`room` tells how many attempts may start, whatever is promised."""
        self._room = room
        self._promised: Counter[str] = Counter()
        self._queued: set[str] = set()
        """Backends for which mail waits in the spool that could go out: a fresh message goes behind it."""

    def room(self, backend: str) -> int:
        """How many attempts may start that nothing is promised to."""
        return max(self._room(backend) - self._promised[backend], 0)

    def reserve(self, backends: Sequence[str]) -> bool:
        """Promise one of each; False, and nothing is promised, when one has none or older mail is waiting for it."""
        for at, backend in enumerate(backends):
            if backend in self._queued or not self.room(backend):
                self._queued.update(backends)
                self.release(backends[:at])
                return False
            self._promised[backend] += 1
        return True

    def release(self, backends: Sequence[str]) -> None:
        """What was promised is taken, or not needed."""
        for backend in backends:
            self._promised[backend] = max(self._promised[backend] - 1, 0)

    def is_promised(self, backend: str) -> bool:
        return self._promised[backend] > 0

    def note_queue(self, backend: str, more: bool) -> None:
        """The spool was asked for what is due: there may be more of it, or that was all."""
        if more:
            self._queued.add(backend)
        else:
            self._queued.discard(backend)
