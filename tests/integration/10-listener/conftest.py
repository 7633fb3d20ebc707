"""Every dialogue is held twice: on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import trustme
import uvloop

from gateway.config.edge import Limits
from gateway.model.value import replace
from gateway.service.listener import ListenerSettings, SmtpListener, serve
from tests.support.listening import RecordedReception

Listen = Callable[..., Awaitable[SmtpListener]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def errors() -> list[BaseException]:
    """The reported exceptions. A test that expects none need not check them: `listen` does."""
    return []


@pytest.fixture
def expects_errors() -> list[bool]:
    return []


@pytest.fixture
async def listen(errors: list[BaseException], expects_errors: list[bool]) -> AsyncIterator[Listen]:
    """`await listen(reception, tls=..., limits={...}, ...)`: a listener on a free port of 127.0.0.1."""
    listeners: list[SmtpListener] = []

    def report(error: BaseException) -> str:
        errors.append(error)
        return f"event-{len(errors)}"

    async def start(reception: RecordedReception, **changes: Any) -> SmtpListener:
        connections = changes.pop("connections", None)
        emit = {"emit": changes.pop("emit")} if "emit" in changes else {}
        limits = Limits(**changes.pop("limits", {}))
        settings = ListenerSettings(name="mx", hostname="mx.gate.example", address="127.0.0.1:0", limits=limits)
        listener = await serve(replace(settings, **changes), reception, report, connections, **emit)
        listeners.append(listener)
        return listener

    yield start
    for listener in listeners:
        await listener.close()
        assert listener.sessions == 0
    if not expects_errors:
        assert errors == []


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
