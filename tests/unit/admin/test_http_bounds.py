"""The admin's HTTP port: silent connections hold few descriptors, and never keep a request out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from gateway.admin import api
from gateway.admin.api import make_application, render_backlogs, serve_http
from gateway.model.delivery import Backlog
from gateway.service.listener import bind_socket


async def count() -> Sequence[Backlog]:
    return ()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_silent_connections_make_room() -> None:
    application = make_application(CollectorRegistry(), lambda: True, count)
    async with serve_http(application, bind_socket("127.0.0.1:0")) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        async with asyncio.timeout(10):
            assert (await ask(port)).startswith(b"HTTP/1.1 200")
        ended = 0
        for reader, _ in silent:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.01):
                    await reader.read(1)
            ended += reader.at_eof() or reader.exception() is not None
        assert ended >= 300 - 64
        for _, writer in silent:
            writer.close()


async def test_a_silent_connection_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_REQUEST_SECONDS", 0.1)
    application = make_application(CollectorRegistry(), lambda: True, count)
    async with serve_http(application, bind_socket("127.0.0.1:0")) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


def test_what_waits_is_shown_with_its_oldest_and_what_is_held() -> None:
    text = render_backlogs([Backlog("b", 2, 0, 1000.0), Backlog("a", 0, 3, None)], 1060.4)
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples == [
        'waypost_queue_transfers{backend="b"} 2',
        'waypost_queue_held_transfers{backend="a"} 3',
        'waypost_queue_oldest_seconds{backend="b"} 60',
    ]
    assert text.count("# TYPE ") == 3
