"""The structure of a message: its header, the delimiters between its parts, and the parts (RFC 2046 section 5.1).

A scanner, not a MIME parser: it finds places, decodes nothing, and accepts every octet string. Never raises.
"""

from __future__ import annotations

import re
from functools import cached_property

from gateway.authentication.dkim import read_signatures
from gateway.authentication.signature import Signature
from gateway.mail.header import Field, parse_header, split_message
from gateway.model.value import Value

_DASHES = re.compile(rb"(?<![^\n])--[^\r\n]*(?:\r\n|\Z)")
_BOUNDARY = re.compile(rb';[ \t\r\n]*boundary[ \t\r\n]*=[ \t\r\n]*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_PARAMETER = rb';[ \t\r\n]*%s[ \t\r\n]*=[ \t\r\n]*"?([A-Za-z0-9_.:-]+)'
_CHARSET = re.compile(_PARAMETER % rb"charset", re.IGNORECASE)
_FORMAT = re.compile(_PARAMETER % rb"format", re.IGNORECASE)
_MOST_PARTS = 500
_LONGEST_HEADER = 65_536
"""Octets of a part within which its blank line is searched for."""
_DEEPEST = 50


class Delimiter(Value):
    """A line that separates parts; [start, end) with its CRLF."""

    start: int
    end: int
    boundary: bytes
    depth: int
    """0 for the outermost multipart."""
    closes: bool


class Part(Value):
    """A leaf or a multipart: its header [start, body), its content [body, end)."""

    start: int
    body: int
    """After the blank line."""
    end: int
    """Before the CRLF that belongs to the following delimiter, when there is one."""
    fields: tuple[Field, ...]
    """With offsets from `start`."""
    depth: int
    """-1 for the message itself."""

    def find(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.lower == name), None)

    @property
    def type(self) -> str:
        """The media type in lower case; `text/plain` when it names none (RFC 2045 section 5.2)."""
        field = self.find("content-type")
        text = field.value.partition(b";")[0].strip().lower() if field else b""
        return text.decode("ascii", "replace") or "text/plain"

    @property
    def encoding(self) -> str:
        """Content-Transfer-Encoding in lower case; `7bit` when absent (RFC 2045 section 6.1)."""
        field = self.find("content-transfer-encoding")
        return field.value.strip().lower().decode("ascii", "replace") if field else "7bit"

    @property
    def charset(self) -> str:
        return self._parameter(_CHARSET)

    @property
    def flowed(self) -> bool:
        """format=flowed (RFC 3676): white space at line ends has a meaning."""
        return self._parameter(_FORMAT) == "flowed"

    @property
    def boundary(self) -> bytes:
        """The boundary of a multipart; empty when there is none."""
        field = self.find("content-type") if self.type.startswith("multipart/") else None
        found = _BOUNDARY.search(field.value) if field else None
        return (found[1] or found[2]).rstrip(b" \t") if found else b""

    def _parameter(self, pattern: re.Pattern[bytes]) -> str:
        field = self.find("content-type")
        found = pattern.search(field.value) if field else None
        return found[1].decode("ascii").lower() if found else ""


class Anatomy:
    """The whole structure of one message. Costly parts are computed once, on demand."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.block, self.body = split_message(message)
        """The header block, and the start of the body."""

    @cached_property
    def header(self) -> tuple[Field, ...]:
        return parse_header(self.block)

    @cached_property
    def whole(self) -> Part:
        """The message itself as a part."""
        return Part(0, self.body, len(self.message), self.header, -1)

    @cached_property
    def signatures(self) -> tuple[Signature, ...]:
        """The DKIM signatures, top to bottom, as far as they are readable."""
        return tuple(read_signatures(self.header))

    @cached_property
    def signed(self) -> tuple[Field, ...]:
        """The fields that some signature covers, top to bottom."""
        names = {name for signature in self.signatures for name in signature.names}
        return tuple(field for field in self.header if field.lower in names)

    @property
    def delimiters(self) -> tuple[Delimiter, ...]:
        """Every delimiter line, top to bottom."""
        return self._scanned[0]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part, top to bottom; a message that is not a multipart is its own only part."""
        return self._scanned[1]

    @cached_property
    def texts(self) -> tuple[Part, ...]:
        """The parts with readable text: no multipart, no attachment, no base64."""
        return tuple(
            part
            for part in self.parts
            if part.type in ("text/plain", "text/html") and part.encoding != "base64" and not _is_attached(part)
        )

    @cached_property
    def _scanned(self) -> tuple[tuple[Delimiter, ...], tuple[Part, ...]]:
        boundary = self.whole.boundary
        if not boundary:
            return (), (self.whole,)
        return self._scan(boundary)

    def _scan(self, boundary: bytes) -> tuple[tuple[Delimiter, ...], tuple[Part, ...]]:
        open_boundaries = [boundary]
        delimiters: list[Delimiter] = []
        starts: list[tuple[int, int]] = []
        """The starts of parts, each with its delimiter's number."""
        for line in _DASHES.finditer(self.message, self.body):
            text = line[0].rstrip(b" \t\r\n")[2:]
            depth, closes = _match(text, open_boundaries)
            if depth < 0:
                continue
            delimiters.append(Delimiter(line.start(), line.end(), open_boundaries[depth], depth, closes))
            del open_boundaries[depth + (not closes) :]
            if not closes:
                starts.append((line.end(), len(delimiters) - 1))
                inner = self._inner_boundary(line.end(), depth)
                if inner and depth < _DEEPEST:
                    open_boundaries.append(inner)
            if not open_boundaries or len(delimiters) > _MOST_PARTS:
                break
        parts = tuple(self._make_part(start, delimiters, at) for start, at in starts)
        return tuple(delimiters), parts or (self.whole,)

    def _inner_boundary(self, start: int, depth: int) -> bytes:
        """The boundary that opens within the part at `start`, or within a message in that part."""
        part = self._read_part(start, len(self.message), depth)
        if part.type == "message/rfc822":
            part = self._read_part(part.body, len(self.message), depth)
        return part.boundary

    def _make_part(self, start: int, delimiters: list[Delimiter], at: int) -> Part:
        """The part ends at the next delimiter of its own depth or above."""
        depth = delimiters[at].depth
        after = next((one for one in delimiters[at + 1 :] if one.depth <= depth), None)
        end = max(start, after.start - 2) if after else len(self.message)
        return self._read_part(start, end, depth)

    def _read_part(self, start: int, end: int, depth: int) -> Part:
        if self.message.startswith(b"\r\n", start):
            return Part(start, min(start + 2, end), end, (), depth)
        limit = min(end, start + _LONGEST_HEADER)
        blank = self.message.find(b"\r\n\r\n", start, limit)
        if blank < 0:
            return Part(start, end, end, parse_header(self.message[start:limit]), depth)
        return Part(start, blank + 4, end, parse_header(self.message[start : blank + 2]), depth)


def _match(text: bytes, open_boundaries: list[bytes]) -> tuple[int, bool]:
    """Depth of the boundary that the text after a line's dashes names, innermost first, and whether it closes; -1 for
    none."""
    for depth in range(len(open_boundaries) - 1, -1, -1):
        boundary = open_boundaries[depth]
        if text == boundary:
            return depth, False
        if text == boundary + b"--":
            return depth, True
    return -1, False


def _is_attached(part: Part) -> bool:
    field = part.find("content-disposition")
    return field is not None and field.value.strip().lower().startswith(b"attachment")
