"""The PROXY protocol header, versions 1 and 2, that a balancer puts ahead of a connection it passes on."""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address

from gateway.model.address import IPText, ip_text
from gateway.model.value import Value

HEADER_OCTETS = 4096
"""Bound on a version 2 header with its extra fields; the longest that balancers send is some hundred octets."""

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
"""Unspecified, and a UNIX stream: the connection is no client's from the network."""


class NotProxy(ValueError):
    """The octets are no PROXY header."""


class ProxyHeader(Value):
    """A whole header."""

    client: IPText | None
    """Who connected to the balancer; None for its own connections (LOCAL, UNKNOWN), such as health checks."""
    octets: int
    """How many octets the header took."""


def read_proxy(octets: bytes) -> ProxyHeader | None:
    """The header at the start of `octets`, None when more octets are needed. Raises NotProxy.

    It is decided within `HEADER_OCTETS`: more octets than that are never asked for.
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
