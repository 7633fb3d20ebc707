"""Which hop is whose: host names compared by the organisation they seem to belong to."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.diagnosis.headers.reading import Reading
from gateway.diagnosis.hops import ReceivedHop, organisation
from gateway.model.value import Value


def organisations(names: Iterable[str]) -> set[str]:
    return {organisation(name) for name in names} - {""}


class Relayed(Value):
    """The client that a server judged had the message from elsewhere."""

    relay: ReceivedHop
    """The hop at which the check was made: its client is the relay."""
    origin: ReceivedHop
    """The hop at which that relay's side took the message."""
    recipients: bool
    """The relay seems to be the recipient's."""
    receivers: bool
    """The relay seems to be of the organisation that judged."""


def find_relay(reading: Reading, hop: int | None) -> Relayed | None:
    """The relay whose address was judged at this hop in place of the first client's; None when the client may be the
    sender's.

    Names decide: the relay belongs to one organisation, and on an earlier hop another one handed the message in.
    """
    if not hop:
        return None
    relay, earlier = reading.hops[hop], reading.hops[:hop]
    clients = organisations((relay.sender, relay.rdns, earlier[-1].by))
    origin = next((one for one in reversed(earlier) if organisations((one.sender, one.rdns)) - clients), None)
    if not clients or origin is None:
        return None
    return Relayed(
        relay,
        origin,
        recipients=bool(clients & organisations(reading.recipients)),
        receivers=organisation(relay.by) in clients,
    )
