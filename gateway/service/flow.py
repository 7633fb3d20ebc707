"""How much is on its way in, over all sessions of all workers (promise P7)."""

from __future__ import annotations

from gateway.ports import Tally
from gateway.service.tally import SharedCounts

_KEY = "megabytes in flight"


class Flow:
    """Counts octets. Workers tell each other of whole megabytes."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or SharedCounts().tally()
        self._octets = 0
        self._told = 0

    def add(self, octets: int) -> None:
        """So much more has come, or is gone again."""
        self._octets += octets
        change = (self._octets >> 20) - self._told
        if change:
            self._told += change
            self._tally.add(_KEY, change)

    def octets(self) -> int:
        """How much there is."""
        others = self._tally.total(_KEY) - self._told
        return self._octets + (others << 20)
