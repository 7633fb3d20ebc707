"""The SMTP envelope (RFC 5321 section 2.3.1) with its DSN parameters (RFC 3461)."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NewType

from gateway.model.value import Value

_ESCAPED = re.compile(r"\\(.)")

IPText = NewType("IPText", str)
"""Canonical text of an IPv4 or IPv6 address: lower case, compressed, without zone, IPv4-mapped unwrapped."""


@lru_cache(maxsize=4096)
def parse_ip(text: str) -> IPv4Address | IPv6Address:
    """The address as a number, cached because a session asks for its client's address again and again. Raises
    ValueError."""
    return ipaddress.ip_address(text)


def ip_text(text: str) -> IPText:
    """The canonical form of an address. Raises ValueError for anything that is not one."""
    address = parse_ip(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return IPText(str(address))


def site_of(client: IPText) -> str:
    """The network that one client controls: an IPv4 address, or the /64 of an IPv6 one."""
    return str(ipaddress.ip_network(f"{client}/64", strict=False)) if ":" in client else client


_SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
_SPECIAL_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        ("::/96", "64:ff9b:1::/48", "100::/64", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
"""Networks of special use (RFC 6890) in which a machine of ours may be reached: this host, private, shared, link-local,
benchmarks, multicast, reserved. Documentation networks are not listed, because no machine is reached in them."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_special(address: IPText) -> bool:
    """True when DNS data of a stranger must not lead us to this address: loopback, private, link-local, unspecified,
    multicast and the like, also inside an address that carries an IPv4 one (6to4, Teredo, NAT64)."""
    found = parse_ip(address)
    if isinstance(found, IPv6Address):
        carried = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in _NAT64:
            carried = IPv4Address(int(found) & 0xFFFFFFFF)
        if carried is not None:
            found = carried
    networks = _SPECIAL_IPV4 if isinstance(found, IPv4Address) else _SPECIAL_IPV6
    return any(found in network for network in networks)


@lru_cache(maxsize=4096)
def network_of(client: IPText) -> str:
    """The /24 of an IPv4 address, the /64 of an IPv6 one: roughly the network of one sender."""
    return str(ipaddress.ip_network(f"{client}/{64 if ':' in client else 24}", strict=False))


class Mailbox(Value):
    """An RFC 5321 mailbox. `local` and `domain` are kept as received, because they are passed on unchanged."""

    local: str
    """Local part as received, quotes included."""
    domain: str
    """Domain or address literal as received; empty only for the bare `<postmaster>` (RFC 5321 section 4.5.1)."""
    ascii_domain: str
    """Lower-case A-label form of `domain`; the literal itself for an address literal."""

    @property
    def name(self) -> str:
        """The local part for comparison: lower case, without redundant quotes and escapes (RFC 5321 section 4.1.2)."""
        quoted = len(self.local) > 1 and self.local[0] == self.local[-1] == '"'
        local = _ESCAPED.sub(r"\1", self.local[1:-1]) if quoted else self.local
        return local.lower()

    @property
    def key(self) -> str:
        """The key of a mailbox in maps and caches."""
        return f"{self.name}@{self.ascii_domain}"

    @property
    def canonical(self) -> str:
        """The local part as received at the domain in A-labels, for display."""
        return f"{self.local}@{self.ascii_domain}" if self.domain else self.local

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


class Body(StrEnum):
    """The BODY parameter of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Ret(StrEnum):
    """The part of the message that a DSN should return (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(StrEnum):
    """The cases in which the sender wants a DSN (RFC 3461 section 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Recipient(Value):
    """One forward-path and its parameters."""

    mailbox: Mailbox
    notify: tuple[Notify, ...] = ()
    """Empty when the client gave none; failures are then reported."""
    orcpt: str = ""
    """ORCPT exactly as received, xtext included."""


class Envelope(Value):
    """A mail transaction's envelope. `mail_from` is None for the null reverse-path, and for nothing else."""

    mail_from: Mailbox | None
    rcpts: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str = ""
