"""The sockets for DNS queries: the responses that count, and the life of a socket."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.net import datagrams
from gateway.net.datagrams import DatagramClient, encode_question, read_plain

QUESTION = encode_question("a.example", "A") or b""
OTHER = encode_question("b.example", "A") or b""
RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 1])


def respond(query: bytes, question: bytes = QUESTION, number: bytes | None = None) -> bytes:
    return (number or query[:2]) + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question + RECORD


class Server(asyncio.DatagramProtocol):
    """Sends the result of `answer` for each query."""

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.answer = answer
        self.ports: list[int] = []
        self.numbers: list[bytes] = []
        self.asked = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.ports.append(addr[1])
        self.numbers.append(data[:2])
        self.asked.set()
        for octets in self.answer(data):
            self.transport.sendto(octets, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def serve(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[tuple[Server, DatagramClient]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Server(answer), ("127.0.0.1", 0))
    client = DatagramClient("127.0.0.1", transport.get_extra_info("sockname")[1])
    try:
        yield server, client
    finally:
        client.close()
        transport.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "forge",
    [
        lambda query: respond(query, number=bytes([query[0] ^ 1, query[1]])),
        lambda query: respond(query, question=OTHER),
        lambda query: query,
        lambda query: respond(query)[:11],
        lambda query: query[:2] + struct.pack("!5H", 0x8180, 2, 1, 0, 0) + QUESTION + QUESTION,
    ],
    ids=["another number", "another question", "a query", "cut off", "two questions"],
)
async def test_a_forged_response_passes_nothing(forge: Callable[[bytes], bytes]) -> None:
    async with serve(lambda query: [forge(query)]) as (_, client):
        with pytest.raises(TimeoutError):
            await client.ask(QUESTION, 0.1)
    async with serve(lambda query: [forge(query), respond(query), respond(query)]) as (_, client):
        plain = read_plain(await client.ask(QUESTION, 2.0), QUESTION)
        assert plain is not None
        assert plain.answer.records == ("192.0.2.1",)


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.1"], ids=["another address", "another port"])
async def test_a_response_from_elsewhere_never_arrives(address: str) -> None:
    async with serve(lambda query: []) as (server, client):
        asking = asyncio.create_task(client.ask(QUESTION, 0.3))
        await server.asked.wait()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((address, 0))
            stranger.sendto(respond(server.numbers[0]), ("127.0.0.1", server.ports[0]))
        with pytest.raises(TimeoutError):
            await asking


async def test_a_late_response_is_nobodys() -> None:
    held: list[bytes] = []
    async with serve(lambda query: held.append(query) or []) as (server, client):  # type: ignore[func-returns-value]
        with pytest.raises(TimeoutError):
            await client.ask(QUESTION, 0.05)
        server.answer = lambda query: [respond(held[0]), respond(query, OTHER)]
        assert (await client.ask(OTHER, 2.0))[12:].startswith(OTHER)


async def test_a_response_that_comes_twice_answers_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second copy arrives while another query waits on the same socket."""
    monkeypatch.setattr(datagrams, "_SOCKETS", 1)
    first: list[bytes] = []
    async with serve(lambda query: [respond(query)]) as (server, client):
        await client.ask(QUESTION, 2.0)

        def answer(query: bytes) -> list[bytes]:
            first.append(query)
            return [respond(query), respond(query), respond(first[0]), respond(query, OTHER)]

        server.answer = answer
        assert (await client.ask(QUESTION, 2.0))[12:].startswith(QUESTION)
        assert (await client.ask(OTHER, 2.0))[12:].startswith(OTHER)
        assert len(set(server.ports)) == 1


async def test_every_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are worn, whose query timed out, was cancelled, or was under way when the client was closed."""
    monkeypatch.setattr(datagrams, "_MOST_QUERIES", 3)
    before = count_sockets()
    async with serve(lambda query: [respond(query)]) as (server, client):
        await asyncio.gather(*(client.ask(QUESTION, 2.0) for _ in range(40)))
        server.answer = lambda query: []
        with pytest.raises(TimeoutError):
            await client.ask(QUESTION, 0.02)
        leaving = asyncio.create_task(client.ask(QUESTION, 5.0))
        left = asyncio.create_task(client.ask(OTHER, 0.2))
        await asyncio.sleep(0.05)
        leaving.cancel()
        assert count_sockets() > before
        client.close()
        with pytest.raises(TimeoutError):
            await left
        with pytest.raises(asyncio.CancelledError):
            await leaving
    await asyncio.sleep(0.05)
    assert count_sockets() == before


def count_sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


async def test_numbers_and_ports_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "_MOST_QUERIES", 5)
    monkeypatch.setattr(datagrams, "_SOCKETS", 2)
    async with serve(lambda query: [respond(query)]) as (server, client):
        for _ in range(40):
            await client.ask(QUESTION, 2.0)
        assert len(client._open) <= 2
    assert len(set(server.ports)) >= 8
    assert max(map(server.ports.count, server.ports)) <= 5
    assert len(set(server.numbers)) > 30


async def test_a_port_that_nobody_listens_on_is_an_error_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client = DatagramClient("127.0.0.1", port)
    with pytest.raises(OSError, match=r"refused"):
        await client.ask(QUESTION, 2.0)
    client.close()
    await asyncio.sleep(0)


def test_a_response_of_pointers_costs_little() -> None:
    """A chain of pointers that many records lead to: dnspython refuses it too."""
    chain = b"".join(
        struct.pack("!H", 0xC000 | (12 if not at else 12 + len(QUESTION) + 12 + 2 * (at - 1))) for at in range(800)
    )
    holder = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(chain)) + chain
    top = 0xC000 | (12 + len(QUESTION) - 4 + 12 + len(chain) - 2)
    record = struct.pack("!HHHIH", top, 1, 1, 60, 4) + bytes(4)
    for count in (100, 4000):
        wire = b"\0\0" + struct.pack("!5H", 0x8180, 1, count + 1, 0, 0) + QUESTION + holder + record * count
        started = time.process_time()
        assert read_plain(wire, QUESTION) is None
        assert time.process_time() - started < 0.05
