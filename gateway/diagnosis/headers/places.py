"""The organisation of each hop: host names compared by the organisation that they seem to belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gateway.diagnosis.headers.reading import Reading
from gateway.diagnosis.hops import ReceivedHop, is_internal, organisation
from gateway.model.value import Value

_FILTERS = re.compile(
    r"(?:^|\.)(?:mimecast\.(?:com|co\.za)|mimecast-offshore\.com|pphosted\.com|ppe-hosted\.com|messagelabs\.com"
    r"|barracudanetworks\.com|barracuda\.com|iphmx\.com|hornetsecurity\.com|antispamcloud\.com|spamexperts\.com"
    r"|mxlogic\.net|sophos\.com|trendmicro\.(?:com|eu)|fireeyecloud\.com|mailcontrol\.com|trustwave\.com|vadesecure\.com)$",
    re.IGNORECASE,
)
_OUTBOUND = re.compile(r"outbound|^(?:us|eu|uk|de|au|za)-smtp-(?!delivery)|^relay\.mimecast", re.IGNORECASE)


def organisations(names: Iterable[str]) -> set[str]:
    """The organisations that the names seem to belong to."""
    return {organisation(name) for name in names} - {""}


class Relayed(Value):
    """The judged client had received the message from another server."""

    relay: ReceivedHop
    """The hop of the check: its client is the relay."""
    origin: ReceivedHop
    """The hop at which that relay's side took the message."""
    recipients: bool
    """The relay seems to be the recipient's."""
    receivers: bool
    """The relay seems to be of the organisation that judged."""
    edge: int | None = None
    """The hop at which a server of that side had already judged; None when no field shows it."""

    @property
    def name(self) -> str:
        """The relay's name; its address when nothing else is known."""
        return self.relay.rdns or self.relay.sender or str(self.relay.address or "the relay")


def find_relay(reading: Reading, hop: int | None, envelope: str = "") -> Relayed | None:
    """The relay whose address was judged at `hop` in place of the first client's; None when the client may be the
    sender's. `envelope`: the domain that SPF was judged for.

    Names decide: the relay belongs to one organisation, and on an earlier hop another one brought the message in. A hop
    from a private address is inside, as is one between servers after an outer one has judged.
    """
    if not hop:
        return None
    hops = reading.hops
    relay, earlier = hops[hop], hops[:hop]
    clients = organisations((relay.sender, relay.rdns, earlier[-1].by))
    owners = organisations((*reading.authors, envelope))
    if not clients or (clients & owners and not _is_filter(relay)):
        return None
    stated = (one.hop for one in reading.judged if not one.verdicts.kind and one.verdicts.result("spf"))
    edge = min((at for at in stated if at is not None and at < hop and hops[at].address), default=None)
    at = edge if edge is not None else _find_origin(earlier, clients, owners)
    if at is None:
        return None
    inner = organisations(one.by for one in hops[at:hop]) | clients
    own = bool(inner & organisations(reading.recipients)) or _is_filter(relay)
    return Relayed(relay, hops[at], own, receivers=organisation(relay.by) in clients, edge=edge)


def _find_origin(earlier: Sequence[ReceivedHop], clients: set[str], owners: set[str]) -> int | None:
    """The hop at which the relay's side took the message from another organisation."""
    side = set(clients)
    for at, one in reversed(list(enumerate(earlier))):
        names = organisations((one.sender, one.rdns))
        outside = one.address is not None and not is_internal(one.address)
        if names & owners and outside:
            return at
        if not outside or names & side or _is_filter(one):
            side |= names | organisations((one.by,))
        elif names:
            return at
    return None


def _is_filter(hop: ReceivedHop) -> bool:
    """The client is a filter that companies put before their servers for incoming mail."""
    names = [name for name in (hop.rdns, hop.sender) if name]
    return any(_FILTERS.search(name) for name in names) and not any(_OUTBOUND.search(name) for name in names)
