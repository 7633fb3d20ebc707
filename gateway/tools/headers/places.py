"""Which hop is whose: host names compared by the organisation they seem to belong to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.mail.hops import Hop
from gateway.model.address import IPText
from gateway.tools.headers.reading import Judged, Reading

_SHORT = 3
"""Letters of a second-level name that many share, as in `co.uk`."""


def organisation(name: str) -> str:
    """The part of a host name that an organisation has for itself, by rule of thumb; empty for what is no name."""
    labels = name.lower().strip(".[]").split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return ""
    shared = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= _SHORT
    return ".".join(labels[-3 if shared else -2 :])


def organisations(names: Iterable[str]) -> set[str]:
    return {organisation(name) for name in names} - {""}


def is_internal(address: IPText) -> bool:
    """An address that no other network can reach. Those of examples (RFC 5737, RFC 3849) count as reachable."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _INTERNAL)


_INTERNAL = [
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
]


@dataclass(frozen=True, slots=True)
class Relayed:
    """The client that a server judged had the message from elsewhere."""

    relay: Hop
    """The hop at which the results were written: its client is the relay."""
    origin: Hop
    """The hop at which that relay's side took the message."""
    recipients: bool
    """The relay seems to be the recipient's."""
    receivers: bool
    """The relay seems to be of the organisation that judged."""


def find_relay(reading: Reading, judged: Judged) -> Relayed | None:
    """The relay whose address was judged in place of the first client's; None when the client may be the sender's.

    Names decide: the relay belongs to one organisation, and on an earlier hop another one handed the message in.
    """
    if not judged.hop:
        return None
    relay, earlier = reading.hops[judged.hop], reading.hops[: judged.hop]
    clients = organisations((relay.sender, relay.rdns, earlier[-1].by))
    origin = next((hop for hop in reversed(earlier) if organisations((hop.sender, hop.rdns)) - clients), None)
    if not clients or origin is None:
        return None
    return Relayed(
        relay,
        origin,
        recipients=bool(clients & organisations(reading.recipients)),
        receivers=organisation(relay.by) in clients,
    )
