"""The PROXY header parser; the dialogues over sockets are in integration/10-listener."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.service.proxy import HEADER_OCTETS, NotProxy, ProxyHeader, read_proxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n"
V2 = SIGNATURE + struct.pack("!BBH", 0x21, 0x21, 40) + bytes(range(16)) + bytes(20) + b"more"


@pytest.mark.parametrize("header", [V1, V2, b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00"])
def test_more_is_asked_for_until_the_header_is_whole(header: bytes) -> None:
    for size in range(len(header)):
        assert read_proxy(header[:size]) is None, size
    whole = read_proxy(header)
    assert whole is not None
    assert whole.octets == len(header)
    assert read_proxy(header + b"220") == whole


def test_addresses_are_canonical() -> None:
    assert read_proxy(V1) == ProxyHeader(ipaddress_text("203.0.113.7"), len(V1))
    assert read_proxy(V2) == ProxyHeader(ipaddress_text("1:203:405:607:809:a0b:c0d:e0f"), len(V2))
    mapped = b"PROXY TCP6 0:0:0:0:0:FFFF:CB00:7107 ::1 1 2\r\n"
    assert read_proxy(mapped) == ProxyHeader(ipaddress_text("203.0.113.7"), len(mapped))


def ipaddress_text(text: str) -> str:
    assert str(ipaddress.ip_address(text)) == text
    return text


@pytest.mark.parametrize(
    "octets",
    [
        b"E",
        b"EHLO x\r\n",
        b"PROXX",
        b"\r\n\r\nx",
        b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
        b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 fe80::1 fe80::2 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 " + b"1" * 100,
        SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x13\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
        SIGNATURE + b"\x20\x00" + struct.pack("!H", HEADER_OCTETS),
    ],
)
def test_anything_else_is_no_header(octets: bytes) -> None:
    with pytest.raises(NotProxy):
        read_proxy(octets)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: SIGNATURE + tail)))
def test_any_octets_are_a_header_or_not_and_never_more_than_the_bound_is_asked_for(octets: bytes) -> None:
    try:
        header = read_proxy(octets)
    except NotProxy:
        return
    if header is None:
        assert len(octets) < HEADER_OCTETS
    else:
        assert 0 < header.octets <= min(len(octets), HEADER_OCTETS)
        if header.client is not None:
            assert str(ipaddress.ip_address(header.client)) == header.client
