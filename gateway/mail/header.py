"""The header block as fields with their places in it (RFC 5322 section 2.2), in linear time and without repair.

A line ends in CRLF and nowhere else: a bare CR or LF is an octet like any other here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.model.value import Value

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_NAME = re.compile(rb"[!-9;-~]+")


class Field(Value):
    """One header field, or a line that is none."""

    name: str
    """As written, without the white space that obsolete syntax puts before the colon (RFC 5322 section 4.5)."""
    lower: str
    """`name` in lower case; empty for a leading continuation line and for a line without a valid name and colon."""
    value: bytes
    """The octets after the colon, folding kept, without the final CRLF; the whole line when `lower` is empty."""
    start: int
    end: int
    """Octets [start, end) of the block, final CRLF included."""


def parse_header(block: bytes) -> tuple[Field, ...]:
    """All fields, top to bottom, each octet of the block in exactly one of them. Never raises."""
    found = []
    start = 0
    size = len(block)
    while start < size:
        mark = _FIELD_END.search(block, start)
        stop, end = mark.span() if mark else (size, size)
        colon = block.find(b":", start, stop)
        name = block[start:colon].rstrip(b" \t") if colon > start else b""
        if _NAME.fullmatch(name):
            text = name.decode("ascii")
            found.append(Field(text, text.lower(), block[colon + 1 : stop], start, end))
        else:
            found.append(Field("", "", block[start:stop], start, end))
        start = end
    return tuple(found)


def split_message(octets: bytes) -> tuple[bytes, int]:
    """The header block, final CRLF included and blank line not, and the offset of the body.

    A message may start with the blank line (no header), or have none at all (then all of it is header).
    """
    if octets.startswith(b"\r\n"):
        return b"", 2
    blank = octets.find(b"\r\n\r\n")
    if blank < 0:
        return octets, len(octets)
    return octets[: blank + 2], blank + 4


def unfold(value: bytes) -> str:
    """A field's value on one line (RFC 5322 section 2.2.3) without white space at its ends.

    UTF-8 is decoded (RFC 6532); other octets above 127 become lone surrogates, so nothing is lost and nothing raises.
    """
    return value.replace(b"\r\n", b"").decode("utf-8", "surrogateescape").strip(" \t")


def fields(header: Iterable[Field], name: str) -> tuple[Field, ...]:
    """The fields of that name, top to bottom; `name` in any case."""
    wanted = name.lower()
    return tuple(field for field in header if field.lower == wanted)
