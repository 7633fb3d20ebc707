"""python -m bench.slow_dns SECONDS: a DNS server on 127.0.0.1:53 that passes on the answers of 127.0.0.1:5353 late."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

LISTEN, SERVER = ("127.0.0.1", 53), ("127.0.0.1", 5353)
Address = tuple[str, int]


class Front(asyncio.DatagramProtocol):
    """Takes queries, and has a socket of its own to the server for each of them."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._transport: asyncio.DatagramTransport | None = None
        self._asking: set[asyncio.Task[object]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_datagram_endpoint(lambda: Back(self, data, addr), remote_addr=SERVER))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def answer(self, data: bytes, addr: Address) -> None:
        """Send a response after the delay."""
        assert self._transport is not None
        asyncio.get_running_loop().call_later(self._delay, self._transport.sendto, data, addr)


class Back(asyncio.DatagramProtocol):
    """One query to the server."""

    def __init__(self, front: Front, query: bytes, asker: Address) -> None:
        self._front, self._query, self._asker = front, query, asker
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._transport.sendto(self._query)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        assert self._transport is not None
        self._front.answer(data, self._asker)
        self._transport.close()


async def serve(delay: float) -> None:
    """Serve until the process ends."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Front(delay), local_addr=LISTEN)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
