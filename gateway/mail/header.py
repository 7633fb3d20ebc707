"""The header block as fields with their places in it (RFC 5322 section 2.2), in linear time and without repair.

A line ends in CRLF and nowhere else: a bare CR or LF is an octet like any other here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gateway.model.value import Value

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_NAME = re.compile(rb"[!-9;-~]+")
_STRUCTURED = frozenset(
    {
        *("received", "return-path", "received-spf", "delivered-to", "authentication-results"),
        *("dkim-signature", "domainkey-signature", "arc-seal", "arc-message-signature", "arc-authentication-results"),
        *("from", "sender", "reply-to", "to", "cc", "bcc", "date", "message-id", "in-reply-to", "references"),
        *("mime-version", "content-type", "content-transfer-encoding"),
    }
)
"""Fields with a grammar of their own (RFC 5322 section 3.6, RFC 2045): none of their lines is free text."""
_COPY = re.compile(rb"(?:\A|;)[ \t\r\n]*z[ \t\r\n]*=[^;]*")
"""The tag of a DKIM signature that copies fields of the header (RFC 6376 section 3.5)."""
_UNSEEN = re.compile(rb"[^!-~]+")
"""White space, control characters, and octets beyond ASCII, such as a byte order mark or a no-break space."""
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([BbQq])\?([^?]*)\?=")
_RUN = re.compile(rf"(?:{_WORD.pattern})+")
_BETWEEN = re.compile(r"(?<=\?=)[ \t\r\n]+(?==\?)")
"""White space between two encoded words is ignored (RFC 2047 section 6.2)."""
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_COSTLY = frozenset({"punycode", "idna"})
"""Codecs whose time grows faster than the text."""


class Field(Value):
    """One header field, or a line that is not a field."""

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


def find_fields(
    header: Sequence[Field], name: str, within: bool = False
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """Two results: the fields of that name, and the lines that are not fields but look like one to software that joins,
    trims or skips lines, each as the field that it resembles. `within` also examines lines that continue another
    field."""
    lower = name.lower()
    found = [field for field in header if field.lower == lower]
    junk = [field for field in header if not field.lower]
    hidden = _find_disguised(junk, name) if junk else []
    if within:
        folded = [field for field in header if b"\r" in field.value and field.lower in _STRUCTURED]
        hidden += _find_continued(folded, name) if folded else []
    return tuple(found), tuple(hidden)


def _find_disguised(junk: Sequence[Field], name: str) -> list[Field]:
    """Lines with the name broken before its colon, after a leading blank or invisible octets, or after a line that is
    not a field."""
    wanted = name.lower().encode("ascii")
    found = []
    for group in _join_adjacent(junk):
        octets = b"\r\n".join(field.value for field in group)
        for text in (octets, *octets.split(b"\r\n")):
            written, colon, value = text.partition(b":")
            if colon and _UNSEEN.sub(b"", written).lower() == wanted:
                found.append(Field(name, name.lower(), value, group[0].start, group[-1].end))
                break
    return found


def _find_continued(folded: Sequence[Field], name: str) -> list[Field]:
    """Lines that continue a structured field and become a field of that name with an address once their leading blanks
    are removed. Such a line was the first of a header; a field put above it made it a continuation.

    Free text, such as a Subject, may contain the same words. So may the fields that the tag z= of a DKIM signature
    copies.
    """
    line = _line_of(name)
    found = []
    for field in folded:
        value = _COPY.sub(b"", field.value) if field.lower == "dkim-signature" else field.value
        if mark := line.search(value):
            found.append(Field(name, name.lower(), mark[1], field.start, field.end))
    return found


@lru_cache(maxsize=16)
def _line_of(name: str) -> re.Pattern[bytes]:
    octets = name.encode("ascii")
    return re.compile(rb"\r\n[ \t]+%b[ \t]*:([^\r\n]*(?:@|=\?).*)" % octets, re.IGNORECASE | re.DOTALL)


def _join_adjacent(junk: Iterable[Field]) -> list[list[Field]]:
    groups: list[list[Field]] = []
    for field in junk:
        if groups and groups[-1][-1].end == field.start:
            groups[-1].append(field)
        else:
            groups.append([field])
    return groups


def fields(header: Iterable[Field], name: str) -> tuple[Field, ...]:
    """The fields of that name, top to bottom; `name` in any case."""
    wanted = name.lower()
    return tuple(field for field in header if field.lower == wanted)


def decode_words(text: str, around: str = "") -> str:
    """The text with its encoded words decoded, with `around` on both sides of each run of them. Never raises; the same
    text when there are none."""
    if "=?" not in text:
        return text
    return _RUN.sub(lambda run: f"{around}{_WORD.sub(_decode, run[0])}{around}", _BETWEEN.sub("", text))


def _decode(word: re.Match[str]) -> str:
    octets = word[3].encode("utf-8", "surrogateescape")
    if word[2] in "Bb":
        octets = _decode_base64(octets)
    else:
        octets = _HEX.sub(lambda found: bytes((int(found[1], 16),)), octets.replace(b"_", b" "))
    charset = word[1].partition("*")[0].lower()
    try:
        return octets.decode("latin-1" if charset in _COSTLY else charset, "replace")
    except (LookupError, ValueError):
        return octets.decode("latin-1")


def _decode_base64(octets: bytes) -> bytes:
    """As many octets as can be decoded: readers differ on broken padding, not on the text before it."""
    kept = _NOT_BASE64.sub(b"", octets.translate(_URL_SAFE))
    kept = kept[: len(kept) - (len(kept) % 4 == 1)]
    try:
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:
        return b""
