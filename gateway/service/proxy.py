"""The PROXY protocol header, versions 1 and 2, that a balancer puts ahead of a forwarded connection."""

from __future__ import annotations

import ipaddress
import re
import struct
from ipaddress import IPv4Address, IPv6Address

from gateway.model.envelope import IPText, ip_text
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.model.value import Value, replace
from gateway.ports import Connection
from gateway.service.listener.parameters import is_client_name

_IGNORED = frozenset({"NAME", "PORT", "PROTO", "LOGIN", "DESTADDR", "DESTPORT"})
"""ADDR and HELO count. A LOGIN proves nothing here, and a NAME may only repeat reverse DNS."""
_NOTHING = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*")
_CODED = re.compile(r"\+([0-9A-Fa-f]{2})")
DENIED = Reply(550, "7.0", "XCLIENT is not for you")
_SYNTAX = Reply(501, "5.4", "Syntax: XCLIENT attribute=value ...")


def introduce(connection: Connection, argument: str) -> Connection | Reply:
    """The connection as the peer describes it. Omitted values stay unchanged."""
    attributes = _read(argument)
    if attributes is None:
        return _SYNTAX
    for name, value in attributes.items():
        known = value.upper() not in _NOTHING
        if name == "ADDR" and not known:
            why = "the XCLIENT peer does not know the client's address"
            connection = replace(connection, client=connection.peer, source=ClientSource.XCLIENT, unknown=why)
        elif name == "ADDR":
            try:
                address = ipaddress.ip_address(value[5:] if value.upper().startswith("IPV6:") else value)
            except ValueError:
                return Reply(501, "5.4", "ADDR is no IP address")
            if getattr(address, "scope_id", None):
                return Reply(501, "5.4", "ADDR is no address of the internet")
            client = ip_text(str(address))
            connection = replace(connection, client=client, source=ClientSource.XCLIENT, unknown="")
        elif name == "HELO":
            if known and not is_client_name(value):
                return Reply(501, "5.4", "HELO is no name")
            connection = replace(connection, helo=value if known else "")
        elif name not in _IGNORED:
            return Reply(501, "5.4", "Attribute not known")
    return connection


def _read(argument: str) -> dict[str, str] | None:
    """Upper-case names and decoded values; None when malformed, or when a name is repeated."""
    attributes: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        if not equals or not _XTEXT.fullmatch(value) or name.upper() in attributes:
            return None
        attributes[name.upper()] = _CODED.sub(lambda found: chr(int(found[1], 16)), value)
    return attributes or None


HEADER_OCTETS = 4096
"""Limit of a version 2 header with its extra fields; the longest in use have some hundred octets."""

_V1_OCTETS = 107
_V1 = re.compile(
    rb"PROXY (?:(?P<unknown>UNKNOWN)[^\r\n]*"
    rb"|TCP(?P<family>[46]) (?P<client>[0-9A-Fa-f:.]+) (?P<server>[0-9A-Fa-f:.]+)"
    rb" (?P<port>[0-9]{1,5}) [0-9]{1,5})\r\n"
)
_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2 = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {_TCP4: 12, _TCP6: 36}
"""Octets of the address block by family and transport."""
_NO_ADDRESS = (0x00, 0x31)
"""Unspecified, and a UNIX stream: the connection is not from a client on the network."""


class NotProxy(ValueError):
    """The octets are not a PROXY header."""


class ProxyHeader(Value):
    """A whole header."""

    client: IPText | None
    """The client of the balancer; None for the balancer's own connections (LOCAL, UNKNOWN), such as health checks."""
    octets: int
    """Number of octets of the header."""


def read_proxy(octets: bytes) -> ProxyHeader | None:
    """The header at the start of `octets`, None when more octets are needed. Raises NotProxy.

    `HEADER_OCTETS` are always enough: more octets are never requested.
    """
    if octets.startswith(_V1_START):
        return _read_v1(octets)
    if octets.startswith(_V2_START):
        return _read_v2(octets)
    if _V1_START.startswith(octets) or _V2_START.startswith(octets):
        return None
    raise NotProxy("neither version 1 nor version 2")


def _read_v1(octets: bytes) -> ProxyHeader | None:
    end = octets.find(b"\r\n", 0, _V1_OCTETS)
    if end < 0:
        if len(octets) >= _V1_OCTETS:
            raise NotProxy("version 1 line is too long")
        return None
    found = _V1.fullmatch(octets[: end + 2])
    if not found:
        raise NotProxy("version 1 line is malformed")
    if found["unknown"]:
        return ProxyHeader(None, end + 2)
    try:
        address = (IPv4Address if found["family"] == b"4" else IPv6Address)(found["client"].decode())
    except ValueError:
        raise NotProxy("version 1 address is malformed") from None
    return ProxyHeader(ip_text(str(address)), end + 2)


def _read_v2(octets: bytes) -> ProxyHeader | None:
    if len(octets) < _V2.size:
        return None
    _, command, family, length = _V2.unpack_from(octets)
    end = _V2.size + length
    if end > HEADER_OCTETS:
        raise NotProxy("version 2 header is too long")
    if command not in (_LOCAL, _PROXY):
        raise NotProxy("unknown version or command")
    needed = _ADDRESSES.get(family, 0)
    if command == _PROXY and (length < needed or (family not in _ADDRESSES and family not in _NO_ADDRESS)):
        raise NotProxy("version 2 addresses are malformed")
    if len(octets) < end:
        return None
    if command == _LOCAL or family in _NO_ADDRESS:
        return ProxyHeader(None, end)
    block = octets[_V2.size : end]
    address = IPv4Address(block[:4]) if family == _TCP4 else IPv6Address(block[:16])
    return ProxyHeader(ip_text(str(address)), end)
