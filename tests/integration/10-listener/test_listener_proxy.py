"""PROXY headers: the client's address, and the errors that end the connection."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import struct
from collections.abc import Awaitable, Callable

import pytest

from gateway.model.event import Event
from gateway.model.ingress import ClientSource
from gateway.service.listener import SmtpListener, arrival
from tests.support.listening import Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, addresses: bytes, extra: bytes = b"") -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses) + len(extra)) + addresses + extra


def v2_tcp(client: str, extra: bytes = b"") -> bytes:
    source = ipaddress.ip_address(client)
    other = ipaddress.ip_address("192.0.2.1" if source.version == 4 else "2001:db8::1")
    block = source.packed + other.packed + struct.pack("!HH", 40000, 25)
    return v2(0x21, 0x11 if source.version == 4 else 0x21, block, extra)


HEADERS = {
    "v1": (b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\r\n", "203.0.113.7"),
    "v1 IPv6": (b"PROXY TCP6 2001:DB8:0::7 2001:db8::1 40000 25\r\n", "2001:db8::7"),
    "v1 mapped": (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 40000 25\r\n", "203.0.113.7"),
    "v2": (v2_tcp("203.0.113.7"), "203.0.113.7"),
    "v2 IPv6": (v2_tcp("2001:db8::7"), "2001:db8::7"),
    "v2 with more": (v2_tcp("203.0.113.7", b"\x03\x00\x04abcd" + b"\x04\x01\x00" + b"x" * 256), "203.0.113.7"),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("piecewise", [False, True])
async def test_the_client_is_who_the_balancer_says(listen: Listen, name: str, piecewise: bool) -> None:
    header, address = HEADERS[name]
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    for part in [bytes([octet]) for octet in header] if piecewise else [header]:
        await client.send(part)
        await asyncio.sleep(0)
    assert await client.reply() == 220
    connection = reception.only.connection
    assert (connection.client, connection.peer, connection.source) == (address, "127.0.0.1", ClientSource.PROXY)
    await client.close()


@pytest.mark.parametrize("name", ["v1", "v2"])
async def test_the_address_survives_starttls(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, name: str
) -> None:
    header, address = HEADERS[name]
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=LOOPBACK, tls=server_tls)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(header)
    assert await client.reply() == 220
    await client.starttls(client_tls)
    await client.open_data()
    await client.send(b"x\r\n.\r\n")
    assert await client.reply() == 250
    assert reception.only.connection.client == address
    assert reception.only.names[-1][2] is not None
    assert len(reception.taken) == 1
    await client.close()


MALFORMED = {
    "none": b"EHLO c.example\r\n",
    "v1 of nothing": b"PROXY \r\n",
    "v1 without port": b"PROXY TCP4 203.0.113.7 192.0.2.1 40000\r\n",
    "v1 bad address": b"PROXY TCP4 203.0.113.777 192.0.2.1 40000 25\r\n",
    "v1 wrong family": b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 25\r\n",
    "v1 without end": b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25" + b" " * 100,
    "v1 bare LF": b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 25\nEHLO x\r\n",
    "v2 version 3": v2(0x31, 0x11, bytes(12)),
    "v2 command 2": v2(0x22, 0x11, bytes(12)),
    "v2 UDP": v2(0x21, 0x12, bytes(12)),
    "v2 too short": v2(0x21, 0x11, bytes(11)),
    "v2 too long": SIGNATURE + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_balancer_must_send_a_header(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool], name: str
) -> None:
    expects_errors.append(True)
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(MALFORMED[name])
    assert await client.rest() == b""
    assert reception.conversations == []
    assert len(errors) == 1  # a wrong configuration, which an admin should know


async def test_a_header_must_come_in_time(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    expects_errors.append(True)
    monkeypatch.setattr(arrival, "_PROXY_SECONDS", 0.1)
    listener = await listen(RecordedReception(), proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(b"PROXY TCP4 ")
    assert await client.rest() == b""
    assert str(errors[0]) == "no whole header in time"


async def test_a_silent_health_check_is_counted_and_no_error(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "_PROXY_SECONDS", 0.1)
    events: list[Event] = []
    listener = await listen(RecordedReception(), proxy_from=LOOPBACK, emit=events.append)
    for _ in range(3):
        client = await Client.connect(listener.address, greeted=False)
        assert await client.rest() == b""
    assert [dict(event.fields)["reason"] for event in events] == ["no-proxy-header"]


async def test_a_balancer_that_only_tries_the_port_is_no_error(listen: Listen) -> None:
    listener = await listen(RecordedReception(), proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.close()
    await until(lambda: listener.sessions == 0)


@pytest.mark.parametrize("name", ["v1", "v2", "v2 IPv6"])
@pytest.mark.parametrize("early", [True, False])
async def test_nobody_else_may_send_a_header(listen: Listen, name: str, early: bool) -> None:
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=ELSEWHERE, greet_pause=0.2 if early else 0)
    client = await Client.connect(listener.address, greeted=not early)
    await client.send(HEADERS[name][0] + b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n")
    assert b"250" not in await client.rest()
    await until(lambda: listener.sessions == 0)
    assert all("mail" not in conversation.calls for conversation in reception.conversations)


async def test_a_peer_that_is_not_listed_is_its_own_client(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=ELSEWHERE)
    client = await Client.connect(listener.address)
    assert reception.only.connection.client == "127.0.0.1"
    assert reception.only.connection.source is ClientSource.PEER
    await client.close()


OWN = {
    "v2 LOCAL": v2(0x20, 0x00, b""),
    "v2 LOCAL with addresses": v2(0x20, 0x11, bytes(12)),
    "v2 unspecified": v2(0x21, 0x00, b""),
    "v2 UNIX": v2(0x21, 0x31, bytes(216)),
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN with more": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
}


@pytest.mark.parametrize("name", OWN)
async def test_a_health_check_is_answered_and_nobody_is_told(listen: Listen, name: str) -> None:
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(OWN[name])
    assert await client.reply() == 220
    assert await client.say("EHLO balancer.example", "NOOP", "RSET") == 250
    assert await client.say("QUIT") == 221
    assert await client.rest() == b""
    client = await Client.connect(listener.address, greeted=False)
    await client.send(OWN[name])
    assert await client.reply() == 220
    await client.send(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n")
    await client.read_reply()
    assert await client.rest() == b"421 4.3.2 No mail is taken on a health check\r\n"
    assert reception.conversations == []


async def test_who_talks_behind_the_header_before_the_greeting_is_cut_off(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(HEADERS["v1"][0] + b"EHLO x\r\n")
    assert await client.rest() == b"554 5.5.1 You talk before you are greeted\r\n"
    assert reception.conversations == []


async def test_limits_are_those_of_the_client_behind_the_balancer(listen: Listen) -> None:
    listener = await listen(
        RecordedReception(), proxy_from=LOOPBACK, limits={"connections_per_address": 1, "connections_per_network": 10}
    )
    clients = []
    for last in range(1, 13):  # one from each address, and ten from one network
        client = await Client.connect(listener.address, greeted=False)
        await client.send(b"PROXY TCP4 203.0.113.%d 192.0.2.1 40000 25\r\n" % last)
        clients.append((await client.reply(), client))
    assert [code for code, _ in clients] == [220] * 10 + [421] * 2
    other = await Client.connect(listener.address, greeted=False)
    await other.send(b"PROXY TCP4 198.51.100.1 192.0.2.1 40000 25\r\n")
    assert await other.reply() == 220
    again = await Client.connect(listener.address, greeted=False)
    await again.send(b"PROXY TCP4 198.51.100.1 192.0.2.1 40000 25\r\n")
    assert await again.reply() == 421
    for client in [other, again, *(client for _, client in clients)]:
        await client.close()
