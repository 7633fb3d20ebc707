"""Which backends are left alone for a while because nothing of them can be reached."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST = 5.0
_MOST = 300.0
"""Seconds: a backend that came back is noticed after this time at the latest."""


@dataclass(slots=True)
class _Trouble:
    seconds: float
    until: float
    probing: bool = False


class Backoff:
    """Pauses grow from 5 seconds to 5 minutes with each failure in a row. When one is over, one attempt probes; the
    others wait for what it finds. Times are monotonic."""

    def __init__(self) -> None:
        self._troubles: dict[str, _Trouble] = {}

    def allow(self, backend: str, room: int, now: float) -> int:
        """How many attempts may start now, of `room`."""
        trouble = self._troubles.get(backend)
        if trouble is None:
            return room
        return 0 if trouble.probing or now < trouble.until else min(room, 1)

    def start(self, backend: str) -> None:
        """An attempt starts; during trouble it is the probe."""
        if backend in self._troubles:
            self._troubles[backend].probing = True

    def succeed(self, backend: str) -> bool:
        """The backend answered. True when that ends its trouble."""
        return self._troubles.pop(backend, None) is not None

    def fail(self, backend: str, now: float) -> float:
        """Nothing of the backend could be reached. The seconds of the pause that this begins; 0 when one runs already,
        for the attempts that fail together count once."""
        trouble = self._troubles.get(backend)
        if trouble is not None and now < trouble.until and not trouble.probing:
            return 0
        seconds = min(trouble.seconds * 2, _MOST) if trouble else _FIRST
        self._troubles[backend] = _Trouble(seconds, now + seconds)
        return seconds

    def give_up(self, backend: str) -> None:
        """The attempt ended without telling anything of the backend: another one may probe."""
        if backend in self._troubles:
            self._troubles[backend].probing = False

    def next_probe(self, now: float) -> float | None:
        """Seconds until a pause is over; None when none runs."""
        waits = [trouble.until - now for trouble in self._troubles.values() if not trouble.probing]
        return max(min(waits), 0.0) if waits else None
