"""Received fields: our own, and the walk back over the lines of our own relays to the true client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from gateway.mail.header import Field, fields, unfold
from gateway.mail.relay_formats import RelayFormat, read_hop
from gateway.mail.tokens import fold
from gateway.model.envelope import Envelope, IPText, parse_ip
from gateway.model.ingress import Ingress, InternalIngress
from gateway.model.value import Value

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_date(epoch: float) -> str:
    """A date-time of RFC 5322 section 3.3, in UTC."""
    return _format_second(int(epoch))


@lru_cache(maxsize=16)
def _format_second(epoch: int) -> str:
    at = datetime.fromtimestamp(epoch, UTC)
    return f"{DAYS[at.weekday()]}, {at.day} {MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} +0000"


MOST_HOPS = 10
"""Listed relays that a walk passes before it gives up."""
_LONGEST_NAME = 255
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")


def compose(ingress: Ingress, hostname: str, id: str, envelope: Envelope, received: float) -> bytes:
    """Our own Received field (RFC 5321 section 4.4), in the layout that skip listing and external-IP detection read.

    Its only bracket holds the address of the true client, or `unknown`: no text from a client can add another one.
    `received` is in epoch seconds.
    """
    rdns = ingress.rdns if _HOST.fullmatch(ingress.rdns) else "unknown"
    groups = [
        [f"from {_helo_text(ingress.helo, ingress.client)}", f"({rdns} {_literal(ingress.client)})"],
        [f"by {hostname} (Waypost)", f"with {_protocol(ingress, envelope.smtputf8)}", f"id {id}"],
    ]
    path = _only_path(envelope)
    if path:
        groups.append([f"for {path}"])
    groups[-1][-1] += ";"
    return fold("Received", [*groups, [format_date(received)]])


def _literal(client: IPText | None) -> str:
    if client is None:
        return "[unknown]"
    return f"[IPv6:{client}]" if ":" in client else f"[{client}]"


def _helo_text(helo: str, client: IPText | None) -> str:
    """The client's HELO name, fit for a trace field. Its own address as a literal stays unchanged; a literal of any
    other address loses its brackets, so that no reader takes it for the client's."""
    if client is not None and helo.lower() == _literal(client).lower():
        return helo
    return _UNSAFE.sub("?", helo[:_LONGEST_NAME]) or "unknown"


def _protocol(ingress: Ingress, smtputf8: bool) -> str:
    """The `with` word (RFC 3848; RFC 6531 section 4.3)."""
    if not ingress.esmtp:
        return "SMTP"
    login = "A" if isinstance(ingress, InternalIngress) and ingress.login else ""
    return ("UTF8SMTP" if smtputf8 else "ESMTP") + ("S" if ingress.tls else "") + login


def _only_path(envelope: Envelope) -> str:
    """The forward-path of a single recipient. Several recipients are never shown to each other (RFC 5321 section
    7.6)."""
    if len(envelope.rcpts) != 1:
        return ""
    mailbox = envelope.rcpts[0].mailbox
    plain = _ATOM.fullmatch(mailbox.local) and (not mailbox.domain or _HOST.fullmatch(mailbox.domain))
    return f"<{mailbox}>" if plain else ""


class Relay(Protocol):
    """A relay of our own, as the configuration lists it."""

    @property
    def name(self) -> str: ...

    @property
    def addresses(self) -> Sequence[IPv4Network | IPv6Network]: ...

    @property
    def by(self) -> Sequence[str]: ...

    @property
    def format(self) -> RelayFormat: ...


class Walked(Value):
    """The end of a walk."""

    client: IPText | None
    """The first address that is not a listed relay; None when it is in doubt. `reason` then says why."""
    helo: str = ""
    """The client's HELO name to the outermost relay."""
    rdns: str = ""
    """The client's name, as the relay confirmed it."""
    relays: tuple[str, ...] = ()
    """Names of the relays walked past, nearest first."""
    reason: str = ""


def find_relay(address: IPText, relays: Iterable[Relay]) -> Relay | None:
    """The listed relay that has this address."""
    parsed = parse_ip(address)
    for relay in relays:
        if any(parsed in network for network in relay.addresses):
            return relay
    return None


def is_named(host: str, names: Iterable[str]) -> bool:
    """The host is one of the names; `*.x` stands for every host below x."""
    host = host.lower()
    return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in map(str.lower, names))


def walk(header: Sequence[Field], relays: Sequence[Relay], peer: IPText, depth: int = MOST_HOPS) -> Walked:
    """Find the client behind the listed relay at `peer`, one topmost Received line for each relay passed.

    A line counts only because the machine that added it is listed. So the walk stops at the first line that differs
    from that machine's format: no client is better than a wrong one (promise P3).
    """
    lines = fields(header, "received")
    passed: tuple[str, ...] = ()
    at = peer
    for number in range(depth):
        relay = find_relay(at, relays)
        if relay is None:
            return Walked(None, relays=passed, reason=f"{at} is no listed relay")
        passed = (*passed, relay.name)
        if number == len(lines):
            return Walked(None, relays=passed, reason=f"relay {relay.name} added no Received line")
        hop = None if _obscured(header, lines[number]) else read_hop(lines[number], relay.format, at)
        if hop is None:
            return Walked(None, relays=passed, reason=f"the Received line of relay {relay.name} is not as it writes it")
        if not is_named(hop.by, relay.by):
            return Walked(None, relays=passed, reason=f"the Received line is not by relay {relay.name}")
        if hop.address is None:
            return Walked(None, relays=passed, reason=f"relay {relay.name} recorded no client address")
        if find_relay(hop.address, relays) is None:
            return Walked(hop.address, hop.helo, hop.name, passed)
        at = hop.address
    return Walked(None, relays=passed, reason=f"more than {depth} listed relays in a row")


def count_passes(header: Sequence[Field], hostname: str) -> int:
    """Number of Received fields that name this host after `by`."""
    by = re.compile(rf"(?:^|\s)by\s+{re.escape(hostname)}(?=[\s;(]|$)", re.IGNORECASE)
    return sum(by.search(unfold(line.value)) is not None for line in fields(header, "received"))


def _obscured(header: Sequence[Field], line: Field) -> bool:
    """A line above is not a header field, so the start of this line is uncertain."""
    return any(not field.lower for field in header if field.start < line.start)
