"""XCLIENT: the values that a listed peer may give, and the refusal of all other peers."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable

import pytest

from gateway.model.event import Event
from gateway.model.ingress import ClientSource
from gateway.service.listener import SmtpListener
from tests.support.listening import Client, RecordedReception

Listen = Callable[..., Awaitable[SmtpListener]]
LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)
DENIED = "550 5.7.0 XCLIENT is not for you"
OFFER = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN"


async def ehlo(client: Client) -> list[str]:
    await client.send(b"EHLO c.example\r\n")
    return (await client.read_reply())[1]


async def test_the_address_is_taken_and_survives_starttls(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls, xclient_from=LOOPBACK)
    client = await Client.connect(listener.address)
    assert OFFER in await ehlo(client)
    line = "XCLIENT NAME=mail.evil.example ADDR=203.0.113.7 PORT=4711 PROTO=ESMTP HELO=true.example LOGIN=boss"
    assert await client.ask(line) == "220 mx.gate.example ESMTP Waypost"
    assert await client.ask("MAIL FROM:<a@b.example>") == "503 5.5.1 Send EHLO or HELO first"
    assert await client.say("EHLO filter.example") == 250
    await client.starttls(client_tls)
    await client.open_data()
    await client.send(b"x\r\n.\r\n")
    assert await client.reply() == 250
    first, second = reception.conversations
    assert first.calls == ["hello", "close"]
    connection = second.connection
    assert (connection.client, connection.peer) == ("203.0.113.7", "127.0.0.1")
    assert (connection.source, connection.helo, connection.unknown) == (ClientSource.XCLIENT, "true.example", "")
    assert second.count("login") == 0
    await client.close()


@pytest.mark.parametrize(
    ("argument", "client", "unknown"),
    [
        ("ADDR=192.0.2.9", "192.0.2.9", False),
        ("addr=IPV6:2001:db8::9", "2001:db8::9", False),
        ("ADDR=IPV6:::ffff:192.0.2.9", "192.0.2.9", False),
        ("ADDR=192.0.2.9 HELO=[UNAVAILABLE]", "192.0.2.9", False),
        ("ADDR=[UNAVAILABLE]", "127.0.0.1", True),
        ("ADDR=[TEMPUNAVAIL]", "127.0.0.1", True),
        ("NAME=+5Bx+5D ADDR=1+39+32.0.2.9", "192.0.2.9", False),
    ],
)
async def test_addresses(listen: Listen, argument: str, client: str, unknown: bool) -> None:
    reception = RecordedReception()
    listener = await listen(reception, xclient_from=LOOPBACK)
    speaker = await Client.connect(listener.address)
    assert await speaker.say(f"XCLIENT {argument}") == 220
    connection = reception.conversations[-1].connection
    assert (connection.client, bool(connection.unknown)) == (client, unknown)
    assert connection.source is ClientSource.XCLIENT
    await speaker.close()


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "ADDR",
        "ADDR=",
        "ADDR=localhost",
        "ADDR=192.0.2.9/32",
        "ADDR=192.0.2.9 ADDR=192.0.2.10",
        "ADDR=[192.0.2.9]",
        "ADDR=IPV6:fe80::1%eth0",
        "HELO=a+20b",
        "HELO=a+0Ab",
        "ADDR=192.0.2.9+",
        "SOMETHING=x",
    ],
)
async def test_what_cannot_be_read_changes_nothing(listen: Listen, argument: str) -> None:
    reception = RecordedReception()
    listener = await listen(reception, xclient_from=LOOPBACK)
    client = await Client.connect(listener.address)
    assert (await client.ask(f"XCLIENT {argument}")).startswith("501 5.5.4 ")
    assert reception.only.connection.source is ClientSource.PEER
    await client.close()


async def test_others_may_not_and_it_counts(listen: Listen) -> None:
    reception = RecordedReception()
    events: list[Event] = []
    other = (ipaddress.ip_network("192.0.2.0/24"),)
    listener = await listen(reception, xclient_from=other, limits={"errors": 3}, emit=events.append)
    client = await Client.connect(listener.address)
    assert not any("XCLIENT" in line for line in await ehlo(client))
    assert await client.ask("XCLIENT ADDR=192.0.2.1") == DENIED
    assert await client.ask("XCLIENT ADDR=192.0.2.1") == DENIED
    await client.send(b"XCLIENT ADDR=192.0.2.1\r\n")
    assert (await client.rest()).endswith(b"421 4.7.0 Too many errors\r\n")
    assert reception.only.connection.client == "127.0.0.1"
    assert [dict(event.fields)["reason"] for event in events] == ["xclient", "too-many-errors"]


@pytest.mark.parametrize("address", [b"203.0.113.7", b"127.0.0.1"])
async def test_nobody_behind_a_balancer_may(listen: Listen, address: bytes) -> None:
    """Also when the balancer's own address, or the one that it names, is listed."""
    reception = RecordedReception()
    listener = await listen(reception, xclient_from=LOOPBACK, proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(b"PROXY TCP4 %s 192.0.2.1 40000 25\r\n" % address)
    assert await client.reply() == 220
    assert await client.ask("XCLIENT ADDR=192.0.2.1") == DENIED
    await client.close()


async def test_not_in_a_transaction_and_again_after_it(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception, xclient_from=LOOPBACK)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", "MAIL FROM:<a@b.example>") == 250
    assert await client.ask("XCLIENT ADDR=192.0.2.9") == "503 5.5.1 Not during a mail transaction"
    assert await client.say("RSET", "XCLIENT ADDR=192.0.2.9") == 220
    assert await client.say("XCLIENT HELO=later.example") == 220
    connection = reception.conversations[-1].connection
    assert (connection.client, connection.helo) == ("192.0.2.9", "later.example")
    await client.close()


async def test_limits_are_those_of_the_named_client(listen: Listen) -> None:
    listener = await listen(RecordedReception(), xclient_from=LOOPBACK, limits={"connections_per_address": 2})
    clients = []
    for _ in range(2):
        client = await Client.connect(listener.address)
        assert await client.say("XCLIENT ADDR=192.0.2.9") == 220
        clients.append(client)
    third = await Client.connect(listener.address)
    assert await third.ask("XCLIENT ADDR=192.0.2.9") == "421 4.3.2 Too many connections, try again later"
    fourth = await Client.connect(listener.address)
    assert await fourth.say("XCLIENT ADDR=192.0.2.10") == 220
    for client in (*clients, third, fourth):
        await client.close()
