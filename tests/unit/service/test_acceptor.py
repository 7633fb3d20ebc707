"""Connections are taken one at a time, by the worker whose turn it is."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from gateway.config.edge import Limits
from gateway.service.listener import ConnectionLimits, bind_socket
from gateway.service.listener.acceptor import Acceptor
from gateway.service.tally import SharedCounts


class Worker:
    """A listener that only counts whom it took."""

    def __init__(self, sock: socket.socket, counts: SharedCounts, number: int) -> None:
        self.connections = ConnectionLimits(Limits(), counts.tally(number))
        self.taken = 0
        self.acceptor = Acceptor(sock.dup(), self._make, self.connections.is_fair)

    def _make(self) -> asyncio.Protocol:
        self.taken += 1
        self.connections.arrive()
        return asyncio.Protocol()


async def until(done: object) -> None:
    async with asyncio.timeout(5):
        while not done():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_burst_is_spread_over_the_workers() -> None:
    sock, counts = bind_socket("127.0.0.1:0"), SharedCounts(2)
    workers = [Worker(sock, counts, number) for number in range(2)]
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(workers[0].acceptor.address))
        await until(lambda: sum(worker.taken for worker in workers) == 20)
    assert [worker.taken for worker in workers] == [10, 10]
    for worker in workers:
        worker.acceptor.close()
    sock.close()


async def test_nobody_waits_for_a_worker_that_is_stuck() -> None:
    """Another worker has fewer connections and takes none."""
    sock, counts = bind_socket("127.0.0.1:0"), SharedCounts(2)
    ConnectionLimits(Limits(), counts.tally(1))
    worker = Worker(sock, counts, 0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(worker.acceptor.address))
        await until(lambda: worker.taken == 5)
    worker.acceptor.close()
    sock.close()


async def test_after_close_nothing_is_taken() -> None:
    sock = bind_socket("127.0.0.1:0")
    worker = Worker(sock, SharedCounts(), 0)
    worker.acceptor.close()
    worker.acceptor.close()
    with socket.create_connection(sock.getsockname()[:2]):
        await asyncio.sleep(0.03)
    assert worker.taken == 0
    sock.close()


def test_address_in_use_is_named() -> None:
    sock = bind_socket("127.0.0.1:0")
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(OSError, match=f"cannot listen on {address}"):
        bind_socket(address)
    sock.close()
