"""How often something happened in the current minute, over all workers."""

from __future__ import annotations

from collections import Counter

from gateway.ports import Tally
from gateway.service.tally import SharedCounts

_SECONDS = 60.0


class Minute:
    """Counts by key, each from the beginning of the minute."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or SharedCounts().tally()
        self._minute = -1.0
        self._counted: Counter[str] = Counter()
        """What this worker has counted in the minute."""

    def add(self, key: str, now: float) -> int:
        """Once more; how often by now. `now` is monotonic."""
        minute = now // _SECONDS
        if minute != self._minute:
            for counted, number in self._counted.items():
                self._tally.add(counted, -number)
            self._counted.clear()
            self._minute = minute
        # The minute is in the key: another worker may not have left the last one yet.
        key = f"{key} in {minute}"
        self._counted[key] += 1
        return self._tally.add(key)

    def take_back(self, key: str) -> None:
        """It did not happen after all."""
        key = f"{key} in {self._minute}"
        self._counted[key] -= 1
        self._tally.add(key, -1)
