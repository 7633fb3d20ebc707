"""TLS from the first octet, alone and behind a PROXY header, however the octets are cut."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable

import pytest

from gateway.model.event import Event
from gateway.model.ingress import ClientSource
from gateway.service.listener import SmtpListener
from tests.support.listening import Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 465\r\n"
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a") + bytes.fromhex("21 11 000c cb007107 c0000201 9c40 01d1")
LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a") + bytes.fromhex("20 00 0000")


class Relay:
    """Between a TLS client and the listener: puts a PROXY header ahead of the client's first octets, in one packet or
    in many."""

    def __init__(self, address: tuple[str, int], header: bytes, size: int) -> None:
        self._address, self._header, self._size = address, header, size

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(*self._address)
        first = self._header + await reader.read(65_536)
        for start in range(0, len(first), self._size):
            ours.write(first[start : start + self._size])
            await ours.drain()
            if self._size < len(first):
                await asyncio.sleep(0.001)

        async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            try:
                while octets := await source.read(65_536):
                    to.write(octets)
                    await to.drain()
            except OSError:
                pass
            finally:
                to.close()

        await asyncio.gather(pump(reader, ours), pump(theirs, writer))


async def send_message(client: Client, reception: RecordedReception) -> None:
    await client.open_data()
    octets = b"x" * 400_000 + b"\r\n"
    await client.send(octets + b".\r\n")
    assert await client.reply() == 250
    assert [taken.content for taken in reception.taken] == [octets]


async def test_a_message(listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls, implicit_tls=True)
    client = await Client.connect(listener.address, ssl=client_tls, server_hostname="localhost")
    await client.send(b"EHLO c.example\r\n")
    assert "STARTTLS" not in (await client.read_reply())[1]
    assert await client.ask("STARTTLS") == "503 5.5.1 TLS is up already"
    await send_message(client, reception)
    tls = reception.only.names[0][2]
    assert tls is not None
    assert tls.version == "TLSv1.3"
    assert reception.only.connection.source is ClientSource.PEER
    await client.close()


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [1_000_000, 1, 50], ids=["one-packet", "octets", "pieces"])
async def test_behind_a_proxy_header(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, header: bytes, size: int
) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls, implicit_tls=True, proxy_from=LOOPBACK)
    relay = await asyncio.start_server(Relay(listener.address, header, size), "127.0.0.1", 0)
    client = await Client.connect(relay.sockets[0].getsockname()[:2], ssl=client_tls, server_hostname="localhost")
    await send_message(client, reception)
    connection = reception.only.connection
    assert (connection.client, connection.source) == ("203.0.113.7", ClientSource.PROXY)
    assert reception.only.names[0][2] is not None
    assert await client.say("QUIT") == 221
    await client.close()
    relay.close()
    await until(lambda: listener.sessions == 0)


async def test_a_health_check_closes_again(listen: Listen, server_tls: ssl.SSLContext) -> None:
    listener = await listen(RecordedReception(), tls=server_tls, implicit_tls=True, proxy_from=LOOPBACK)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(LOCAL)
    await client.close()
    await until(lambda: listener.sessions == 0)


@pytest.mark.parametrize("octets", [b"EHLO c.example\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 512, b""])
async def test_what_is_no_tls_gets_nothing(listen: Listen, server_tls: ssl.SSLContext, octets: bytes) -> None:
    reception = RecordedReception()
    events: list[Event] = []
    listener = await listen(reception, tls=server_tls, implicit_tls=True, emit=events.append)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(octets)
    if not octets:
        client.writer.write_eof()
    assert b"220" not in await client.rest()
    await until(lambda: listener.sessions == 0)
    assert reception.conversations == []
    assert [dict(event.fields)["reason"] for event in events] == ["tls"]


async def test_too_many_are_told_nothing_in_plain(listen: Listen, server_tls: ssl.SSLContext) -> None:
    listener = await listen(RecordedReception(), tls=server_tls, implicit_tls=True, limits={"connections": 1})
    one = await Client.connect(listener.address, greeted=False)
    await until(lambda: listener.sessions == 1)
    two = await Client.connect(listener.address, greeted=False)
    assert await two.rest() == b""
    await one.close()
    await until(lambda: listener.sessions == 0)
