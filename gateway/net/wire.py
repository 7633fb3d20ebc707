"""A message as DATA transmits it: prefix and content, without the dropped spans, dot-stuffed, checked against its
hash."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from gateway.model.delivery import Claim
from gateway.model.message import Message, Span
from gateway.model.reply import Reply
from gateway.net.outcomes import Unsendable
from gateway.ports import ContentAltered

_MOST_REPLY, _MOST_LINES, _MOST_LINE = 65_536, 1_000, 8_192
"""Octets and lines of one reply, and octets of one line (promise P7)."""
_MOST_UNREAD = 65_536
"""Octets of replies that may wait for us before reading stops."""
_HIGH_WATER = 256 * 1024
"""Octets that may wait in the transport before we wait for the host (promise P7)."""
_POLLS = 3
"""Rounds in which the loop reads its sockets between the end of a time-out and its effect."""
_LINE = re.compile(rb"([0-9]{3})(?:([ \t-])(.*))?", re.DOTALL)


class NotSmtp(Exception):
    """The octets are not an SMTP reply (RFC 5321 section 4.2), or no command had asked for one."""


class ReplyStream(asyncio.Protocol):
    """Takes over a transport. asyncio has switched Nagle's algorithm off on it already."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        """A line without its end so far."""
        self._lines: list[bytes] = []
        """Lines of a reply without its last line so far."""
        self._size = 0
        """Octets of that reply, and of empty lines before it."""
        self._replies: deque[tuple[int, str]] = deque()
        self._unread = 0
        """Octets of those."""
        self._expected = 0
        """Replies that are expected and have not arrived."""
        self._held_back = False
        """Reading is paused."""
        self._paused = False
        self._end: Exception | None = None
        """The reason why no more octets come."""
        self._waiter: asyncio.Future[None] | None = None
        transport.set_write_buffer_limits(_HIGH_WATER)
        transport.set_protocol(self)

    @property
    def connected(self) -> bool:
        return self._end is None and not self._transport.is_closing()

    @property
    def answered(self) -> bool:
        """A reply is ready, or none will ever come."""
        return bool(self._replies) or self._end is not None

    @property
    def replied(self) -> bool:
        """A reply is ready."""
        return bool(self._replies)

    def write(self, octets: bytes, replies: int = 0) -> None:
        """Queue octets that ask for so many replies. Raises ConnectionResetError when the connection is gone."""
        if not self.connected:
            raise ConnectionResetError
        self._expected += replies
        self._transport.write(octets)

    async def drain(self, seconds: float) -> None:
        """Wait until the host has taken enough of the written octets, or replies. Raises TimeoutError."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._paused and not self.answered:
            await self._change(deadline)

    async def read(self, seconds: float) -> tuple[int, str]:
        """Code and text of the next reply, lines separated by LF; an octet that is not UTF-8 becomes a lone surrogate.

        Raises NotSmtp, ConnectionResetError when the connection ends first, and TimeoutError.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._replies:
            if self._end is not None:
                raise self._end
            await self._change(deadline)
        return self.take()

    def take(self) -> tuple[int, str]:
        """The next reply, which must be ready."""
        code, text = self._replies.popleft()
        self._unread = self._unread - len(text) if self._replies else 0
        if self._held_back and self._unread < _MOST_UNREAD // 2 and self.connected:
            self._held_back = False
            self._transport.resume_reading()
        return code, text

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection: written but unsent octets are discarded."""
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
        """Take a line without its LF. An empty one is ignored: some hosts send it after a reply."""
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
        """The last line of a reply has arrived."""
        text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
        self._replies.append((code, text))
        self._expected -= 1
        self._unread += len(text)
        self._size = 0
        self._lines.clear()

    def _refuse(self) -> None:
        """Stop reading from a host that violates the protocol. The replies before that stay valid."""
        self._finish(NotSmtp())
        self._lines.clear()
        self._buffer.clear()
        self._transport.abort()

    def _finish(self, reason: Exception) -> None:
        self._end = self._end or reason
        self._wake()

    async def _change(self, deadline: float) -> None:
        """Wait until octets arrive, or there is room again. One waits at a time. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_at(deadline, self._expire, waiter, 0)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _expire(self, waiter: asyncio.Future[None], polls: int) -> None:
        """Time is over; octets already in the socket count as in time. After a stall, of us or of the machine, a timer
        fires before the loop has read its sockets."""
        if waiter.done():
            return
        if polls < _POLLS:
            asyncio.get_running_loop().call_soon(self._expire, waiter, polls + 1)
        else:
            waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


_CRLF = b"\r\n"


class ContentUnreadable(Exception):
    """The spool does not deliver the content: our fault, never the backend's."""


def wire_size(prefix: bytes, message: Message) -> int:
    """Octets of the message as RFC 1870 section 3 counts them: with CRLFs, without dot-stuffing and final dot."""
    return len(prefix) + message.content.size - sum(span.end - span.start for span in message.dropped)


class Cutter:
    """Leaves the dropped spans out of content that comes in chunks."""

    def __init__(self, dropped: Sequence[Span]) -> None:
        self._spans = deque(sorted(dropped, key=lambda span: span.start))
        self._offset = 0

    def cut(self, chunk: bytes) -> bytes:
        start, self._offset = self._offset, self._offset + len(chunk)
        if not self._spans or self._spans[0].start >= self._offset:
            return chunk
        kept = []
        at = start
        while self._spans and self._spans[0].start < self._offset:
            span = self._spans[0]
            kept.append(chunk[at - start : max(span.start, at) - start])
            at = max(at, min(span.end, self._offset))
            if span.end > self._offset:
                break
            self._spans.popleft()
        kept.append(chunk[at - start :])
        return b"".join(kept)


class Stuffer:
    """Doubles each dot that begins a line (RFC 5321 section 4.5.2), across chunk edges. Only CRLF ends a line."""

    def __init__(self) -> None:
        self._tail = _CRLF

    def stuff(self, chunk: bytes) -> bytes:
        joined = self._tail + chunk
        stuffed = joined.replace(b"\r\n.", b"\r\n..")[len(self._tail) :]
        self._tail = joined[-2:]
        return stuffed


def is_stuffed(claim: Claim) -> bool:
    """True when DATA would add dots to the message. Cutting could put a dot at the start of a line."""
    prefix, message = claim.transfer.prefix, claim.message
    return bool(message.content.leading_dot or message.dropped or prefix.startswith(b".") or b"\r\n." in prefix)


async def wire_form(
    claim: Claim, read: Callable[[], AsyncIterator[bytes]], chunks: bool = False
) -> AsyncGenerator[bytes, None]:
    """The octets between 354 and the final dot; for `chunks` (BDAT) the message unchanged.

    When the iterator ends without an exception, the octets read had the hash of the received ones. The sender keeps the
    last piece and the final dot back until then (promise P2). Raises ContentAltered, ContentUnreadable, Unsendable.
    """
    prefix, message = claim.transfer.prefix, claim.message
    cutter = Cutter(message.dropped)
    # Unstuffed content without a leading dot is its own wire form.
    stuffed = not chunks and is_stuffed(claim)
    stuffer = Stuffer()
    digest = hashlib.sha256()
    pending = prefix
    tail = prefix[-2:]
    source = read()
    try:
        async for chunk in source:
            digest.update(chunk)
            kept = cutter.cut(chunk)
            tail = (tail + kept[-2:])[-2:]
            piece = pending + kept
            pending = b""
            if piece:
                yield stuffer.stuff(piece) if stuffed else piece
    except ContentAltered:
        raise
    except Exception as error:
        raise ContentUnreadable(repr(error)) from error
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
    if digest.digest() != message.content.sha256:
        raise ContentAltered
    if pending:
        yield stuffer.stuff(pending) if stuffed else pending
    if not chunks and tail not in (b"", _CRLF):
        # The final dot would need a CRLF that was not received. Content received by DATA always has it.
        raise Unsendable(Reply(554, "6.1", "The message does not end in CRLF: DATA cannot carry it unaltered"))
