"""Received fields: the one we write, and the walk back over the lines of our own relays to the true client."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from gateway.mail.folding import fold
from gateway.mail.header import Field, fields
from gateway.model.address import IPText, ip_text
from gateway.model.envelope import Envelope
from gateway.model.ingress import Ingress, InternalIngress

MOST_HOPS = 10
"""Listed relays that a walk goes past before it gives up."""
_MOST_OCTETS = 4096
"""A Received line of a relay is far shorter; a longer one is not looked at."""
_LONGEST_NAME = 255
_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def compose(ingress: Ingress, hostname: str, id: str, envelope: Envelope, received: float) -> bytes:
    """Our own Received field (RFC 5321 section 4.4), in the layout that skip listing and external-IP detection read.

    The only bracket in it holds the address of the true client, or `unknown`: nothing that a client chose can put
    another one there. `received` is in epoch seconds.
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


def format_date(epoch: float) -> str:
    """A date-time of RFC 5322 section 3.3, in UTC."""
    at = datetime.fromtimestamp(int(epoch), UTC)
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} +0000"


def _literal(client: IPText | None) -> str:
    if client is None:
        return "[unknown]"
    return f"[IPv6:{client}]" if ":" in client else f"[{client}]"


def _helo_text(helo: str, client: IPText | None) -> str:
    """What the client called itself, fit for a trace field. Its own address as a literal stays as it is; a literal
    of any other address loses its brackets, so that no reader takes it for the client's."""
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
    """The forward-path of a single recipient; several are never shown to each other (RFC 5321 section 7.6)."""
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


@dataclass(frozen=True, slots=True)
class Walked:
    """Where a walk ended."""

    client: IPText | None
    """The first address that is no listed relay; None when there was any doubt, then `reason` says which."""
    helo: str = ""
    """What the client said to the outermost relay."""
    rdns: str = ""
    """The client's name, as the relay confirmed it."""
    relays: tuple[str, ...] = ()
    """Names of the relays walked past, nearest first."""
    reason: str = ""


def find_relay(address: IPText, relays: Iterable[Relay]) -> Relay | None:
    """The listed relay that has this address."""
    parsed = ipaddress.ip_address(address)
    for relay in relays:
        if any(parsed in network for network in relay.addresses):
            return relay
    return None


def walk(header: Sequence[Field], relays: Sequence[Relay], peer: IPText, depth: int = MOST_HOPS) -> Walked:
    """Find the client behind the listed relay at `peer`, one topmost Received line for each relay passed.

    A line is believed only because the machine that put it there is listed, so the walk stops at the first line that
    is not exactly what that machine writes: better no client than a wrong one (promise P3).
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
        hop = None if _obscured(header, lines[number]) else _read_postfix(lines[number])
        if hop is None:
            return Walked(None, relays=passed, reason=f"the Received line of relay {relay.name} is not as it writes it")
        if hop.by.lower() not in {name.lower() for name in relay.by}:
            return Walked(None, relays=passed, reason=f"the Received line is not by relay {relay.name}")
        client = _client_address(hop.address, at)
        if client is None:
            return Walked(None, relays=passed, reason=f"relay {relay.name} recorded no client address")
        if find_relay(client, relays) is None:
            rdns = "" if hop.name == "unknown" else hop.name
            return Walked(client, hop.helo, rdns, passed)
        at = client
    return Walked(None, relays=passed, reason=f"more than {depth} listed relays in a row")


@dataclass(frozen=True, slots=True)
class _Hop:
    """What a relay's line says."""

    helo: str
    name: str
    address: str
    by: str


_POSTFIX = re.compile(
    r" from (?P<helo>[!-~]{1,255}) \((?P<name>[A-Za-z0-9._-]{1,255}) \[(?P<address>[0-9A-Za-z:.]{1,64})\]\)\r\n"
    r"(?:\t\(using [A-Za-z0-9.]+ with cipher [A-Za-z0-9_-]+ \(\d+/\d+ bits\)"
    r"(?:\r\n\t (?:key-exchange|server-signature|client-signature) [ -~]{1,200}){0,3}\)\r\n)?"
    r'(?:\t\((?:Client CN "[ -~]{0,500}" \([a-zA-Z ]+\)|No client certificate requested'
    r"|Client did not present a certificate)\)\r\n)?"
    r"(?:\t\(Authenticated sender: [ -~]{1,300}\)\r\n)?"
    r"\tby (?P<by>[A-Za-z0-9._-]{1,255}) \(Postfix\) with (?:E?SMTP|UTF8SMTP)S?A? id [A-Za-z0-9]{1,64}"
    r"(?:;\r\n\t|\r\n\tfor <[^\r\n<>]{1,400}>; )"
    r"(?:[A-Z][a-z]{2}, )?[ 0-9]?\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}(?: \([A-Za-z0-9+:-]{1,16}\))?"
)
"""What Postfix writes, octet for octet: what a client chooses (HELO, certificate, login) stays inside its own line,
and in HELO Postfix has replaced white space and the characters of `_NEUTERED`."""
_NEUTERED = frozenset('<>()\\";@')


def _read_postfix(field: Field) -> _Hop | None:
    """The hop, or None for anything that Postfix does not write."""
    if field.name != "Received" or len(field.value) > _MOST_OCTETS:
        return None
    if field.end - field.start != len("Received:") + len(field.value) + 2:
        # Obsolete white space before the colon, or a header block cut off inside the line.
        return None
    found = _POSTFIX.fullmatch(field.value.decode("utf-8", "replace"))
    if found is None or not _NEUTERED.isdisjoint(found["helo"]):
        return None
    return _Hop(found["helo"], found["name"], found["address"], found["by"])


def _obscured(header: Sequence[Field], line: Field) -> bool:
    """Something above the line is no header field: then it is uncertain where lines begin."""
    return any(not field.lower for field in header if field.start < line.start)


def _client_address(text: str, writer: IPText) -> IPText | None:
    """The address in the bracket; None for `unknown` and for one that cannot be a client's."""
    literal = text.removeprefix("IPv6:")
    if (":" in literal) != (literal != text):
        return None
    try:
        address = ip_text(literal)
    except ValueError:
        return None
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        return None
    # A loopback address is the writing machine's own, such as a content filter's; it names no client to us.
    if parsed.is_loopback and not ipaddress.ip_address(writer).is_loopback:
        return None
    return address
