"""A DNS server for tests: real packets over UDP and TCP on 127.0.0.1, answering from a zone in JSON form."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset

from tests.support.resolving import close_resolvers

Data = Mapping[str, Any]


class DnsServer:
    """`async with DnsServer(data) as server:` then ask `server.address`."""

    def __init__(
        self,
        data: Data,
        *,
        ttl: int = 300,
        soa_minimum: int | None = None,
        authentic: bool = False,
        whole_chains: bool = True,
        delay: Callable[[str], float] = lambda _: 0.0,
        mangle: Callable[[bytes], bytes] | None = None,
        refuses_edns: dns.rcode.Rcode | None = None,
    ) -> None:
        """`refuses_edns`: the code with which a query that has an OPT record is refused."""
        self.load(data)
        self._ttl = ttl
        self._soa_minimum = soa_minimum
        self._authentic = authentic
        self._whole_chains = whole_chains
        self._delay = delay
        self._mangle = mangle
        self._refuses_edns = refuses_edns
        self.asked: list[tuple[str, str, str]] = []
        """(name, type, transport) of each query."""
        self.queries: list[dns.message.Message] = []
        self.address = ""

    def load(self, data: Data) -> None:
        """Answer from this zone alone."""
        self._data = {_fold(name): value for name, value in data.items()}
        self._above = {tail for name in self._data for tail in _tails(name)}

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
            port = self._tcp.sockets[0].getsockname()[1]
            with contextlib.suppress(OSError):
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), ("127.0.0.1", port))
                self.address = f"127.0.0.1:{port}"
                self._tasks: set[asyncio.Task[None]] = set()
                return self
            self._tcp.close()
        raise RuntimeError("no port is free for both UDP and TCP")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close_resolvers()
        self._udp.close()
        self._tcp.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._tcp.wait_closed()

    def count(self, name: str) -> int:
        """Number of queries for that name."""
        return sum(asked == name for asked, _, _ in self.asked)

    def spawn(self, octets: bytes, peer: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_udp(octets, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_udp(self, octets: bytes, peer: tuple[str, int]) -> None:
        wire = await self.respond(octets, "udp")
        if wire is not None:
            self._udp.sendto(wire, peer)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            wire = await self.respond(await reader.readexactly(size), "tcp")
            if wire is not None:
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def respond(self, octets: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(octets)
        name = _text(query.question[0].name)
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append((name, kind, transport))
        self.queries.append(query)
        await asyncio.sleep(self._delay(name))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if self._refuses_edns is not None and query.edns >= 0:
            response.use_edns(False)
            response.set_rcode(self._refuses_edns)
            return response.to_wire()
        if self._authentic and query.flags & dns.flags.AD:
            response.flags |= dns.flags.AD
        if not self._fill(response, query.question[0].name, name, kind):
            return None
        wire = response.to_wire(max_size=65535)
        if transport == "udp" and len(wire) > max(512, query.payload):
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            wire = short.to_wire()
        return self._mangle(wire) if self._mangle else wire

    def _fill(self, response: dns.message.Message, owner: dns.name.Name, name: str, kind: str) -> bool:
        for hop in range(12):
            entry = self._data.get(name)
            value = entry if isinstance(entry, str) else (entry or {}).get(kind, [])
            if value == "TIMEOUT":
                return False
            if value == "SERVFAIL":
                response.set_rcode(dns.rcode.SERVFAIL)
                return True
            if value:
                response.answer.append(_rrset(owner, self._ttl, kind, value))
                return True
            if entry is None and name not in self._above:
                response.set_rcode(dns.rcode.NXDOMAIN)
            alias = (entry or {}).get("CNAME")
            if not alias or (hop and not self._whole_chains):
                break
            response.answer.append(_rrset(owner, self._ttl, "CNAME", alias))
            if not self._whole_chains:
                return True
            name = _fold(alias[0])
            owner = _name(name)
        if self._soa_minimum is not None:
            soa = f"ns.invalid. root.invalid. 1 7200 900 1209600 {self._soa_minimum}"
            response.authority.append(_rrset(dns.name.root, 86400, "SOA", [soa]))
        return True


@contextlib.contextmanager
def serving(data: Data) -> Iterator[int]:
    """A server in a thread of its own, for programs that are waited for; its port."""
    loop = asyncio.new_event_loop()
    server = DnsServer(data)
    thread = threading.Thread(target=loop.run_forever, name="dns server")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(30)
        yield int(server.address.rpartition(":")[2])
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.spawn(data, addr)


def _rrset(owner: dns.name.Name, ttl: int, kind: str, values: list[str]) -> dns.rrset.RRset:
    rrset = dns.rrset.RRset(owner, dns.rdataclass.IN, dns.rdatatype.from_text(kind))
    for value in values:
        rrset.add(_rdata(kind, value), ttl)
    return rrset


def _rdata(kind: str, value: str) -> dns.rdata.Rdata:
    if kind == "TXT":
        octets = value.encode()
        pieces = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
        return dns.rdata.from_wire(
            "IN", "TXT", wire := b"".join(bytes([len(one)]) + one for one in pieces), 0, len(wire)
        )
    return dns.rdata.from_text("IN", kind, value, origin=dns.name.root, relativize=False)


def _fold(name: str) -> str:
    return name.lower().removesuffix(".")


def _tails(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(1, len(labels))]


def _name(name: str) -> dns.name.Name:
    return dns.name.Name([*(label.encode() for label in name.split(".")), b""])


def _text(name: dns.name.Name) -> str:
    return b".".join(name.labels[:-1]).decode("latin-1").lower()
