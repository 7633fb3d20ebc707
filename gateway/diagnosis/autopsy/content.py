"""Undoing additions to text: banners, footers, tags in HTML, rewritten links.

Each function is the inverse of one catalogue entry: a message's anatomy in, variants out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from gateway.diagnosis.autopsy.anatomy import Anatomy, Part
from gateway.diagnosis.autopsy.edits import Edit
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice

_META = re.compile(
    rb'<meta[ \t\r\n]+(?:http-equiv=3?D?"?Content-Type"?|charset=|content=3?D?"text/html;)[^<>]{0,200}>', re.IGNORECASE
)
_HEAD = re.compile(rb"(?:<html[^<>]{0,200}>[ \t\r\n]{0,8})?<head>[ \t\r\n]{0,8}\Z", re.IGNORECASE)
_RULE = re.compile(rb"^(?:_{5,}|-{5,}|={5,}|\*{5,}|-- ?(?=\r\n))[^\r\n]*\r\n", re.MULTILINE)
_WARNING = re.compile(
    rb"\A[^\r\n]{0,40}\b(?:external|caution|warning|outside|attention|achtung|extern)\b[^\r\n]{0,400}\r\n",
    re.IGNORECASE,
)
_HTML_BLOCK = re.compile(rb"<(div|table|p)\b", re.IGNORECASE)
_HTML_WARNING = re.compile(rb"\b(?:external|caution|outside|extern)\b", re.IGNORECASE)
_BLANK_LINES = re.compile(rb"(?:[ \t]*\r\n){0,3}")
_SAFE_LINK = re.compile(
    rb"https://[a-z0-9-]{1,20}\.safelinks\.protection\.outlook\.com/\?url=([^&\s\"'<>]{1,2000}+)"
    rb"&[^\s\"'<>]{0,2000}?reserved=0",
    re.IGNORECASE,
)
_DEFENSE_2 = re.compile(rb"https://urldefense\.proofpoint\.com/v2/url\?u=([^&\s\"'<>]{1,2000}+)&[^\s\"'<>]{0,2000}")
_DEFENSE_3 = re.compile(
    rb"https://urldefense\.(?:com|us)/v3/__(?>([^\s\"'<>]{1,2000}?)__;)[^\s\"'<>!]{0,500}!![^\s\"'<>$]{0,500}\$?"
)
_BASE64_LINES = re.compile(
    rb"(?:[A-Za-z0-9+/]{20,}={0,2}(?:\r\n|\Z))*"
    rb"(?:(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)\r\n)?"
)
_MOST_BLOCKS = 20
_LONGEST_BLOCK = 4000


def delete_meta(anatomy: Anatomy) -> Iterator[Variant]:
    """B05: a <meta> element that names the charset, in front of the HTML or in a new <head>."""
    found = [
        (match.start(), match.end(), part)
        for part in anatomy.texts
        if part.type == "text/html"
        for match in _META.finditer(anatomy.message, part.body, part.end)
    ]
    yield Variant(tuple(Edit(start, end) for start, end, _ in found))
    own_line = [(_line_break(anatomy.message, start), end, part) for start, end, part in found]
    if own_line != found:
        yield Variant(tuple(Edit(start, end) for start, end, _ in own_line), cost=0.1)
    after = [(start, _skip(anatomy.message, end, b"\r\n"), part) for start, end, part in found]
    if after != found:
        yield Variant(tuple(Edit(start, end) for start, end, _ in after), cost=0.2)
    whole = [(_head_start(anatomy.message, start, part), end, part) for start, end, part in after]
    if whole != after:
        closed = [(start, _skip(anatomy.message, end, b"</head>"), part) for start, end, part in whole]
        yield Variant(tuple(Edit(start, end) for start, end, _ in closed), cost=0.3)


def _line_break(octets: bytes, at: int) -> int:
    """The start of the line break and blanks before a place."""
    while octets[at - 1 : at] in (b" ", b"\t"):
        at -= 1
    return at - 2 if octets[at - 2 : at] == b"\r\n" else at


def _skip(octets: bytes, at: int, what: bytes) -> int:
    return at + len(what) if octets[at : at + len(what)].lower() == what else at


def _head_start(octets: bytes, start: int, part: Part) -> int:
    begin = max(part.body, start - 300)
    found = _HEAD.search(octets[begin:start])
    return begin + found.start() if found else start


def delete_footer(anatomy: Anatomy) -> Iterator[Variant]:
    """B09: text after the last line of dashes or underscores, after the end of an encoded text, or below the last
    delimiter."""
    yield from _after_encoded(anatomy)
    last = anatomy.delimiters[-1] if anatomy.delimiters else None
    if last is not None and last.closes and not last.depth and anatomy.message[last.end :].strip():
        yield Variant((Edit(last.end, len(anatomy.message)),), VariantChoice.ALL, 0.1)
    for part in anatomy.texts:
        if part.type != "text/plain":
            continue
        rules = [match.start() for match in _RULE.finditer(anatomy.message, part.body, part.end)][-4:]
        for number, start in enumerate(reversed(rules)):
            for blanks in range(3):
                begin = start - 2 * blanks
                if anatomy.message[begin:start] == b"\r\n" * blanks and begin >= part.body:
                    yield Variant((Edit(begin, part.end),), VariantChoice.ALL, 0.2 * number + 0.2 * blanks)


def _after_encoded(anatomy: Anatomy) -> Iterator[Variant]:
    """Plain text appended to base64."""
    for part in anatomy.parts:
        if part.encoding != "base64" or not part.type.startswith("text/"):
            continue
        encoded = _BASE64_LINES.match(anatomy.message, part.body, part.end)
        if encoded and encoded.end() > part.body and anatomy.message[encoded.end() : part.end].strip():
            yield Variant((Edit(encoded.end(), part.end),), VariantChoice.ALL, 0.1)
            if anatomy.message.endswith(b"\r\n", part.body, encoded.end()):
                yield Variant((Edit(encoded.end() - 2, part.end),), VariantChoice.ALL, 0.2)


def delete_banner(anatomy: Anatomy) -> Iterator[Variant]:
    """B11: a warning about outside senders, the first lines of a text or the first block of an HTML part."""
    whole: list[Edit] = []
    for part in anatomy.texts:
        span = _find_line(anatomy, part) if part.type == "text/plain" else _find_block(anatomy, part)
        if span is None:
            continue
        start, end = span
        blank = _BLANK_LINES.match(anatomy.message, end, part.end)
        ends = [blank.end() if blank else end, end]
        whole.append(Edit(start, ends[0]))
        for number, stop in enumerate(dict.fromkeys(ends)):
            yield Variant((Edit(start, stop),), VariantChoice.ALL, 0.1 + 0.2 * number)
    if len(whole) > 1:
        yield Variant(tuple(whole), VariantChoice.ALL)


def _find_line(anatomy: Anatomy, part: Part) -> tuple[int, int] | None:
    found = _WARNING.match(anatomy.message[part.body : part.body + 1000])
    return (part.body, part.body + found.end()) if found else None


def _find_block(anatomy: Anatomy, part: Part) -> tuple[int, int] | None:
    """The first element near the top that contains such a warning and no element of its own kind."""
    octets = anatomy.message
    for opening in itertools.islice(_HTML_BLOCK.finditer(octets, part.body, part.end), _MOST_BLOCKS):
        closing = b"</" + opening[1].lower() + b">"
        block = octets[opening.start() : min(part.end, opening.start() + _LONGEST_BLOCK)].lower()
        size = block.find(closing) + len(closing)
        alone = size > len(closing) and block.count(b"<" + opening[1].lower(), 0, size) == 1
        if alone and _HTML_WARNING.search(block, 0, size):
            return opening.start(), opening.start() + size
    return None


def restore_links(anatomy: Anatomy) -> Iterator[Variant]:
    """B21: links that lead through a scanner, each replaced by the link in it."""
    edits = []
    for part in anatomy.texts:
        for pattern, decode in ((_SAFE_LINK, _decode_safe), (_DEFENSE_2, _decode_second), (_DEFENSE_3, _decode_third)):
            found = pattern.finditer(anatomy.message, part.body, part.end)
            edits += [Edit(match.start(), match.end(), decode(match[1])) for match in found]
    yield Variant(tuple(sorted(edits)))
    if any(b"&" in edit.octets for edit in edits):
        yield Variant(tuple(Edit(e.start, e.end, e.octets.replace(b"&", b"&amp;")) for e in sorted(edits)), cost=0.3)


def _decode_safe(link: bytes) -> bytes:
    return unquote_to_bytes(link)


def _decode_second(link: bytes) -> bytes:
    return unquote_to_bytes(link.replace(b"-", b"%").replace(b"_", b"/"))


def _decode_third(link: bytes) -> bytes:
    """Without `*`, which stands for characters that are listed elsewhere in the link."""
    return re.sub(rb"^(https?:/)(?!/)", rb"\1/", link)
