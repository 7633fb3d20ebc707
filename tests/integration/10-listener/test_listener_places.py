"""A connection's place is free when the connection is gone, not already when its session ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from gateway.service.listener import SmtpListener
from gateway.service.listener.encryption import start_tls
from tests.support.listening import Client, RecordedReception

Listen = Callable[..., Awaitable[SmtpListener]]


async def test_a_tls_client_that_never_says_goodbye_keeps_its_place(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """QUIT under TLS, and the socket stays open: it must count until it is closed."""
    listener = await listen(RecordedReception(), tls=server_tls, limits={"connections": 2})
    idle = []
    for _ in range(2):
        client = await Client.connect(listener.address)
        await client.starttls(client_tls)
        await client.send(b"EHLO c.example\r\n")
        await client.read_reply()
        # Nothing more is read: the server's close_notify stays unanswered.
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"QUIT\r\n")
        idle.append(client)
    await asyncio.sleep(0.2)
    third = await Client.connect(listener.address, greeted=False)
    assert await third.reply() == 421
    await third.close()
    for client in idle:
        client.writer.transport.abort()
        client.writer.close()
    await asyncio.sleep(0.2)
    fourth = await Client.connect(listener.address)
    await fourth.close()


async def test_no_handshake_is_begun_with_a_client_that_does_not_read() -> None:
    """The upgrade would wait for it without end."""

    class Full(asyncio.Transport):
        def get_write_buffer_size(self) -> int:
            return 65_536

        def is_closing(self) -> bool:
            return True

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(start_tls(Full(), ssl.create_default_context(), lambda: b"", lambda step: None), 2)
