"""Takes a message's octets as they arrive: it scans, hashes and keeps them, in memory or on disk, without a copy."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence

from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.mail.authres import is_unreadable
from gateway.mail.header import Field, fields, parse_header, split_message
from gateway.mail.octets import LoneDotScanner, OctetScanner
from gateway.mail.received import count_passes
from gateway.model.envelope import IPText
from gateway.model.message import Content, Evidence, Message, Route
from gateway.ports import ContentWriter, IntakeStore
from gateway.service.inquiry import Inquiry

IN_MEMORY = 1_048_576
"""Octets up to which a message is kept in memory and inside its row; larger ones go to a file as they arrive."""

_LONGEST_LINE = 131_072
"""Octets of a header line, its CRLF not counted."""
_TOO_LONG = re.compile(rb"^[^\n]{%d}" % (_LONGEST_LINE + 2), re.MULTILINE)
"""Anchored, so that it is tried once for each line: otherwise the time would grow with the square of its length."""
MOST_HEADER_FIELDS = 10_000
"""With more fields, reading the header alone would delay other sessions."""


class Collector:
    """One message on its way in. Feed `take`, then either `finish` or `discard`."""

    def __init__(
        self,
        spool: IntakeStore,
        header_limit: int,
        digests: Collection[tuple[str, int | None]] = (),
        carry: bool = False,
    ) -> None:
        """`digests` are wanted of the body in addition to those for its signatures; `carry`: check also whether bare
        newlines can be carried."""
        self._spool = spool
        self._digests = frozenset(digests)
        self._header_limit = header_limit
        self._scanner = OctetScanner()
        self._hash = hashlib.sha256()
        self._head = bytearray()
        self._hasher: BodyHasher | None = None
        self._lone_dots = LoneDotScanner() if carry else None
        self._header = b""
        self._kept = bytearray()
        self._writer: ContentWriter | None = None
        self.header: tuple[Field, ...] = ()
        """The header, parsed, once its end has arrived."""
        self.header_too_big = False

    @property
    def bare_newline(self) -> bool:
        """A bare CR, a bare LF or a NUL has arrived."""
        return self._scanner.bare_newline

    @property
    def can_be_carried(self) -> bool:
        """Bare newlines are in the body only, and none of them could make a lone dot look like the end of data. False
        if this was not checked."""
        if self._lone_dots is None or self._hasher is None:
            return False
        header = OctetScanner()
        header.update(self._header)
        return not header.bare_newline and not self._lone_dots.found

    @property
    def size(self) -> int:
        return self._scanner.size

    async def take(self, chunk: bytes) -> None:
        """The next octets, unstuffed. Waits while the disk is far behind."""
        self._scanner.update(chunk)
        self._hash.update(chunk)
        if self._hasher is not None:
            self._take_body(chunk, self._hasher)
        elif not self.header_too_big:
            self._scan_header(chunk)
        self._keep(chunk)
        if self._writer is not None:
            await self._writer.drain()

    def _scan_header(self, chunk: bytes) -> None:
        """Search for the blank line; from there on the body is hashed as it arrives."""
        start = max(0, len(self._head) - 3)
        self._head += chunk
        if self._head.startswith(b"\r\n") or self._head.find(b"\r\n\r\n", start) >= 0:
            self._open_body()
        elif len(self._head) > self._header_limit:
            self.header_too_big = True
            self._head.clear()

    def _open_body(self) -> None:
        octets = bytes(self._head)
        self._head.clear()
        self._header, offset = split_message(octets)
        if len(self._header) > self._header_limit or _is_excessive(self._header):
            self._header = b""
            self.header_too_big = True
            return
        self.header = parse_header(self._header)
        self._hasher = BodyHasher(wanted_digests(self.header) | self._digests)
        self._take_body(octets[offset:], self._hasher)

    def _take_body(self, octets: bytes, hasher: BodyHasher) -> None:
        hasher.update(octets)
        if self._lone_dots is not None:
            self._lone_dots.update(octets)

    def _keep(self, chunk: bytes) -> None:
        if self._writer is not None:
            self._writer.write(chunk)
            return
        # One buffer, not a list: a client that sends single octets must not cost an object for each.
        self._kept += chunk
        if self._scanner.size > IN_MEMORY:
            self._writer = self._spool.open_content()
            self._writer.write(bytes(self._kept))
            self._kept.clear()

    async def finish(self) -> Message:
        """The whole message; a large one is on stable storage when this returns."""
        if self._hasher is None and not self.header_too_big:
            self._open_body()
        digests = self._hasher.digests() if self._hasher is not None else ()
        data, path = None, ""
        if self._writer is not None:
            path = await self._writer.finish()
        else:
            data = bytes(self._kept)
        content = Content(
            size=self._scanner.size,
            sha256=self._hash.digest(),
            leading_dot=self._scanner.leading_dot,
            eight_bit=self._scanner.eight_bit,
            data=data,
            path=path,
            chunks_only=self._scanner.bare_newline or not self._scanner.ends_line,
        )
        return Message(content, Evidence(self._header, digests, content.size))

    def keep(self) -> None:
        """The message was committed: its file stays."""
        self._writer = None

    def discard(self) -> None:
        """The message will not be kept. Does nothing after `keep`."""
        self._kept.clear()
        if self._writer is not None:
            self._writer.discard()
            self._writer = None


def _is_excessive(header: bytes) -> bool:
    """The header has a longer line, or more fields (lines that continue none), than is read."""
    if len(header) > _LONGEST_LINE and _TOO_LONG.search(header):
        return True
    return header.count(b"\n") - header.count(b"\n ") - header.count(b"\n\t") > MOST_HEADER_FIELDS


MOST_HOPS = 50
"""Received fields beyond which a message is treated as looping (RFC 5321 section 6.3)."""
MOST_PASSES = 4
"""Number of earlier passes through this host that a message may have."""


def find_fault(collector: Collector, hostname: str) -> str | None:
    """The fault that the content shows by itself; None when there is none."""
    header = collector.header
    if collector.bare_newline and not collector.can_be_carried:
        return "bare-newline"
    if collector.header_too_big:
        return "header-too-big"
    if header and header[0].start == 0 and not header[0].lower and header[0].value[:1] in (b" ", b"\t"):
        # It would continue the last field that we put above it (RFC 5322 section 2.2.3).
        return "malformed-header"
    if is_unreadable(header):
        return "malformed-header"
    if len(fields(header, "received")) > MOST_HOPS or count_passes(header, hostname) > MOST_PASSES:
        return "mail-loop"
    return None


async def find_obstacle(collector: Collector, routes: Sequence[Route], inquiry: Inquiry, client: IPText) -> str | None:
    """The reason why the content cannot be delivered: bare newlines require BDAT, which each backend must be known to
    offer."""
    for route in routes if collector.bare_newline else ():
        takes_chunks = await inquiry.takes_chunks(route, client)
        if not takes_chunks:
            return "chunking-unknown" if takes_chunks is None else "bare-newline"
    return None
