"""Sources that the admin named: senders that may write as us, forwarders that pass others' mail on, networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from gateway.mail.domain import is_subdomain
from gateway.model.address import IPText, parse_ip
from gateway.model.value import Value

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


class Source(Value):
    """A service or a machine with a name. Either proof is enough: a passing signature, or the true client's address."""

    name: str
    dkim: frozenset[str] = frozenset()
    """d= of the signatures that it puts on."""
    networks: Networks = ()
    domains: frozenset[str] = frozenset()
    """The author domains that it stands for, with all below them; every one when empty."""

    def is_behind(self, client: IPText | None, passing: Collection[str]) -> bool:
        """`passing` are the d= of the signatures that pass."""
        return not self.dkim.isdisjoint(passing) or (client is not None and contains(self.networks, client))

    def stands_for(self, authors: Collection[str]) -> bool:
        return not self.domains or all(any(is_subdomain(one, zone) for zone in self.domains) for one in authors)


def find_source(
    sources: Sequence[Source], client: IPText | None, passing: Collection[str], authors: Collection[str]
) -> str:
    """The name of the first that is behind a message of these author domains; empty when none is."""
    for source in sources:
        if source.is_behind(client, passing) and source.stands_for(authors):
            return source.name
    return ""


def find_networks(networks: Mapping[str, Networks], client: IPText | None) -> list[str]:
    """The names of those that hold the client."""
    if client is None:
        return []
    return [name for name, ranges in networks.items() if contains(ranges, client)]


def contains(networks: Networks, client: IPText) -> bool:
    """An address of one family is in no network of the other."""
    address = parse_ip(client)
    return any(address in network for network in networks)


@lru_cache(maxsize=2048)
def is_in(networks: frozenset[IPv4Network | IPv6Network], client: IPText) -> bool:
    """`contains`, remembered: a session asks it with each message."""
    return contains(tuple(networks), client)
