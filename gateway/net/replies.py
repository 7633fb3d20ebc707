"""An open connection to a host: octets out, replies in, in the order in which they come.

aiosmtplib drops a reply that comes while none is awaited. Commands that are sent together (RFC 2920) need every one, so
this takes the transport over once the library has opened the session.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque

_MOST_REPLY = 65_536
"""Octets of one reply."""
_HIGH_WATER = 256 * 1024
"""Octets that may wait in the transport before we wait for the host (promise P7)."""
_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?", re.DOTALL)


class NotSmtp(Exception):
    """What came is no SMTP reply (RFC 5321 section 4.2)."""


class ReplyStream(asyncio.Protocol):
    """Takes over a transport. asyncio has switched Nagle's algorithm off on it already."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        """Lines of a reply whose last one has not come."""
        self._replies: deque[tuple[int, str]] = deque()
        self._paused = False
        self._end: Exception | None = None
        """Why nothing more comes."""
        self._waiter: asyncio.Future[None] | None = None
        transport.set_write_buffer_limits(_HIGH_WATER)
        transport.set_protocol(self)

    @property
    def connected(self) -> bool:
        return self._end is None and not self._transport.is_closing()

    @property
    def answered(self) -> bool:
        """A reply is there to be read, or none will ever come."""
        return bool(self._replies) or self._end is not None

    def write(self, octets: bytes) -> None:
        """Queue octets. Raises ConnectionResetError when the connection is gone."""
        if not self.connected:
            raise ConnectionResetError
        self._transport.write(octets)

    async def drain(self) -> None:
        """Wait until the host has taken enough of what was written, or says something."""
        while self._paused and not self.answered:
            await self._change()

    async def read(self) -> tuple[int, str]:
        """Code and text of the next reply, lines separated by LF; an octet that is no UTF-8 becomes a lone surrogate.

        Raises NotSmtp, and ConnectionResetError when the connection ends first.
        """
        while not self._replies:
            if self._end is not None:
                raise self._end
            await self._change()
        return self._replies.popleft()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection: what was written and not yet sent is discarded."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._end is None:
            self._buffer += data
            self._parse()
        self._wake()

    def eof_received(self) -> bool:
        self._finish(ConnectionResetError())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc if isinstance(exc, OSError) else ConnectionResetError())

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _parse(self) -> None:
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            found = _LINE.fullmatch(line.rstrip(b"\r"))
            if found is None:
                self._finish(NotSmtp())
                return
            self._lines.append((found[3] or b"").strip(b" \t\r"))
            if found[2] != b"-":
                text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
                self._replies.append((int(found[1]), text))
                self._lines.clear()
        if len(self._buffer) + sum(map(len, self._lines)) > _MOST_REPLY:
            self._finish(NotSmtp())

    def _finish(self, reason: Exception) -> None:
        self._end = self._end or reason
        self._wake()

    async def _change(self) -> None:
        """Wait until something has come, or there is room again. One waits at a time."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
