"""A message as it goes over the wire of DATA: prefix and content, without the dropped spans, dot-stuffed, proven."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from gateway.model.delivery import Claim
from gateway.model.message import Message, Span
from gateway.model.reply import Reply
from gateway.net.outcomes import Unsendable
from gateway.ports import ContentAltered

_CRLF = b"\r\n"


class ContentUnreadable(Exception):
    """The spool does not give the content: our fault, never the backend's."""


def wire_size(prefix: bytes, message: Message) -> int:
    """Octets of the message as RFC 1870 section 3 counts them: CRLFs included, dot-stuffing and final dot not."""
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
    """On its way by DATA the message gets dots that it does not have. Cutting could put one at the start of a line."""
    prefix, message = claim.transfer.prefix, claim.message
    return bool(message.content.leading_dot or message.dropped or prefix.startswith(b".") or b"\r\n." in prefix)


async def wire_form(
    claim: Claim, read: Callable[[], AsyncIterator[bytes]], chunks: bool = False
) -> AsyncGenerator[bytes, None]:
    """The octets between 354 and the final dot; for `chunks` (BDAT) the message as it is.

    When the iterator ends without an exception, the octets read had the hash of those received. Whoever sends keeps the
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
        # The final dot would need a CRLF that was not received. Content that came by DATA always has it.
        raise Unsendable(Reply(554, "6.1", "The message does not end in CRLF: DATA cannot carry it unaltered"))
