"""Invariant: the walk through Received lines names listed relays only, and never gives the address of one as client."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import get_args

from gateway.mail.header import parse_header
from gateway.mail.received import count_passes, find_relay, walk
from gateway.mail.relay_formats import RelayFormat
from gateway.model.envelope import ip_text
from tests.fuzz.mutation import CASES, run, values


@dataclass(frozen=True)
class Listed:
    """A relay as the configuration lists it."""

    name: str
    addresses: Sequence[IPv4Network | IPv6Network]
    by: Sequence[str]
    format: RelayFormat


PEER = ip_text("192.0.2.10")
FORMATS: tuple[RelayFormat, ...] = get_args(RelayFormat)
DATE = "Sat, 21 Nov 2026 21:10:00 +0100 (CET)"
LINES = [
    (
        "Received: from inner.corp.example (inner.corp.example [192.0.2.20])\r\n"
        f"\tby relay.corp.example (Postfix) with ESMTPS id 4Abc12XyZ\r\n\tfor <bob@corp.example>; {DATE}\r\n"
        f"Received: from mail.sender.example (out.sender.example [{client}])\r\n"
        f"\tby inner.corp.example (Postfix) with ESMTP id 4Abc12XyZ; {DATE}\r\nFrom: a@b.example\r\n"
    ).encode()
    for client in ("203.0.113.7", "IPv6:2001:db8::7", "10.0.0.1", "unknown")
]
WORDS = [
    b"[192.0.2.1]",
    b"by a.relay.example",
    b"from x (y [10.0.0.2]) ",
    b"([IPv6:2001:db8::1])",
    b"; ",
    b"(",
    b")",
    b"with ESMTP",
]


def relays(format: RelayFormat) -> tuple[Listed, ...]:
    return (
        Listed("outer", (ip_network("192.0.2.10/32"),), ("relay.corp.example",), format),
        Listed("inner", (ip_network("192.0.2.20/32"), ip_network("2001:db8:20::/64")), ("*.corp.example",), format),
    )


LISTED = [relays(format) for format in FORMATS]


def test_walk(full_count: Callable[[int], int]) -> None:
    others = [b"Received:" + value + b"\r\n" for value in values(b"Received")]
    turn = itertools.count()
    found = 0

    def check(octets: bytes) -> None:
        nonlocal found
        header, listed = parse_header(octets), LISTED[next(turn) % len(LISTED)]
        walked = walk(header, listed, PEER)
        assert (walked.client is None) is bool(walked.reason)
        assert walked.relays[0] == "outer"
        assert set(walked.relays) <= {"outer", "inner"}
        if walked.client is not None:
            found += 1
            assert str(ipaddress.ip_address(walked.client)) == walked.client
            assert find_relay(walked.client, listed) is None
        assert 0 <= count_passes(header, "relay.corp.example") <= len(header)

    run([*LINES * 5, *others], full_count(CASES), check, WORDS)
    assert found
