"""Undoing a change of transfer encoding or charset (RFC 2045 section 6), by encoding again as the common encoders do.

Each function is the inverse of one catalogue entry: a message's anatomy in, variants out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gateway.diagnosis.autopsy.anatomy import Anatomy, Part
from gateway.diagnosis.autopsy.edits import Edit
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice

_USUAL_WIDTHS = (76, 72, 75, 74, 73, 78, 71, 70, 64, 60)
WIDTHS = (*_USUAL_WIDTHS, *(width for width in range(100, 39, -1) if width not in _USUAL_WIDTHS))
"""Octets of an encoder's lines, the usual lengths first; RFC 2045 section 6.7 allows 76."""
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})|=[ \t]*\r\n")
_UNSAFE = re.compile(rb"[^\x20-\x3c\x3e-\x7e\t\r\n]|=")
_LINE_END_SPACE = re.compile(rb"[ \t](?=\r\n|\Z)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\r\n]+\Z")
_AUTOCONVERTED = "x-mime-autoconverted"
_CHARSETS = ("utf-8", "iso-8859-1", "windows-1252", "iso-8859-15")
_CHARSET_VALUE = re.compile(rb'(charset[ \t]*=[ \t]*"?)([A-Za-z0-9_.:-]+)', re.IGNORECASE)
_STARTS = (b"", b".", b"F", b".F")
"""Octets that some encoders quote at the start of a line, so that `.` and `From ` are not stuffed."""
_AFTER_EQUALS = re.compile(rb"(?<==)--([^\r\n]{1,200})")
_GLUED = b"=\r\n"
_LARGEST = 32_000_000


def decode_quoted(octets: bytes) -> bytes:
    """Quoted-printable decoded, soft line breaks removed; any other text stays."""
    return _HEX.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"", octets)


def quote(octets: bytes, width: int, also: bytes = b"") -> bytes:
    """Quoted-printable (RFC 2045 section 6.7) in lines of at most `width`; `also` are octets that are quoted at the
    start of a line."""
    escaped = _UNSAFE.sub(lambda found: b"=%02X" % found[0][0], octets)
    escaped = _LINE_END_SPACE.sub(lambda found: b"=%02X" % found[0][0], escaped)
    lines = escaped.split(b"\r\n")
    if also:
        lines = [b"=%02X" % line[0] + line[1:] if line and line[0] in also else line for line in lines]
    return b"\r\n".join(break_softly(line, width) for line in lines)


def break_softly(line: bytes, width: int, at_words: bool = False) -> bytes:
    """A quoted-printable line cut by soft breaks, never within `=XX`; `at_words`: after the last space that fits."""
    pieces = []
    at = 0
    while len(line) - at > width:
        cut = at + width - 1
        for back in (1, 2):
            if line[cut - back : cut - back + 1] == b"=":
                cut -= back
                break
        space = line.rfind(b" ", at, cut) + 1 if at_words else 0
        cut = space if space > at else cut
        pieces.append(line[at:cut] + b"=")
        at = cut
    return b"\r\n".join([*pieces, line[at:]])


def _within(anatomy: Anatomy, part: Part) -> bytes:
    return anatomy.message[part.body : part.end]


def _rename(part: Part, encoding: bytes) -> list[Edit]:
    """Content-Transfer-Encoding with its earlier value."""
    field = part.find("content-transfer-encoding")
    if field is None:
        return []
    start = part.start + field.end - len(field.value) - 2
    return [Edit(start, start + len(field.value), b" " + encoding)]


def _notes(anatomy: Anatomy, part: Part) -> list[Edit]:
    """The fields that note the conversion, removed."""
    owners = {owner.start: owner for owner in (anatomy.whole, part)}
    return [
        Edit(owner.start + field.start, owner.start + field.end)
        for owner in owners.values()
        for field in owner.fields
        if field.lower == _AUTOCONVERTED
    ]


def quoted_to_eight_bit(anatomy: Anatomy) -> Iterator[Variant]:
    """B12: quoted-printable back to 8bit (a relay converts because of RFC 6152 section 3)."""
    found = [part for part in _leaves(anatomy) if part.encoding == "quoted-printable"]
    yield from _convert(anatomy, found, [(0.0, decode_quoted)], b"8bit")


def eight_bit_to_quoted(anatomy: Anatomy) -> Iterator[Variant]:
    """B13: 8bit back to quoted-printable, in the form of the usual encoders."""
    found = [part for part in _leaves(anatomy) if part.encoding in ("8bit", "7bit", "binary")]
    if not any(not _within(anatomy, part).isascii() for part in found) and not _notes(anatomy, anatomy.whole):
        return
    ways = [
        (0.03 * number + 0.1 * len(also), partial(quote, width=width, also=also))
        for number, width in enumerate(WIDTHS)
        for also in (_STARTS if width in _USUAL_WIDTHS else _STARTS[:1])
    ]
    yield from _convert(anatomy, found, ways, b"quoted-printable")


def _convert(
    anatomy: Anatomy, parts: Sequence[Part], ways: Sequence[tuple[float, Callable[[bytes], bytes]]], encoding: bytes
) -> Iterator[Variant]:
    """All parts together, then each alone, in each way."""
    sets = [parts] if len(parts) > 1 else []
    for chosen in [*sets, *([part] for part in parts)]:
        notes = sorted({edit for part in chosen for edit in _notes(anatomy, part)})
        for cost, way in ways:
            edits = [Edit(part.body, part.end, way(_within(anatomy, part))) for part in chosen]
            names = [edit for part in chosen for edit in _rename(part, encoding)]
            extra = 0.0 if notes else 1.0
            yield Variant((*notes, *names, *edits), VariantChoice.ALL, cost + extra + 0.1 * (len(chosen) < len(parts)))


def _leaves(anatomy: Anatomy) -> list[Part]:
    return [
        part
        for part in anatomy.parts
        if not part.type.startswith(("multipart/", "message/")) and part.end - part.body < _LARGEST
    ]


def base64_to_text(anatomy: Anatomy) -> Iterator[Variant]:
    """B25: base64 back to quoted-printable, or to the text itself."""
    found = [(part, _plain(anatomy, part)) for part in _leaves(anatomy) if part.encoding == "base64"]
    texts = [(part, text) for part, text in found if part.type.startswith("text/") and text is not None]
    ways: list[tuple[float, bytes, Callable[[bytes], bytes]]] = [(0.0, b"7bit", bytes), (0.05, b"8bit", bytes)]
    ways += [
        (0.1 + 0.03 * number, b"quoted-printable", partial(quote, width=width)) for number, width in enumerate(WIDTHS)
    ]
    for chosen in [texts, *([one] for one in texts if len(texts) > 1)]:
        for cost, name, way in ways:
            names = [edit for part, _ in chosen for edit in _rename(part, name)]
            edits = [Edit(part.body, part.end, way(text)) for part, text in chosen]
            if edits:
                yield Variant((*names, *edits), VariantChoice.ALL, cost)


def _plain(anatomy: Anatomy, part: Part) -> bytes | None:
    """The content of base64, with CRLF line ends; None for a part that is not base64."""
    try:
        text = base64.b64decode(b"".join(_within(anatomy, part).split()), validate=True)
    except binascii.Error:
        return None
    return text if b"\r\n" in text else text.replace(b"\n", b"\r\n")


def rewrap_base64(anatomy: Anatomy) -> Iterator[Variant]:
    """B14: base64 in lines of another length, or in one line."""
    found = []
    for part in _leaves(anatomy):
        octets = _within(anatomy, part)
        if part.encoding == "base64" and _BASE64.fullmatch(octets):
            found.append((part, octets.rstrip(b"\r\n")))
    for number, width in enumerate((76, 72, 64, 60, 78, 70, 80, 0)):
        edits = []
        for part, octets in found:
            text = octets.replace(b"\r\n", b"")
            size = width or max(1, len(text))
            lines = b"\r\n".join(text[at : at + size] for at in range(0, len(text), size))
            if lines != octets:
                edits.append(Edit(part.body, part.body + len(octets), lines))
        yield Variant(tuple(edits), cost=0.1 * number)


def rewrap_quoted(anatomy: Anatomy) -> Iterator[Variant]:
    """B15: quoted-printable with soft line breaks in other places."""
    found = [(part, _within(anatomy, part)) for part in _leaves(anatomy) if part.encoding == "quoted-printable"]
    for number, width in enumerate(WIDTHS):
        for at_words in (False, True):
            edits = []
            for part, octets in found:
                joined = re.sub(rb"=[ \t]*\r\n", b"", octets)
                lines = b"\r\n".join(break_softly(line, width, at_words) for line in joined.split(b"\r\n"))
                if lines != octets:
                    edits.append(Edit(part.body, part.end, lines))
            yield Variant(tuple(edits), cost=0.03 * number + 0.01 * at_words)
    yield Variant(tuple(Edit(at, at, _GLUED) for at in _glued(anatomy)), cost=0.5)


def _glued(anatomy: Anatomy) -> Iterator[int]:
    """Places where an `=` and the line break after it were taken for a soft one: with a delimiter after it on its line,
    or with base64 whose padding is one short."""
    boundaries = {part.boundary for part in (anatomy.whole, *anatomy.parts)} - {b""}
    for match in _AFTER_EQUALS.finditer(anatomy.message, anatomy.body):
        if match[1] in boundaries or match[1].removesuffix(b"--") in boundaries:
            yield match.start()
    for part in _leaves(anatomy):
        octets = _within(anatomy, part).rstrip(b"\r\n")
        last = octets.rpartition(b"\n")[2]
        if part.encoding == "base64" and last.endswith(b"=") and len(last) % 4 == 3:
            yield part.body + len(octets)


def restore_charset(anatomy: Anatomy) -> Iterator[Variant]:
    """B23: text back in its earlier charset, with its name in Content-Type."""
    for part in anatomy.texts:
        quoted = part.encoding == "quoted-printable"
        octets = decode_quoted(_within(anatomy, part)) if quoted else _within(anatomy, part)
        field = part.find("content-type")
        if octets.isascii() or part.charset not in _CHARSETS or field is None:
            continue
        for number, charset in enumerate(_CHARSETS):
            try:
                other = octets.decode(part.charset).encode(charset)
            except UnicodeError:
                continue
            name = _CHARSET_VALUE.search(anatomy.message, part.start + field.start, part.start + field.end)
            if other == octets or name is None:
                continue
            for order, width in enumerate(_USUAL_WIDTHS if quoted else (0,)):
                text = quote(other, width) if quoted else other
                for spelling, written in enumerate((charset, charset.upper())):
                    edits = (Edit(*name.span(2), written.encode()), Edit(part.body, part.end, text))
                    yield Variant(edits, VariantChoice.ALL, 0.1 * number + 0.03 * order + 0.05 * spelling)
