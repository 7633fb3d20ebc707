"""Edge or inside, and the client's address: the result of find_ingress for a connection and a header."""

from __future__ import annotations

from gateway.config.model import Config
from gateway.mail.header import Field, parse_header
from gateway.model.envelope import IPText
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress, Tls
from gateway.ports import Connection
from gateway.service.ingress import find_ingress

CONFIG = Config.model_validate(
    {
        "server": {"hostname": "mx.corp.example"},
        "listener": [{"address": "127.0.0.1:0"}],
        "domain": [{"name": "corp.example", "backend": "google"}],
        "backend": {"google": {"hosts": "smtp.google.com"}},
        "relay": [
            {"name": "old", "addresses": ["192.0.2.10/32"], "by": ["relay.corp.example"], "format": "postfix"},
        ],
        "own_hop": [{"name": "exchange", "addresses": ["192.0.2.64/26", "2001:db8::/64"]}],
    }
)
TLS = Tls("TLSv1.3", "x")


def ingress(client: str, header: tuple[Field, ...] | None = (), source: ClientSource = ClientSource.PEER) -> Ingress:
    peer = IPText("10.0.0.1") if source is ClientSource.PROXY else IPText(client)
    connection = Connection("mx", peer, IPText(client), source)
    return find_ingress(connection, "helo.example", True, TLS, CONFIG, header)


def recorded(address: str, by: str = "relay.corp.example") -> tuple[Field, ...]:
    line = (
        f"Received: from client.example (rdns.example [{address}])\r\n"
        f"\tby {by} (Postfix) with ESMTP id 4Abc;\r\n\tSat, 21 Nov 2026 21:10:00 +0000\r\n"
    )
    return parse_header(line.encode())


def test_a_stranger_is_the_edge() -> None:
    assert ingress("203.0.113.7") == EdgeIngress(
        IPText("203.0.113.7"), ClientSource.PEER, "helo.example", "mx", IPText("203.0.113.7"), TLS
    )


def test_a_balancer_is_no_client() -> None:
    found = ingress("203.0.113.7", source=ClientSource.PROXY)
    assert isinstance(found, EdgeIngress)
    assert (found.client, found.peer, found.source) == ("203.0.113.7", "10.0.0.1", ClientSource.PROXY)


def test_an_own_hop_is_inside() -> None:
    for address in ("192.0.2.65", "2001:db8::9"):
        found = ingress(address, recorded("203.0.113.7"))
        assert isinstance(found, InternalIngress)
        assert (found.client, found.trusted_by) == (address, "own hop exchange")


def test_a_relay_before_its_header_is_in() -> None:
    found = ingress("192.0.2.10", None)
    assert isinstance(found, EdgeIngress)
    assert (found.client, found.source) == (None, ClientSource.RECEIVED)
    assert found.reason


def test_a_relay_names_the_client() -> None:
    assert ingress("192.0.2.10", recorded("203.0.113.7")) == EdgeIngress(
        IPText("203.0.113.7"),
        ClientSource.RECEIVED,
        "client.example",
        "mx",
        IPText("192.0.2.10"),
        TLS,
        True,
        "rdns.example",
        via=("old",),
    )


def test_a_relay_in_doubt() -> None:
    found = ingress("192.0.2.10", recorded("203.0.113.7", by="evil.example"))
    assert isinstance(found, EdgeIngress)
    assert found.client is None
    assert "relay old" in found.reason


def test_an_own_hop_behind_a_relay_is_inside() -> None:
    found = ingress("192.0.2.10", recorded("192.0.2.65"))
    assert isinstance(found, InternalIngress)
    assert found.client == "192.0.2.65"


def test_a_line_of_a_stranger_is_not_read() -> None:
    found = ingress("203.0.113.7", recorded("192.0.2.65"))
    assert isinstance(found, EdgeIngress)
    assert found.client == "203.0.113.7"


def test_a_chain_of_relays_of_several_kinds_and_who_proved_it() -> None:
    relays = [
        {"name": "front", "addresses": ["192.0.2.10/32"], "by": ["EXCH01.corp.example"], "format": "exchange"},
        {"name": "edge", "addresses": ["192.0.2.11/32"], "by": ["relay.corp.example"], "format": "exim"},
    ]
    config = Config.model_validate({**CONFIG.model_dump(), "relay": relays})
    header = parse_header(
        b"Received: from relay.corp.example (192.0.2.11) by EXCH01.corp.example (10.0.0.5) with\r\n"
        b" Microsoft SMTP Server id 15.2.1544.9; Sat, 21 Nov 2026 21:10:02 +0000\r\n"
        b"Received: from out.sender.example ([203.0.113.7] helo=client.example)\r\n"
        b"\tby relay.corp.example with esmtp (Exim 4.96)\r\n\tid 1xUto3-0005ts-0K;\r\n"
        b"\tSat, 21 Nov 2026 21:10:00 +0000\r\n"
    )
    peer = IPText("192.0.2.10")
    connection = Connection("mx", peer, peer, ClientSource.PEER)
    found = find_ingress(connection, "helo.example", True, TLS, config, header)
    assert isinstance(found, EdgeIngress)
    assert (found.client, found.helo, found.rdns) == ("203.0.113.7", "client.example", "out.sender.example")
    assert found.via == ("front", "edge")
