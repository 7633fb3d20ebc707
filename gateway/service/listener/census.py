"""How many connections there are: in all, from an address, from its network."""

from __future__ import annotations

import ipaddress
from collections import Counter

from gateway.config.edge import Limits
from gateway.model.address import IPText


class Census:
    """Counts open connections. One census may serve several listeners, then its limits hold over all of them."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.connections
        self._most_per_address = limits.connections_per_address
        self._most_per_network = limits.connections_per_network
        self._open = 0
        self._clients: Counter[str] = Counter()

    def arrive(self) -> bool:
        """A connection was opened; False when there are too many. `depart` must follow in either case."""
        self._open += 1
        return self._open <= self._most

    def depart(self) -> None:
        """A connection that arrived was closed."""
        self._open -= 1

    def admit(self, client: IPText) -> bool:
        """The connection's client is known; False when it has too many. `release` must follow in either case."""
        network = _network_of(client)
        self._clients[client] += 1
        self._clients[network] += 1
        return self._clients[client] <= self._most_per_address and self._clients[network] <= self._most_per_network

    def release(self, client: IPText) -> None:
        """A connection of a client that was admitted was closed."""
        for key in (client, _network_of(client)):
            self._clients[key] -= 1
            if not self._clients[key]:
                del self._clients[key]


def _network_of(client: IPText) -> str:
    if ":" in client:
        packed = int(ipaddress.IPv6Address(client)) >> 64
        return f"{packed:x}/64"
    return client.rpartition(".")[0] + "/24"
