"""Undoing changes to header fields: tags, added and replaced fields, folding and letter case (RFC 5322 section 2.2).

Each function is the inverse of one catalogue entry: a message's anatomy in, variants out. Only fields that a signature
names are edited, because no other field can have broken it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.edits import Edit
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice
from gateway.mail.header import Field, fields

_TAG = re.compile(
    rb"[ \t\r\n]*(?:(?:re|fwd?|aw|wg)[ \t]*:[ \t]*)*"
    rb"(\[[^\]\r\n]{1,60}\]|\*{2,}[^*\r\n]{1,40}\*{2,}|[A-Z][A-Z _-]{2,30}:)",
    re.IGNORECASE,
)
_HINTS_FROM = ("x-original-from", "original-from", "author", "reply-to", "x-reply-to", "cc")
_HINTS_ID = ("x-original-message-id", "x-microsoft-original-message-id", "original-message-id")
_NAMES = {"mime-version": ("MIME-Version", "Mime-Version"), "message-id": ("Message-ID", "Message-Id", "Message-id")}
_WIDTHS = (72, 78, 76, 75, 74, 70, 68, 66, 80, 79, 77, 73, 71, 69, 67)
"""Widths of a signature's lines, the usual ones first."""
_CUT = re.compile(rb"(?<=[^ \t\r\n])\r\n[ \t](?=[^ \t\r\n])")
_LONGEST = 65_536
_FOLD = re.compile(rb"\r\n[ \t]+")
_SPACE = re.compile(rb"[ \t\r\n]+")


def signs_simply(anatomy: Anatomy) -> bool:
    """Some signature covers header fields octet for octet (RFC 6376 section 3.4.1)."""
    return any(signature.header_form == "simple" for signature in anatomy.signatures)


def value_edit(anatomy: Anatomy, field: Field, value: bytes) -> Edit:
    """Replace a field's value by `value`."""
    start = anatomy.block.index(b":", field.start) + 1
    return Edit(start, start + len(field.value), value)


def _drop(field: Field) -> Edit:
    return Edit(field.start, field.end)


def delete_subject_tag(anatomy: Anatomy) -> Iterator[Variant]:
    """H01: a tag at the start of the subject."""
    for field in anatomy.signed:
        found = _TAG.match(field.value) if field.lower == "subject" else None
        if found is None:
            continue
        for number, spaces in enumerate((b" ", b"")):
            if field.value.startswith(spaces, found.end()):
                value = field.value[: found.start(1)] + field.value[found.end() + len(spaces) :]
                yield Variant((value_edit(anatomy, field, value),), VariantChoice.ALL, 0.1 * number)


def unfold_fields(anatomy: Anatomy) -> Iterator[Variant]:
    """H03: fields folded elsewhere, which only affects a simple signature, or at a place without a blank, which affects
    any."""
    yield Variant(tuple(_breaks(anatomy)), cost=0.2)
    if not signs_simply(anatomy):
        return
    found = [field for field in anatomy.signed if len(field.value) < 4096]
    spaced = [(field, b" " + field.value.strip(b" \t")) for field in found if b"\r\n" not in field.value]
    yield Variant(tuple(value_edit(anatomy, f, v) for f, v in spaced if v != f.value), cost=0.1)
    folded = [field for field in found if b"\r\n" in field.value]
    yield Variant(tuple(value_edit(anatomy, field, _one_line(field.value)) for field in folded))
    for number, fold in enumerate((b"\r\n\t", b"\r\n ", b"\r\n  ", b"\r\n        ")):
        edits = [(field, _SPACE.sub(b" ", field.value).replace(b"; ", b";" + fold)) for field in found]
        yield Variant(tuple(value_edit(anatomy, f, v) for f, v in edits if v != f.value), cost=0.3 + 0.1 * number)
        edits = [(field, _FOLD.sub(fold, field.value)) for field in folded]
        yield Variant(tuple(value_edit(anatomy, f, v) for f, v in edits if v != f.value), cost=0.3 + 0.1 * number)
    for number, width in enumerate((78, 76, 72)):
        edits = [(field, _fill(field, width, b"\r\n ")) for field in found]
        yield Variant(tuple(value_edit(anatomy, f, v) for f, v in edits if v != f.value), cost=0.6 + 0.1 * number)


def _breaks(anatomy: Anatomy) -> Iterator[Edit]:
    """Line breaks with their blanks at places that had no blank: a long field cut in two."""
    for field in anatomy.signed:
        start = anatomy.block.index(b":", field.start) + 1
        for found in _CUT.finditer(field.value[:_LONGEST]):
            yield Edit(start + found.start(), start + found.end())


def _one_line(value: bytes) -> bytes:
    return _FOLD.sub(b" ", value)


def _fill(field: Field, width: int, fold: bytes) -> bytes:
    """The value's words in lines of at most `width`, as many as fit in each."""
    words = _SPACE.sub(b" ", field.value).split(b" ")
    lines, size = [words[0]], len(field.name) + 1 + len(words[0])
    for word in words[1:]:
        if size + 1 + len(word) > width:
            lines.append(fold + word)
            size = len(fold) - 2 + len(word)
        else:
            lines.append(b" " + word)
            size += 1 + len(word)
    return b"".join(lines)


def restore_from(anatomy: Anatomy) -> Iterator[Variant]:
    """H05: From as another field still has it; a list replaces it by its own address to satisfy DMARC."""
    found = fields(anatomy.header, "from")
    if len(found) != 1:
        return
    for number, name in enumerate(_HINTS_FROM):
        for hint in fields(anatomy.header, name)[:2]:
            back = value_edit(anatomy, found[0], hint.value)
            replies = [_drop(field) for field in fields(anatomy.header, "reply-to") if field is not hint]
            hints = [] if name == "cc" else [_drop(hint)]
            for count, more in enumerate(([*hints, *replies], hints, replies, [])):
                yield Variant(tuple(dict.fromkeys((back, *more))), VariantChoice.ALL, 0.1 * number + 0.05 * count)


def restore_message_id(anatomy: Anatomy) -> Iterator[Variant]:
    """H06: the message id, if another field keeps the earlier one."""
    for field in fields(anatomy.header, "message-id")[:1]:
        for name in _HINTS_ID:
            for hint in fields(anatomy.header, name)[:1]:
                back = value_edit(anatomy, field, hint.value)
                yield Variant((back, _drop(hint)), VariantChoice.ALL)
                yield Variant((back,), VariantChoice.ALL, 0.1)


def delete_added_fields(anatomy: Anatomy) -> Iterator[Variant]:
    """H09: fields of names that are signed more often than the sender wrote them (RFC 6376 section 5.4)."""
    found = [field for field in anatomy.signed if field.lower != "from"]
    counts = Counter(field.lower for field in found)
    rare = [field for field in found if field.lower not in ("to", "subject", "date", "message-id", "mime-version")]
    yield Variant(tuple(_drop(field) for field in found if counts[field.lower] > 1), VariantChoice.ONE)
    singles = [field for field in rare if not field.lower.startswith("content-")]
    yield Variant(tuple(_drop(field) for field in singles[:12]), VariantChoice.ANY, 0.1)


def restore_names(anatomy: Anatomy) -> Iterator[Variant]:
    """H11: names of fields in other letter case; this only affects a simple signature."""
    if not signs_simply(anatomy):
        return
    for number in range(4):
        edits = []
        for field in anatomy.signed:
            names = _spellings(field.lower)
            if number < len(names) and names[number] != field.name:
                edits.append(Edit(field.start, field.start + len(field.name), names[number].encode()))
        yield Variant(tuple(edits), cost=0.4 * number)


def _spellings(lower: str) -> tuple[str, ...]:
    """A field's name in its usual spelling, then in others."""
    title = "-".join(word.capitalize() for word in lower.split("-"))
    return tuple(dict.fromkeys((*_NAMES.get(lower, ()), title, lower, lower.upper())))


def refold_signature(anatomy: Anatomy) -> Iterator[Variant]:
    """H13: the signature's own folding, in the form of common signers; this only affects a simple signature."""
    if not signs_simply(anatomy):
        return
    found = [field for field in fields(anatomy.header, "dkim-signature") if len(field.value) < 8192]
    for field in found:
        text = _SPACE.sub(b" ", field.value)
        values = [
            b";".join(part.replace(b" ", b"\r\n" + pad, 1) if at else part for at, part in enumerate(text.split(b";")))
            for pad in (b"\t", b" ", b"        ")
        ]
        values += [_fill(field, width, fold) for width in _WIDTHS for fold in (b"\r\n ", b"\r\n\t")]
        for number, value in enumerate(dict.fromkeys((*values, text))):
            if value != field.value:
                yield Variant((value_edit(anatomy, field, value),), VariantChoice.ALL, 0.02 * number)
