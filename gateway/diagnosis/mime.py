"""A message as its MIME parts (RFC 2045, RFC 2046), read leniently: for reports and bounces, never for mail on its way.

Broken parts are read as text. Work is bounded; nothing raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping

from gateway.mail.header import Field, fields, parse_header, split_message, unfold
from gateway.mail.tokens import read_tokens
from gateway.model.value import Value

_MOST_DEPTH = 12
_MOST_PARTS = 200
_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_CHARSET = re.compile(
    r"(?:utf|iso|latin|windows|cp|koi8|gb|big5|euc|shift|us-?ascii|ascii|mac)[a-z0-9_:-]*", re.IGNORECASE
)
"""Names that are character sets, not other codecs of Python's."""

_ENCODED = re.compile(r"=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z-]*)?\?([BbQq])\?([^?\s]{0,1000})\?=")
_BETWEEN = re.compile(r"(\?=)\s+(?==\?)")


class MimePart(Value):
    """One part; a message is one too."""

    header: tuple[Field, ...]
    type: str
    """`text/plain` and the like, in lower case."""
    parameters: Mapping[str, str]
    """Of Content-Type, names in lower case."""
    body: bytes
    """As in the message, with its transfer encoding."""
    children: tuple[MimePart, ...]

    def walk(self) -> Iterator[MimePart]:
        """This part and all parts in it, except those of an attached message."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, *types: str) -> MimePart | None:
        """The first part of one of these types."""
        return next((part for part in self.walk() if part.type in types), None)

    def value(self, name: str) -> str:
        """A header field's value on one line; empty when it is missing."""
        found = fields(self.header, name)
        return unfold(found[0].value).encode("utf-8", "replace").decode() if found else ""

    def text_of(self, name: str) -> str:
        """A header field's value with its encoded words decoded (RFC 2047), for people; never for a judgement."""
        return _ENCODED.sub(_decode_word, _BETWEEN.sub(r"\1", self.value(name)))

    def octets(self) -> bytes:
        """The body without its transfer encoding."""
        encoding = self.value("content-transfer-encoding").strip().lower()
        if encoding == "base64":
            return _decode_base64(self.body)
        return binascii.a2b_qp(self.body) if encoding == "quoted-printable" else self.body

    def text(self) -> str:
        """The body as text; octets outside its character set are replaced."""
        charset = self.parameters.get("charset", "utf-8")
        try:
            return self.octets().decode(charset if _CHARSET.fullmatch(charset) else "latin-1", "replace")
        except (LookupError, ValueError):
            return self.octets().decode("latin-1")


def _decode_word(found: re.Match[str]) -> str:
    text = found[3].encode("ascii", "replace")
    octets = _decode_base64(text) if found[2] in "Bb" else binascii.a2b_qp(text, header=True)
    try:
        return octets.decode(found[1] if _CHARSET.fullmatch(found[1]) else "latin-1", "replace")
    except (LookupError, ValueError):
        return octets.decode("latin-1")


def read_mime(octets: bytes) -> MimePart:
    """A message as parts; lines end in CRLF."""
    return _read(octets, _MOST_DEPTH, iter(range(_MOST_PARTS)))


def _read(octets: bytes, depth: int, left: Iterator[int]) -> MimePart:
    """One part and those in it; `left` ends when the message's limit of parts is reached."""
    block, at = split_message(octets)
    header = parse_header(block)
    type, parameters = _content_type(header)
    body = octets[at:]
    boundary = parameters.get("boundary", "")
    children: tuple[MimePart, ...] = ()
    if type.startswith("multipart/") and boundary and depth:
        children = tuple(_read(piece, depth - 1, left) for piece in _split(body, boundary, left))
    return MimePart(header, type, parameters, body, children)


def _split(body: bytes, boundary: str, left: Iterator[int]) -> Iterator[bytes]:
    """The octets between delimiter lines (RFC 2046 section 5.1.1); an unclosed part ends at the end."""
    mark = re.escape(boundary.encode("utf-8", "surrogateescape"))
    start = None
    for found in re.finditer(rb"(?:\A|\r\n)--" + mark + rb"(--)?[ \t]*(?=\r\n|\Z)", body):
        if start is not None:
            yield body[start : found.start()]
        if found[1] or next(left, None) is None:
            return
        start = found.end() + 2
    if start is not None:
        yield body[start:]


def _content_type(header: tuple[Field, ...]) -> tuple[str, dict[str, str]]:
    found = fields(header, "content-type")
    if not found:
        return "text/plain", {}
    tokens = list(read_tokens(unfold(found[0].value[:8192])))
    parameters: dict[str, str] = {}
    for at, token in enumerate(tokens[1:-1], 1):
        if token.mark and token.text == "=" and not tokens[at - 1].mark:
            value = "" if tokens[at + 1].mark else tokens[at + 1].text
            for more in tokens[at + 2 :]:
                # A boundary may contain `=`, which must be quoted and often is not.
                if not more.glued or more.text == ";":
                    break
                value += more.text
            parameters.setdefault(tokens[at - 1].text.lower(), value)
    type = tokens[0].text.lower() if tokens and not tokens[0].mark else ""
    return type if "/" in type else "text/plain", parameters


def _decode_base64(body: bytes) -> bytes:
    clean = _BASE64.sub(b"", body)
    try:
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    except binascii.Error:
        return binascii.a2b_base64(clean[: len(clean) // 4 * 4])
