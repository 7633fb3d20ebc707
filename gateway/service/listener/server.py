"""A listening socket and its sessions: opened, drained, closed."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress

from gateway.model.event import Event
from gateway.model.reply import REPLIES, Reply
from gateway.ports import EventSink, Reception
from gateway.service.listener.connection_limits import ConnectionLimits
from gateway.service.listener.listener_state import ListenerSettings, ListenerState
from gateway.service.listener.session import SmtpSession

BACKLOG = 1024
_SHY_SECONDS = 0.01
"""Seconds for which a worker with more than its share leaves connections to the others."""
_MOST_AT_ONCE = 16
"""Connections that it then takes, if they still wait: the other workers may be blocked."""
_SEND_OCTETS = 65_536
"""Octets of replies that the system keeps for a client that does not read. This limits the work that such a client
gets."""
_FULL_SECONDS = 1.0
"""Seconds of pause after the system has refused a descriptor or memory."""


def bind_socket(address: str, beside: Collection[str] = ()) -> socket.socket:
    """A socket that listens on `host:port` or `[::1]:25`. Raises OSError, which names the address.

    `[::]:25` takes IPv4 too, unless `beside` contains an IPv4 address with that port.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bound.family == socket.AF_INET6:
            taken = any(not other.startswith("[") and other.rpartition(":")[2] == port for other in beside)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::" or taken))
        bound.bind((host, int(port)))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    bound.setblocking(False)
    return bound


class Acceptor:
    """Serves a listening socket until `close`."""

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], asyncio.Protocol],
        is_fair: Callable[[], bool],
        tell: Callable[[OSError], None],
    ) -> None:
        """`make` gives the protocol of a new connection; `is_fair` tells whether this worker should take it; `tell`
        gets the error when the system gives no connection."""
        sock.setblocking(False)
        sock.listen(BACKLOG)
        name = sock.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        """Host and port; the actual port if port 0 was requested."""
        self._sock = sock
        self._make = make
        self._is_fair = is_fair
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._take_one)

    def close(self) -> None:
        """Accept no more connections. Open ones go on."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        if self._later is not None:
            self._later.cancel()
        self._sock.close()

    def _take_one(self) -> None:
        if self._is_fair():
            self._accept()
        else:
            self._rest(_SHY_SECONDS, self._take_some)

    def _take_some(self) -> None:
        self._loop.add_reader(self._sock, self._take_one)
        for _ in range(_MOST_AT_ONCE):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """True when there was a connection."""
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            self._tell(error)
            self._rest(_FULL_SECONDS, self._take_some)
            return False
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_OCTETS)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()  # already gone

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._sock)
        self._later = self._loop.call_later(seconds, then)


_CUT_SECONDS = 5.0
"""Seconds for running commits to end on closing."""
_CANCEL_SECONDS = 1.0


class SmtpListener:
    """A running listener. Made by `serve`."""

    def __init__(self, state: ListenerState, acceptor: Acceptor) -> None:
        self._state = state
        self._acceptor = acceptor
        self.address = acceptor.address
        """Host and port; the actual port if port 0 was requested."""

    @property
    def sessions(self) -> int:
        """Number of open sessions."""
        return len(self._state.sessions)

    def stop_accepting(self) -> None:
        """Close the listening socket. Open sessions go on."""
        self._acceptor.close()

    async def drain(self, seconds: float) -> bool:
        """Stop accepting, and let sessions end: each gets 421 4.3.2 as soon as it waits for its client outside a
        transaction.

        After `seconds`, every session that waits for its client is cut off with 421, even inside a transaction. A
        complete message is still answered. True when every session has ended.
        """
        self.stop_accepting()
        self._state.draining = True
        for session in self._state.sessions:
            session.retire(REPLIES["shutting-down"])
        await self._wait_for_sessions(seconds)
        self._cut(REPLIES["shutting-down"])
        return await self._wait_for_sessions(_CANCEL_SECONDS)

    async def close(self) -> None:
        """End everything, within little more than `_CUT_SECONDS`, regardless of clients and commits."""
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
    """Listen. `report` takes an exception of ours and returns its id for the client; `emit` takes the listener's own
    refusals.

    Listeners with the same connection limits object share the limits. Raises OSError when the address is unavailable,
    ValueError when the settings contradict each other.
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
