"""Connections are taken one at a time, by the worker whose turn it is."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from gateway.app.serving import raise_descriptors
from gateway.config.edge import Limits
from gateway.model.event import Event, Level
from gateway.service.listener import ConnectionLimits, bind_socket
from gateway.service.listener.listener_state import Journal
from gateway.service.listener.server import Acceptor
from gateway.service.tally import SharedCounts


class Worker:
    """A listener that only counts its connections."""

    def __init__(self, sock: socket.socket, counts: SharedCounts, number: int) -> None:
        self.connections = ConnectionLimits(Limits(), counts.tally(number))
        self.taken = 0
        self.told: list[OSError] = []
        self.acceptor = Acceptor(sock.dup(), self._make, self.connections.is_fair, self.told.append)

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


async def test_descriptors_that_run_out_are_told() -> None:
    events: list[Event] = []
    journal = Journal(events.append, "mx")
    for _ in range(5):
        journal.alarm(OSError(errno.EMFILE, "Too many open files"))
    [event] = events
    assert (event.name, event.level) == ("no-connection-taken", Level.ALARM)
    assert dict(event.fields)["error"] == "Too many open files"


class Exhausted:
    """A listening socket of a process that has no descriptor left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def accept(self) -> None:
        raise OSError(errno.EMFILE, "Too many open files")


async def test_an_acceptor_tells_that_the_system_gives_nothing() -> None:
    told: list[OSError] = []
    bound = bind_socket("127.0.0.1:0")
    acceptor = Acceptor(Exhausted(bound), asyncio.Protocol, lambda: True, told.append)  # type: ignore[arg-type]
    _, writer = await asyncio.open_connection(*bound.getsockname())
    await asyncio.sleep(0.05)
    assert [error.errno for error in told] == [errno.EMFILE]
    acceptor.close()
    writer.close()


@pytest.mark.parametrize(("hard", "short"), [(100_000, False), (2000, True)])
def test_the_limit_is_raised_and_checked(monkeypatch: pytest.MonkeyPatch, hard: int, short: bool) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: given.append(limits))
    config = SimpleNamespace(limits=Limits(), backend={})
    event = raise_descriptors(config)  # type: ignore[arg-type]
    assert given == [(hard, hard)]
    assert (event is not None) is short


@pytest.mark.parametrize(
    ("address", "beside", "both"),
    [
        ("[::]:{}", ["[::]:{}", "0.0.0.0:9"], True),
        ("[::]:{}", ["127.0.0.1:{}"], False),
        ("[::1]:{}", [], False),
    ],
)
def test_the_address_of_all_takes_ipv4_too(address: str, beside: list[str], both: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with bind_socket(address.format(port), [one.format(port) for one in beside]):
        with socket.create_connection(("::1", port), 5):
            pass
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            assert not both
        else:
            assert both
