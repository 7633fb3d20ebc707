"""Invariant: an XCLIENT argument gets 501, or names one plain IP address and a name without control octets."""

from __future__ import annotations

import ipaddress

from gateway.model.envelope import ip_text
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.ports import Connection
from gateway.service.proxy import introduce
from tests.fuzz.plans import Plan, planned

PEER = Connection("mx", ip_text("127.0.0.1"), ip_text("127.0.0.1"), ClientSource.PEER)
PIECES = tuple(
    piece.encode("utf-8", "surrogateescape")
    for piece in (
        *"=+ %:.[]\0\t\udcffü",
        "ADDR=",
        "addr=",
        "HELO=",
        "LOGIN=",
        "NAME=x ",
        "IPV6:",
        "192.0.2.1",
        "2001:db8::1",
        "::ffff:192.0.2.1",
        "%eth0",
        "+0D+0A",
        "+5B",
        "[UNAVAILABLE]",
        "c.example",
        "1",
    )
)


def check(argument: str) -> None:
    introduced = introduce(PEER, argument)
    if isinstance(introduced, Reply):
        assert introduced.code == 501
        return
    address = ipaddress.ip_address(introduced.client)
    assert str(address) == introduced.client
    assert "%" not in introduced.client
    assert introduced.peer == PEER.peer
    assert introduced.helo.isprintable()
    assert " " not in introduced.helo
    if introduced.client != PEER.client:
        assert introduced.source is ClientSource.XCLIENT


@planned(share=4)
def test_pieces(plan: Plan) -> None:
    check(plan.join(PIECES, 40).decode("utf-8", "surrogateescape"))
