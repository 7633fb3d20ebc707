"""Replies to the client: written at once, and limited to the number that it reads."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from time import monotonic

from gateway.model.reply import Reply
from gateway.model.value import Value
from gateway.service.listener.inflow import SessionOver

_LOOKS = (0.05, 0.2, 0.75, 2.0)
"""Seconds between checks of a connection whose last reply is not yet acknowledged when the session ends."""

_SOON = 1.0
"""Seconds after which a reply without a further command is checked."""


class LineState(Enum):
    """TCP's state of the connection to the client."""

    OPEN = auto()
    ENDED = auto()
    """The client's host has closed its direction. It may still read."""
    CLOSED = auto()
    """Both directions are over, by a reset or by a time-out."""


class Line(Value):
    """The connection to the client at one instant."""

    state: LineState
    unacknowledged: int
    """Octets of ours that the client's host has not acknowledged."""
    round_trip: float = 0.0
    """The shortest round trip seen, in seconds."""


class ReplyTracker:
    """The replies of one session; `tell` is called once for each reply that was `sent`."""

    def __init__(self, tell: Callable[[bool], None], look: Callable[[], Line | None]) -> None:
        """`look` gives None when there is no connection."""
        self._tell = tell
        self._look = look
        self._open = False
        self._ended = False
        """The client had closed its direction before our reply went out."""
        self._ahead = False
        """The client had sent more than its message before our reply went out."""
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def sent(self, gone: bool, ahead: bool) -> None:
        """The reply goes out now. `gone`: there is no connection any more; `ahead`: commands wait to be read."""
        line = self._look()
        self._open, self._ahead, self._at = True, ahead, monotonic()
        if gone or line is None or line.state is LineState.CLOSED:
            self._conclude(False)
        else:
            self._ended = line.state is LineState.ENDED
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._look_again)

    def spoke(self) -> None:
        """The client has sent another command. A command sent ahead proves nothing."""
        if self._open and not (self._ahead and self._is_unacknowledged()):
            self._conclude(True)

    def next(self) -> None:
        """Another reply is about to be sent."""
        if self._open:
            self._conclude(not self._is_unacknowledged())

    def lost(self, error: Exception | None, ended: bool) -> None:
        """The connection is over. `ended`: the client had closed its direction by then."""
        if not self._open:
            return
        line = self._look()
        if line is None:
            self._conclude(error is None)
        elif not line.unacknowledged:
            self._conclude(True)
        else:
            # A reset removes an acknowledgement that was still to come. The reply had arrived if the reset came later
            # than the reply's way there and the reset's way back, unless the client had closed before.
            reset = isinstance(error, ConnectionError) and not (ended or self._ended)
            self._conclude(reset and monotonic() - self._at > line.round_trip)

    def _look_again(self) -> None:
        """A client that sends nothing more may have another attempt of the same message wait for the end of this
        one."""
        line = self._look()
        if line is not None and not line.unacknowledged:
            self._conclude(True)

    async def close(self) -> None:
        """The session ends: a reply acknowledged soon counts as heard."""
        for seconds in _LOOKS:
            line = self._look() if self._open else None
            if line is None or not line.unacknowledged or line.state is LineState.CLOSED:
                break
            await asyncio.sleep(seconds)
        self.next()

    def _is_unacknowledged(self) -> bool:
        line = self._look()
        return line is not None and line.unacknowledged > 0

    def _conclude(self, heard: bool) -> None:
        if self._open:
            self._open = False
            if self._timer is not None:
                self._timer.cancel()
            self._tell(heard)


_UNREAD = 32_768
"""Octets of replies that a client may leave unread."""
_LINGER_SECONDS = 10.0
"""Seconds for the last reply to leave."""
_TCP_INFO_OCTETS = 152
_ROUND_TRIP = slice(148, 152)
"""Position of `tcpi_min_rtt`, in microseconds, in Linux's `struct tcp_info`; its first octet is the state."""
_STATES = {7: LineState.CLOSED, 8: LineState.ENDED}
"""TCP_CLOSE and TCP_CLOSE_WAIT."""


class Outflow:
    """The connection to the client. Attached again when TLS replaces the transport."""

    def __init__(self, silent: bool) -> None:
        self._pipe: asyncio.Transport | None = None
        self._silent = silent
        """No reply is sent before TLS: a TLS client could not read it."""
        self._linger: asyncio.TimerHandle | None = None
        self._gone = False

    @property
    def pipe(self) -> asyncio.Transport:
        """The transport. It exists from a session's first moment."""
        assert self._pipe is not None
        return self._pipe

    def attach(self, pipe: asyncio.Transport) -> None:
        self._pipe = pipe

    @property
    def gone(self) -> bool:
        """The connection is closed."""
        return self._gone

    def unmute(self) -> None:
        """TLS is in place."""
        self._silent = False

    def write(self, reply: Reply, utf8: bool = False) -> None:
        """Send a reply. `utf8`: the client has asked for replies beyond ASCII (RFC 6531 section 3.7.4)."""
        if not self.pipe.is_closing() and not self._silent:
            self.pipe.write(reply.wire(utf8))

    async def wait_until_read(self, drain: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Wait while the client leaves too much unread. Raises SessionOver if it continues."""
        if self.pipe.get_write_buffer_size() <= _UNREAD:
            return
        try:
            async with asyncio.timeout(seconds):
                await drain()
        except (TimeoutError, OSError):
            raise SessionOver(None, "does-not-read") from None

    def look(self) -> Line | None:
        """TCP's view of the connection; None when there is none. Under TLS, octets not yet given to the socket count
        too."""
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
        """Close the connection when the written octets have left; the wait for a TLS client's close is short."""
        if not self._gone:
            self._linger = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.pipe.abort)
        self.pipe.close()

    def end(self) -> None:
        """The connection is closed: nothing of it is kept."""
        self._gone = True
        if self._linger is not None:
            self._linger.cancel()
