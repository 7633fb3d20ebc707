"""A listening socket and its sessions: opened, drained, closed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress

from gateway.model.event import Event
from gateway.model.reply import REPLIES, Reply
from gateway.ports import EventSink, Reception
from gateway.service.listener.acceptor import Acceptor, bind_socket
from gateway.service.listener.connection_limits import ConnectionLimits
from gateway.service.listener.listener_state import ListenerState
from gateway.service.listener.session import SmtpSession
from gateway.service.listener.settings import ListenerSettings

_CUT_SECONDS = 5.0
"""What running commits get to end when we close."""
_CANCEL_SECONDS = 1.0


class SmtpListener:
    """A listener that is served. Made by `serve`."""

    def __init__(self, state: ListenerState, acceptor: Acceptor) -> None:
        self._state = state
        self._acceptor = acceptor
        self.address = acceptor.address
        """Host and port, the real one where port 0 was asked for."""

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._state.sessions)

    def stop_accepting(self) -> None:
        """Close the listening socket. Open sessions go on."""
        self._acceptor.close()

    async def drain(self, seconds: float) -> bool:
        """Stop accepting, and let sessions end: each gets 421 4.3.2 as soon as it waits for its client outside a
        transaction.

        When `seconds` are over, whoever waits for its client is cut off with 421, also inside a transaction. A message
        that is complete is still answered. True when every session has ended.
        """
        self.stop_accepting()
        self._state.draining = True
        for session in self._state.sessions:
            session.retire(REPLIES["shutting-down"])
        await self._wait_for_sessions(seconds)
        self._cut(REPLIES["shutting-down"])
        return await self._wait_for_sessions(_CANCEL_SECONDS)

    async def close(self) -> None:
        """End everything, in `_CUT_SECONDS` and a little more, whatever clients and commits do."""
        self.stop_accepting()
        self._state.draining = True
        self._cut(REPLIES["shutting-down"])
        if not await self._wait_for_sessions(_CUT_SECONDS):
            for session in self._state.sessions:
                session.task.cancel()
            await self._wait_for_sessions(_CANCEL_SECONDS)
        await self._wait_for_connections()
        for session in self._state.connected:
            session.abort()
        await self._wait_for_connections()
        self._state.journal.close()

    def _cut(self, reply: Reply) -> None:
        for session in self._state.sessions:
            session.stop(reply)

    async def _wait_for_sessions(self, seconds: float) -> bool:
        tasks = [session.task for session in self._state.sessions]
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        return not pending

    async def _wait_for_connections(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._state.empty.wait()


def _ignore(event: Event) -> None:
    pass


async def serve(
    settings: ListenerSettings,
    reception: Reception,
    report: Callable[[BaseException], str],
    connections: ConnectionLimits | None = None,
    emit: EventSink = _ignore,
) -> SmtpListener:
    """Listen. `report` takes an exception of ours and returns the id that the client is told; `emit` takes what the
    listener refuses by itself.

    Listeners that are given the same census share its limits. Raises OSError when the address cannot be had, ValueError
    when the settings contradict themselves.
    """
    if settings.tls is not None and settings.tls.minimum_version is ssl.TLSVersion.MINIMUM_SUPPORTED:
        # Some builds of Python, Debian's among them, set no minimum of their own.
        settings.tls.minimum_version = ssl.TLSVersion.TLSv1_2
    settings.check()
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's own, with clients' commands in it
    connections = connections or ConnectionLimits(settings.limits)
    state = ListenerState(settings, reception, report, connections, emit)
    sock = settings.sock or bind_socket(settings.address)
    return SmtpListener(state, Acceptor(sock, lambda: SmtpSession(state), connections.is_fair, state.journal.alarm))
