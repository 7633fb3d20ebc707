"""The admin's HTTP port: silent connections hold few descriptors, and never keep a request out."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from gateway.admin import api
from gateway.admin.api import make_application, serve_http
from gateway.service.listener import bind_socket


async def count() -> dict[str, int]:
    return {}


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
