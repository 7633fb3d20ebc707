"""How much is on its way in, over all sessions of all workers (promise P7)."""

from __future__ import annotations

from gateway.config.edge import Limits
from gateway.model.address import IPText, site_of
from gateway.ports import Tally
from gateway.service.tally import SharedCounts


class OctetsInFlight:
    """Counts octets: in all, and of each client."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or SharedCounts().tally()
        self._all = _Octets(self._tally, "megabytes in flight")
        self._clients: dict[str, _Octets] = {}
        """Of those that have any."""

    def add(self, octets: int, client: IPText) -> None:
        """So much more has come of this client, or is gone again."""
        site = site_of(client)
        count = self._clients.setdefault(site, _Octets(self._tally, f"megabytes in flight of {site}"))
        for one in (self._all, count):
            one.add(octets)
        if not count.own:
            del self._clients[site]

    def room(self, client: IPText, limits: Limits) -> int:
        """How many octets more may come of this client; below 0 when there are too many already."""
        site = site_of(client)
        count = self._clients.get(site) or _Octets(self._tally, f"megabytes in flight of {site}")
        theirs = max(limits.bytes_in_flight_per_client, limits.message_size)
        return min(limits.bytes_in_flight - self._all.total(), theirs - count.total())


class _Octets:
    """One count. Workers tell each other of whole megabytes."""

    def __init__(self, tally: Tally, key: str) -> None:
        self._tally = tally
        self._key = key
        self._told = 0
        self.own = 0
        """Those of this worker."""

    def add(self, octets: int) -> None:
        self.own += octets
        change = (self.own >> 20) - self._told
        if change:
            self._told += change
            self._tally.add(self._key, change)

    def total(self) -> int:
        others = self._tally.total(self._key) - self._told
        return self.own + (others << 20)
