"""Limits on connections: in all, from an address, from its network; and on new ones in a minute."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection
from ipaddress import IPv4Network, IPv6Network

from gateway.config.edge import Limits
from gateway.model.envelope import IPText, network_of, site_of
from gateway.ports import Tally
from gateway.service.tally import IN_FLIGHT, Minute, SharedCounts

_ALL = "connections"
_WORKERS = "workers"


class ConnectionLimits:
    """Counts open connections, those of all workers. If several listeners share one object, its limits cover all of
    them."""

    def __init__(
        self,
        limits: Limits,
        tally: Tally | None = None,
        ours: Collection[IPv4Network | IPv6Network] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ours` are networks of relays and hops of our own: their rate is not limited."""
        self._ours = ours
        self._now = now
        self._most = limits.connections
        self._most_octets = limits.bytes_in_flight
        self._most_per_minute = limits.connections_per_minute
        self._most_per_address = limits.connections_per_address
        self._most_per_network = limits.connections_per_network
        self._tally = tally or SharedCounts().tally()
        self._minute = Minute(self._tally)
        self._tally.add(_WORKERS)
        self._open = 0

    def is_fair(self) -> bool:
        """True when this worker has no more connections than the average: it may take the next one."""
        return self._open * self._tally.total(_WORKERS) <= self._tally.total(_ALL)

    def pressure(self) -> float:
        """The used share of a limit, 1 being all: of the connections, or of the octets on their way in."""
        octets = self._tally.total(IN_FLIGHT) << 20
        return max(self._tally.total(_ALL) / self._most, octets / self._most_octets)

    def arrive(self) -> bool:
        """A connection was opened; False when there are too many. `depart` must follow in either case."""
        self._open += 1
        return self._tally.add(_ALL) <= self._most

    def excess(self) -> int:
        """How many connections there are beyond the limit; below 0 while there is room."""
        return self._tally.total(_ALL) - self._most

    def depart(self) -> None:
        """A connection that arrived was closed."""
        self._open -= 1
        self._tally.add(_ALL, -1)

    def admit(self, client: IPText) -> bool:
        """The connection's client is known; False when it has too many. `release` must follow in either case."""
        of_address = self._tally.add(f"connections {client}")
        of_network = self._tally.add(f"connections {network_of(client)}")
        return of_address <= self._most_per_address and of_network <= self._most_per_network

    def is_too_fast(self, client: IPText) -> bool:
        """True when the client's connection just admitted is one too many in this minute."""
        address = ipaddress.ip_address(client)
        if any(address in network for network in self._ours):
            return False
        return self._minute.add(f"connections of {site_of(client)}", self._now()) > self._most_per_minute

    def release(self, client: IPText) -> None:
        """A connection of a client that was admitted was closed."""
        self._tally.add(f"connections {client}", -1)
        self._tally.add(f"connections {network_of(client)}", -1)
