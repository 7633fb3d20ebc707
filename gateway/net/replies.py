"""An open connection to a host: octets out, replies in, in the order in which they come.

aiosmtplib drops a reply that comes while none is awaited. Commands that are sent together (RFC 2920) need every one, so
this takes the transport over once the library has opened the session.

A host may be hostile: what it says is bounded, and a reply that nothing was asked for ends the connection.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque

_MOST_REPLY, _MOST_LINES, _MOST_LINE = 65_536, 1_000, 8_192
"""Octets and lines of one reply, and octets of one line (promise P7)."""
_MOST_UNREAD = 65_536
"""Octets of replies that wait for us before no more is read."""
_HIGH_WATER = 256 * 1024
"""Octets that may wait in the transport before we wait for the host (promise P7)."""
_POLLS = 3
"""How often the loop looks at its sockets between the end of a time-out and its effect."""
_LINE = re.compile(rb"([0-9]{3})(?:([ \t-])(.*))?", re.DOTALL)


class NotSmtp(Exception):
    """What came is no SMTP reply (RFC 5321 section 4.2), or nothing had asked for it."""


class ReplyStream(asyncio.Protocol):
    """Takes over a transport. asyncio has switched Nagle's algorithm off on it already."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        """A line whose end has not come."""
        self._lines: list[bytes] = []
        """Lines of a reply whose last one has not come."""
        self._size = 0
        """Octets of that reply, and of empty lines before it."""
        self._replies: deque[tuple[int, str]] = deque()
        self._unread = 0
        """Octets of those."""
        self._expected = 0
        """Replies that have been asked for and have not come."""
        self._held_back = False
        """Nothing more is read for now."""
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

    @property
    def replied(self) -> bool:
        """A reply is there to be read."""
        return bool(self._replies)

    def write(self, octets: bytes, replies: int = 0) -> None:
        """Queue octets that ask for so many replies. Raises ConnectionResetError when the connection is gone."""
        if not self.connected:
            raise ConnectionResetError
        self._expected += replies
        self._transport.write(octets)

    async def drain(self, seconds: float) -> None:
        """Wait until the host has taken enough of what was written, or says something. Raises TimeoutError."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._paused and not self.answered:
            await self._change(deadline)

    async def read(self, seconds: float) -> tuple[int, str]:
        """Code and text of the next reply, lines separated by LF; an octet that is no UTF-8 becomes a lone surrogate.

        Raises NotSmtp, ConnectionResetError when the connection ends first, and TimeoutError.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._replies:
            if self._end is not None:
                raise self._end
            await self._change(deadline)
        return self.take()

    def take(self) -> tuple[int, str]:
        """The next reply, which is there."""
        code, text = self._replies.popleft()
        self._unread = self._unread - len(text) if self._replies else 0
        if self._held_back and self._unread < _MOST_UNREAD // 2 and self.connected:
            self._held_back = False
            self._transport.resume_reading()
        return code, text

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection: what was written and not yet sent is discarded."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        start = 0
        while self._end is None and (end := data.find(b"\n", start)) >= 0:
            self._buffer += data[start:end]
            self._take_line(bytes(self._buffer))
            self._buffer.clear()
            start = end + 1
        if self._end is None:
            self._buffer += data[start:]
            if len(self._buffer) > _MOST_LINE:
                self._refuse()
        if self._unread > _MOST_UNREAD and not self._held_back and self.connected:
            self._held_back = True
            self._transport.pause_reading()
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

    def _take_line(self, line: bytes) -> None:
        """A line without its LF. An empty one means nothing: some hosts send it behind a reply."""
        line = line.rstrip(b"\r")
        self._size += len(line) + 2
        found = _LINE.fullmatch(line)
        wanted = self._expected if found is not None else not line.strip(b" \t")
        if not wanted or self._size > _MOST_REPLY or len(line) > _MOST_LINE:
            self._refuse()
        elif found is not None:
            self._lines.append((found[3] or b"").strip(b" \t\r"))
            if found[2] != b"-":
                self._conclude(int(found[1]))
            elif len(self._lines) >= _MOST_LINES:
                self._refuse()

    def _conclude(self, code: int) -> None:
        """The last line of a reply has come."""
        text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
        self._replies.append((code, text))
        self._expected -= 1
        self._unread += len(text)
        self._size = 0
        self._lines.clear()

    def _refuse(self) -> None:
        """No more is read of a host that says what it must not say. The replies before that stand."""
        self._finish(NotSmtp())
        self._lines.clear()
        self._buffer.clear()
        self._transport.abort()

    def _finish(self, reason: Exception) -> None:
        self._end = self._end or reason
        self._wake()

    async def _change(self, deadline: float) -> None:
        """Wait until something has come, or there is room again. One waits at a time. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_at(deadline, self._expire, waiter, 0)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _expire(self, waiter: asyncio.Future[None], polls: int) -> None:
        """Time is over: what is in the socket by then has come in time. After a stall, of us or of the machine, a timer
        is due before the loop has looked at its sockets."""
        if waiter.done():
            return
        if polls < _POLLS:
            asyncio.get_running_loop().call_soon(self._expire, waiter, polls + 1)
        else:
            waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
