"""The machine's clock and chance, as ports.Clock asks for them."""

from __future__ import annotations

import itertools
import random
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

_STEP = 10.0
"""Seconds by which a clock may be set right without that being a jump."""


def _elapsed() -> float:
    """Seconds since the machine started, also while it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """Wall and monotonic time; ids that sort by time and name the shard that made them."""

    def __init__(self, shard: int = 0) -> None:
        self._ahead = time.time() - _elapsed()
        """Of the wall clock, before `_elapsed`."""
        self._shard = _DIGITS[shard]
        self._serial = itertools.count(random.SystemRandom().randrange(1 << 20))
        self._random = random.Random()

    def now(self) -> float:
        """The wall clock, as long as it does not jump: then it goes on as it was, until the jump is adopted."""
        jump = self.jump()
        if not jump:
            self.adopt()
        return _elapsed() + self._ahead

    def jump(self) -> float:
        """Seconds by which the wall clock has jumped; 0 as a rule."""
        jump = time.time() - _elapsed() - self._ahead
        return jump if abs(jump) > _STEP else 0.0

    def adopt(self) -> None:
        """Follow the wall clock."""
        self._ahead = time.time() - _elapsed()

    def monotonic(self) -> float:
        return time.monotonic()

    def jitter(self) -> float:
        return self._random.random()

    def new_id(self) -> str:
        """15 characters: 9 of milliseconds since 1970, the shard, 5 that tell ids of one millisecond apart."""
        milliseconds = int(time.time() * 1000)
        return _base32(milliseconds, 9) + self._shard + _base32(next(self._serial), 5)


def _base32(number: int, width: int) -> str:
    return "".join(_DIGITS[(number >> (5 * place)) & 31] for place in reversed(range(width)))
