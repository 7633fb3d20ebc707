"""Connections set aside for messages that are just being stored: those go out straight from memory, already claimed.
Also how far delivery is behind: who brings mail faster than it leaves is slowed down, before the queue grows for hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

_FEW = 100
"""Messages that a worker may have waiting for a backend before it slows anybody down."""
_EACH, _MOST = 0.001, 0.5
"""Seconds that a client waits for each one above that, and at most."""
_CEILING = _FEW + int(_MOST / _EACH)
"""What is counted at most: the heap that an outage left must not slow anybody down once it shrinks."""


class Reservations:
    """How many connections to each backend are promised and not yet taken."""

    def __init__(self, room: Callable[[str], int]) -> None:
        """`room` tells how many attempts may start, whatever is promised."""
        self._room = room
        self._promised: Counter[str] = Counter()
        self._queued: set[str] = set()
        """Backends for which mail waits in the spool that could go out: a fresh message goes behind it."""
        self._behind: Counter[str] = Counter()
        """Messages that went into the spool and were not taken out again."""

    def room(self, backend: str) -> int:
        """How many attempts may start that nothing is promised to."""
        return max(self._room(backend) - self._promised[backend], 0)

    def reserve(self, backends: Sequence[str]) -> bool:
        """Promise one of each; False, and nothing is promised, when one has none or older mail is waiting for it."""
        for at, backend in enumerate(backends):
            if backend in self._queued or not self.room(backend):
                self._queued.update(backends)
                for one in backends:
                    self._behind[one] = min(self._behind[one] + 1, _CEILING)
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

    def note_queue(self, backend: str, taken: int, more: bool) -> None:
        """The spool was asked for what is due, and gave so many: there may be more, or that was all."""
        self._behind[backend] = max(self._behind[backend] - taken, 0) if more else 0
        if more:
            self._queued.add(backend)
        else:
            self._queued.discard(backend)

    def pressure(self, backends: Iterable[str]) -> float:
        """Seconds for which whoever brings mail for these waits for its reply."""
        most = max((self._behind[backend] for backend in backends), default=0)
        return min(max(most - _FEW, 0) * _EACH, _MOST)
