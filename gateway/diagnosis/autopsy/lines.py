"""Undoing changes to single lines of a body: wrapped, stuffed, stripped (RFC 5321 section 4.5, RFC 5322 section 2.1.1).

Each function is the inverse of one catalogue entry: a message's anatomy in, variants out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from gateway.diagnosis.autopsy.anatomy import Anatomy, Part
from gateway.diagnosis.autopsy.edits import Edit
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice

_WRAPPED = re.compile(rb"(?<![^\n])([^\r\n]{900,1010}?)(!?)\r\n(?=[ \t]?[^\r\n])")
_STUFFED = re.compile(rb"(?<![^\n])>+From ")
_DOUBLED = re.compile(rb"(?<![^\n])\.\.")
_DOTTED = re.compile(rb"(?<![^\n])\.")
_LINE = re.compile(rb"(?<![^\n])(?=[^\r\n])")
_BARE_END = re.compile(rb"(?<=[^ \t\r\n])\r\n(?=[^\r\n])")
_SIGNATURE = re.compile(rb"(?<![^\n])--(?=\r\n)")
_SPACE = re.compile(rb"(?<=[^ \t\r\n]) (?=[^ \t\r\n])")
_SENTENCE_END = re.compile(rb"(?<=[.!?:]) (?=[^ \t\r\n])")
_MOST_LINES = 2000


def join_wrapped(anatomy: Anatomy) -> Iterator[Variant]:
    """B16: long lines cut at about 1000 octets, by CRLF and a space (Postfix), or by `!` and CRLF (sendmail)."""
    cuts = [(match.end(1), match.end(2), match.end()) for match in _WRAPPED.finditer(anatomy.message, anatomy.body)]
    spaced = tuple(Edit(mark, end + 1) for _, mark, end in cuts if anatomy.message[end : end + 1] == b" ")
    yield Variant(spaced)
    yield Variant(tuple(Edit(line, end) for line, mark, end in cuts if line != mark), cost=0.2)
    yield Variant(
        tuple(
            Edit(line, end + 1) for line, mark, end in cuts if line != mark and anatomy.message[end : end + 1] == b" "
        ),
        cost=0.2,
    )
    yield Variant(tuple(Edit(mark, end) for _, mark, end in cuts), cost=0.5)


def unstuff_from(anatomy: Anatomy) -> Iterator[Variant]:
    """B18: `>From ` at the start of a line, the form in mailbox files."""
    yield Variant(tuple(Edit(m.start(), m.start() + 1) for m in _STUFFED.finditer(anatomy.message, anatomy.body)))


def restore_dots(anatomy: Anatomy) -> Iterator[Variant]:
    """B19: dots at the start of lines, doubled or lost by a client or server with faulty dot-stuffing."""
    octets, body = anatomy.message, anatomy.body
    yield Variant(tuple(Edit(m.start(), m.start() + 1) for m in _DOUBLED.finditer(octets, body)))
    yield Variant(tuple(Edit(m.start(), m.start(), b".") for m in _DOTTED.finditer(octets, body)), cost=0.2)
    lines = itertools.islice(_LINE.finditer(octets, body), _MOST_LINES)
    yield Variant(tuple(Edit(m.start(), m.start(), b".") for m in lines), VariantChoice.ONE, 1.5)


def restore_line_ends(anatomy: Anatomy) -> Iterator[Variant]:
    """B17: the space at the end of soft-wrapped lines (RFC 3676 section 4.1) and of the signature separator `-- `."""
    octets = anatomy.message
    for part in anatomy.texts:
        if part.type != "text/plain":
            continue
        dashes = [match.end() for match in _SIGNATURE.finditer(octets, part.body, part.end)]
        yield Variant(tuple(Edit(at, at, b" ") for at in dashes), cost=0.2)
        if part.flowed:
            ends = [match.start() for match in _BARE_END.finditer(octets, part.body, part.end)]
            yield Variant(tuple(Edit(at, at, b" ") for at in ends), cost=0.5)


def restore_runs(anatomy: Anatomy) -> Iterator[Variant]:
    """B22: two spaces that became one, at one place or after each sentence."""
    for part in anatomy.texts:
        yield Variant(_double(anatomy, part, _SENTENCE_END), VariantChoice.ALL)
        yield Variant(_double(anatomy, part, _SPACE), VariantChoice.ONE, 0.5)


def _double(anatomy: Anatomy, part: Part, pattern: re.Pattern[bytes]) -> tuple[Edit, ...]:
    found = itertools.islice(pattern.finditer(anatomy.message, part.body, part.end), _MOST_LINES)
    return tuple(Edit(match.start(), match.start(), b" ") for match in found)
