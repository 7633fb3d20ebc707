"""The machine's clock and chance, as ports.Clock asks for them."""

from __future__ import annotations

import itertools
import random
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


class SystemClock:
    """Wall and monotonic time; ids that sort by time and name the shard that made them."""

    def __init__(self, shard: int = 0) -> None:
        self._shard = _DIGITS[shard]
        self._serial = itertools.count(random.SystemRandom().randrange(1 << 20))
        self._random = random.Random()

    def now(self) -> float:
        return time.time()

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
