"""Invariant: octets are a PROXY header, the start of one, or NotProxy; its client is the address written in it.

However the octets come, the same header is read, and no more than `HEADER_OCTETS` are ever asked for.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from gateway.service.proxy import HEADER_OCTETS, NotProxy, ProxyHeader, read_proxy
from tests.fuzz.plans import Plan, planned

START = b"\r\n\r\n\0\r\nQUIT\n"
PIECES = (
    *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.7 ", b"2001:db8::7 ", b"::ffff:192.0.2.7 ", b"25", b" "),
    *(b"\r\n", b"\r", b"\n", START, b"\x20", b"\x21", b"\x11", b"\x12", b"\x00", b"\0\x0c", b"\xff\xff", b"\0" * 12),
    *(b"EHLO c.example\r\n", b"999.1.1.1 ", b"fe80::1%eth0 "),
)


def read(octets: bytes) -> ProxyHeader | str | None:
    try:
        return read_proxy(octets)
    except NotProxy as error:
        return str(error)


def check(octets: bytes) -> ProxyHeader | str | None:
    found = read(octets)
    if found is None:
        assert len(octets) < HEADER_OCTETS
    elif isinstance(found, ProxyHeader):
        assert 0 < found.octets <= len(octets)
        assert read(octets[: found.octets]) == found  # the octets after the header do not matter
        if found.client is not None:
            client = ip_address(found.client)
            head = octets[: found.octets]
            assert client.packed in head or str(client).encode() in head or b"PROXY TCP" in head
    return found


@planned(share=2)
def test_any_octets(plan: Plan) -> None:
    octets = plan.join(PIECES, 14)
    whole = check(octets)
    for part in (octets[: plan.number(200)], octets[:-1]):
        early = check(part)
        if early is not None:
            assert type(early) is type(whole)
            assert not isinstance(early, ProxyHeader) or early == whole


@planned(share=2)
def test_a_true_header(plan: Plan) -> None:
    wide = plan.number(2)
    packed = (plan.raw(16) + b"\x01" * 16)[: 16 if wide else 4]
    address = ip_address(packed)
    extra = b"\x04" + struct.pack("!H", 5) + b"extra" if plan.number(2) else b""
    if plan.number(2):
        block = packed + packed + b"\x0f\xa0\x00\x19"
        command, family = plan.pick((b"\x21", b"\x20")), b"\x21" if wide else b"\x11"
        header = START + command + family + struct.pack("!H", len(block + extra)) + block + extra
        local = command == b"\x20"
    else:
        family_name = "TCP6" if wide else "TCP4"
        header = f"PROXY {family_name} {address} {address} 4000 25\r\n".encode()
        local = False
    mapped = getattr(address, "ipv4_mapped", None)
    found = check(header + plan.join(PIECES, 4))
    assert isinstance(found, ProxyHeader)
    assert found.octets == len(header)
    assert found.client is None if local else ip_address(str(found.client)) in (address, mapped)
    assert check(header[: plan.number(len(header))]) is None
