"""Replies to the client: written at once, and never more of them than it reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from gateway.model.reply import Reply
from gateway.service.listener.inflow import SessionOver

_UNREAD = 65_536
"""Octets of replies that a client may leave unread."""
_LINGER_SECONDS = 10.0
"""How long the last reply may take to leave."""


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

    def unmute(self) -> None:
        """TLS is up."""
        self._silent = False

    def write(self, reply: Reply) -> None:
        if not self.pipe.is_closing() and not self._silent:
            self.pipe.write(reply.wire())

    async def wait_until_read(self, drain: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Wait while the client leaves too much unread. Raises SessionOver when it goes on doing so."""
        if self.pipe.get_write_buffer_size() <= _UNREAD:
            return
        try:
            async with asyncio.timeout(seconds):
                await drain()
        except (TimeoutError, OSError):
            raise SessionOver(None, "does-not-read") from None

    def is_broken(self) -> bool:
        """What was written was answered by a reset, which nobody reads any more."""
        connection: socket.socket | None = self.pipe.get_extra_info("socket")
        return connection is not None and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

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
