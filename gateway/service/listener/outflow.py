"""Replies to the client: written at once, and never more of them than it reads."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Awaitable, Callable

from gateway.model.reply import Reply
from gateway.service.listener.inflow import SessionOver
from gateway.service.listener.reply_tracker import Line, LineState

_UNREAD = 32_768
"""Octets of replies that a client may leave unread."""
_LINGER_SECONDS = 10.0
"""How long the last reply may take to leave."""
_TCP_INFO_OCTETS = 152
_ROUND_TRIP = slice(148, 152)
"""Where Linux's `struct tcp_info` has `tcpi_min_rtt`, in microseconds; its first octet is the state."""
_STATES = {7: LineState.CLOSED, 8: LineState.ENDED}
"""TCP_CLOSE and TCP_CLOSE_WAIT."""


class Outflow:
    """The way to the client. Attached anew when TLS replaces the transport."""

    def __init__(self, silent: bool) -> None:
        self._pipe: asyncio.Transport | None = None
        self._silent = silent
        """Nothing is said before TLS is up: a TLS client could not read it."""
        self._linger: asyncio.TimerHandle | None = None
        self._gone = False

    @property
    def pipe(self) -> asyncio.Transport:
        """The transport. There is one from the first moment of a session on."""
        assert self._pipe is not None
        return self._pipe

    def attach(self, pipe: asyncio.Transport) -> None:
        self._pipe = pipe

    @property
    def gone(self) -> bool:
        """The connection is no more."""
        return self._gone

    def unmute(self) -> None:
        """TLS is up."""
        self._silent = False

    def write(self, reply: Reply, utf8: bool = False) -> None:
        """Send a reply. `utf8`: the client has asked for replies beyond ASCII (RFC 6531 section 3.7.4)."""
        if not self.pipe.is_closing() and not self._silent:
            self.pipe.write(reply.wire(utf8))

    async def wait_until_read(self, drain: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Wait while the client leaves too much unread. Raises SessionOver when it goes on doing so."""
        if self.pipe.get_write_buffer_size() <= _UNREAD:
            return
        try:
            async with asyncio.timeout(seconds):
                await drain()
        except (TimeoutError, OSError):
            raise SessionOver(None, "does-not-read") from None

    def look(self) -> Line | None:
        """What TCP says of the connection; None when there is none any more. Under TLS, the octets that were not given
        to the socket yet count too."""
        connection: socket.socket | None = self.pipe.get_extra_info("socket")
        if connection is None:
            return None
        try:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_OCTETS)
            queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return None
        state = _STATES.get(told[0], LineState.OPEN)
        unacknowledged = int.from_bytes(queued, sys.byteorder) + self.pipe.get_write_buffer_size()
        round_trip = int.from_bytes(told[_ROUND_TRIP], sys.byteorder) / 1_000_000
        return Line(state, unacknowledged, round_trip)

    def close(self) -> None:
        """Close the connection when what was written has left; a TLS client's goodbye is not waited for long."""
        if not self._gone:
            self._linger = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.pipe.abort)
        self.pipe.close()

    def end(self) -> None:
        """The connection is no more: nothing of it is kept for later."""
        self._gone = True
        if self._linger is not None:
            self._linger.cancel()
