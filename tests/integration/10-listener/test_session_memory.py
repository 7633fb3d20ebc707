"""A session's memory is free when the session ends, also under TLS: nothing waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from contextlib import suppress

import pytest
import trustme
import uvloop

from gateway.model.reply import Reply
from gateway.ports import Connection, Conversation
from gateway.service.listener import ListenerSettings, serve
from gateway.service.listener.arrival import HealthCheck
from gateway.service.listener.listener_state import ListenerState
from gateway.service.listener.session import SmtpSession

MADE: list[weakref.ref[SmtpSession]] = []


class Greets:
    """Takes no mail."""

    async def connect(self, connection: Connection) -> Conversation | Reply:
        return HealthCheck()


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SmtpSession.__init__

    def begin(self: SmtpSession, state: ListenerState) -> None:
        original(self, state)
        MADE.append(weakref.ref(self))

    MADE.clear()
    monkeypatch.setattr(SmtpSession, "__init__", begin)


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.gate.example").configure_cert(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def run_sessions(tls: bool, flood: bool) -> tuple[int, list[str]]:
    """Number of sessions left without a collection, and the loop's complaints."""
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(str(context)))
    settings = ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0", tls=tls_context())
    listener = await serve(settings, Greets(), lambda error: repr(error))
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            reader, writer = await asyncio.open_connection(*listener.address)
            await reader.readline()
            if tls:
                writer.write(b"STARTTLS\r\n")
                await reader.readline()
                await writer.start_tls(client)
            writer.write(b"EHLO client.example\r\n" * (1500 if flood else 1))
            await reader.readline()
            writer.transport.abort() if flood else writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
        async with asyncio.timeout(10):
            while any(one() for one in MADE):  # noqa: ASYNC110 no event tells that memory is free
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    finally:
        left = sum(one() is not None for one in MADE)
        gc.enable()
        await listener.close()
    return left, said


@pytest.mark.parametrize("flood", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_a_session_that_is_over_leaves_nothing(tls: bool, flood: bool) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run_sessions(tls, flood)) == (0, [])
    assert len(MADE) == 10
