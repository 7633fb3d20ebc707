"""Undoing changes to the division of a body into parts: blank lines, delimiters and part headers (RFC 2046 section
5.1).

Each function is the inverse of one catalogue entry: a message's anatomy in, variants out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from gateway.diagnosis.autopsy.anatomy import Anatomy, Delimiter
from gateway.diagnosis.autopsy.edits import Edit
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice
from gateway.mail.header import Field

_INSERTED_FIELD = re.compile(rb"(?:x-microsoft-|x-ms-|x-exchange-|x-forefront-)", re.IGNORECASE)
_EXCHANGE_ID = re.compile(rb"@[a-z0-9.-]*(?:outlook|exchangelabs)\.com>", re.IGNORECASE)
_BLANKS = re.compile(rb"(?:[ \t]*\r\n)+")


def _gaps(anatomy: Anatomy) -> Iterator[tuple[Delimiter, Delimiter]]:
    """Close-delimiters with the following delimiter, if only blank lines are between them."""
    for upper, lower in itertools.pairwise(anatomy.delimiters):
        between = anatomy.message[upper.end : lower.start]
        if upper.closes and (not between or _BLANKS.fullmatch(between)):
            yield upper, lower


def delete_blanks_between(anatomy: Anatomy) -> Iterator[Variant]:
    """B01: blank lines between a close-delimiter and the delimiter that follows: all of them, or the first."""
    gaps = [(upper.end, lower.start) for upper, lower in _gaps(anatomy) if upper.end < lower.start]
    yield Variant(tuple(Edit(start, end) for start, end in gaps))
    lines = [(start, anatomy.message.find(b"\r\n", start) + 2, end) for start, end in gaps]
    if any(line != end for _, line, end in lines):
        yield Variant(tuple(Edit(start, line) for start, line, _ in lines), cost=0.2)


def insert_blanks_between(anatomy: Anatomy) -> Iterator[Variant]:
    """B02: blank lines that were there before."""
    for count in (1, 2):
        edits = tuple(Edit(upper.end, upper.end, b"\r\n" * count) for upper, _ in _gaps(anatomy))
        yield Variant(edits, cost=0.5 * (count - 1))


def insert_nested_preamble(anatomy: Anatomy) -> Iterator[Variant]:
    """B03: the empty line that stood before the first delimiter of a nested multipart."""
    opened: set[tuple[int, bytes]] = set()
    edits = []
    for delimiter in anatomy.delimiters:
        key = (delimiter.depth, delimiter.boundary)
        if delimiter.depth and key not in opened and not delimiter.closes:
            edits.append(Edit(delimiter.start, delimiter.start, b"\r\n"))
        opened.add(key)
    yield Variant(tuple(edits))


def delete_part_fields(anatomy: Anatomy) -> Iterator[Variant]:
    """B04: header fields that a scanner put into the parts."""
    choices: tuple[Callable[[Field], bool], ...] = (_is_inserted, _is_exchange, _is_identified)
    proposed = []
    for number, chosen in enumerate(choices):
        edits = []
        for part in anatomy.parts:
            for inserted, run in itertools.groupby(part.fields, key=chosen):
                if inserted and part.depth >= 0:
                    found = list(run)
                    edits.append(Edit(part.start + found[0].start, part.start + found[-1].end))
        if edits not in proposed:
            proposed.append(edits)
            yield Variant(tuple(edits), cost=0.15 * number)


def _is_inserted(field: Field) -> bool:
    return bool(_INSERTED_FIELD.match(field.name.encode()))


def _is_exchange(field: Field) -> bool:
    """A field that is Exchange's by its name, or an identifier that Exchange gave to the part."""
    return _is_inserted(field) or (field.lower == "content-id" and bool(_EXCHANGE_ID.search(field.value)))


def _is_identified(field: Field) -> bool:
    return _is_inserted(field) or field.lower == "content-id"


def restore_blank_of_empty(anatomy: Anatomy) -> Iterator[Variant]:
    """B26: the blank line that ends the header of an empty part."""
    edits = []
    for part in anatomy.parts:
        bare = part.depth >= 0 and part.body == part.end and part.fields
        if bare and not anatomy.message.endswith(b"\r\n\r\n", part.start, part.end + 2):
            edits.append(Edit(part.end + 2, part.end + 2, b"\r\n"))
    yield Variant(tuple(edits))
    yield Variant(tuple(Edit(edit.start, edit.end, b"\r\n\r\n") for edit in edits), cost=0.3)


def delete_close_delimiter(anatomy: Anatomy) -> Iterator[Variant]:
    """B06: a final close-delimiter that the sender had left out."""
    last = anatomy.delimiters[-1] if anatomy.delimiters else None
    if last is None or not last.closes or anatomy.message[last.end :].strip():
        return
    yield Variant((Edit(last.start, last.end),))
    if anatomy.message.startswith(b"\r\n", last.start - 2):
        yield Variant((Edit(last.start - 2, last.end),), cost=0.2)


def delete_line_after_message(anatomy: Anatomy) -> Iterator[Variant]:
    """B08: a line break between an attached message and the delimiter."""
    found = [part for part in anatomy.parts if part.type == "message/rfc822"]
    found = [part for part in found if anatomy.message.endswith(b"\r\n", part.body, part.end)]
    yield Variant(tuple(Edit(part.end - 2, part.end) for part in found))


def delete_footer_part(anatomy: Anatomy) -> Iterator[Variant]:
    """B10: the last part of a multipart, a short text put there by a list."""
    parts = {part.start: part for part in anatomy.parts}
    seen: set[bytes] = set()
    for upper, lower in itertools.pairwise(anatomy.delimiters):
        is_last = upper.depth == lower.depth and not upper.closes and lower.closes
        part = parts.get(upper.end)
        if is_last and upper.boundary in seen and part and part.type == "text/plain" and part.body < part.end:
            yield Variant((Edit(upper.start, lower.start),), VariantChoice.ALL, 0.1 * upper.depth)
        seen.add(upper.boundary)
