"""Undoing other spellings of the same header value: encoded words, quotes, dates, parameters.

Each function is the inverse of one catalogue entry: a message's anatomy in, variants out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial

from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.edits import Edit
from gateway.diagnosis.autopsy.fields import value_edit
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice
from gateway.mail.header import Field
from gateway.mail.received import DAYS, MONTHS

_ENCODED = re.compile(rb"=\?([A-Za-z0-9_-]{1,40})\?([BbQq])\?([^?\s]{0,2000})\?=")
_BETWEEN = re.compile(rb"(?<=\?=)[ \t\r\n]+(?==\?)")
_NAMED = ("subject", "from", "to", "cc", "reply-to", "sender")
_PHRASE = re.compile(rb'([ \t\r\n,]|\A)("?)([^"<>,@\r\n]{1,200}?)\2([ \t]*<[^<>\s]{1,320}>)')
_DATE = re.compile(
    rb"[ \t]*(?:(?P<weekday>[A-Z][a-z]{2}),[ \t]*)?(?P<day>\d{1,2}) (?P<month>[A-Z][a-z]{2}) (?P<year>\d{4}) "
    rb"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?[ \t]*(?P<zone>[+-]\d{4}|GMT|UTC|UT|Z)"
    rb"(?P<comment>[ \t]*\([A-Z]{1,5}\))?[ \t]*"
)
_PARAMETER = re.compile(rb'(;[ \t\r\n]*[A-Za-z0-9*_-]+=)("?)([^"\s;]+)\2(?=[ \t\r\n]*(?:;|\Z))')
_CHARSET = re.compile(rb'(?<=charset=)"?([A-Za-z0-9_-]+)', re.IGNORECASE)
_ZONES = [b"%s%02d%02d" % (sign, hour, minute) for hour in range(15) for minute in (0, 30, 45) for sign in (b"+", b"-")]
_SAFE = re.compile(rb"[A-Za-z0-9!*+/-]")


def restore_words(anatomy: Anatomy) -> Iterator[Variant]:
    """H02: encoded words (RFC 2047) as plain text, or the reverse, or in the other encoding."""
    yield from _rewrite(anatomy, _plain_text)
    for number, encode in enumerate(_encoders()):
        yield from _rewrite(anatomy, partial(_encode_again, encode=encode), 0.1 + 0.05 * number)


def decode_words(anatomy: Anatomy) -> Iterator[Variant]:
    """H12: encoded words as the raw UTF-8 that they were (RFC 6532)."""
    yield from _rewrite(anatomy, _raw_text)


def _rewrite(anatomy: Anatomy, change: Callable[[bytes], bytes | None], cost: float = 0.0) -> Iterator[Variant]:
    edits = []
    for field in anatomy.signed:
        value = change(field.value) if field.lower in _NAMED and len(field.value) < 4096 else None
        if value is not None and value != field.value:
            edits.append(value_edit(anatomy, field, value))
    yield Variant(tuple(edits), cost=cost)


def _decode(value: bytes) -> bytes:
    """Every encoded word as UTF-8; any other text stays."""

    def text(found: re.Match[bytes]) -> bytes:
        octets = found[3]
        try:
            if found[2] in b"Bb":
                octets = base64.b64decode(octets, validate=True)
            else:
                octets = binascii.a2b_qp(octets, header=True)
            return octets.decode(found[1].decode("ascii")).encode()
        except (ValueError, LookupError):
            return found[0]

    return _ENCODED.sub(text, _BETWEEN.sub(b"", value))


def _plain_text(value: bytes) -> bytes | None:
    decoded = _decode(value)
    return decoded if decoded.isascii() else None


def _raw_text(value: bytes) -> bytes | None:
    decoded = _decode(value)
    return None if decoded.isascii() or b"\r" in decoded else decoded


def _encode_again(value: bytes, encode: Callable[[bytes], bytes]) -> bytes | None:
    """A value that is one encoded text, or one unencoded text, in an encoded word."""
    decoded = _decode(value)
    head, rest = decoded[: len(decoded) - len(decoded.lstrip())], decoded.strip()
    bracket = rest.rfind(b"<")
    if bracket > 0 and rest.endswith(b">"):
        return head + encode(rest[:bracket].rstrip().strip(b'"')) + b" " + rest[bracket:]
    return head + encode(rest) if rest and b"@" not in rest else None


def _encoders() -> list[Callable[[bytes], bytes]]:
    pairs = [(charset, letter) for charset in (b"utf-8", b"UTF-8") for letter in (b"q", b"b", b"Q", b"B")]
    pairs += [(charset, letter) for charset in (b"iso-8859-1", b"ISO-8859-1") for letter in (b"q", b"Q")]
    return [partial(_word, charset, letter) for charset, letter in pairs]


def _word(charset: bytes, letter: bytes, text: bytes) -> bytes:
    try:
        octets = text.decode().encode(charset.decode())
    except UnicodeError:
        return text
    if letter in b"bB":
        return b"=?%s?%s?%s?=" % (charset, letter, base64.b64encode(octets))
    quoted = b"".join(
        b"_" if one == 32 else bytes([one]) if _SAFE.match(bytes([one])) else b"=%02X" % one for one in octets
    )
    return b"=?%s?%s?%s?=" % (charset, letter, quoted)


def toggle_quotes(anatomy: Anatomy) -> Iterator[Variant]:
    """H04: quotes around display names, added or removed."""
    quoted, bare = [], []
    for field in anatomy.signed:
        if field.lower not in _NAMED[1:] or len(field.value) > 4096:
            continue
        start = anatomy.block.index(b":", field.start) + 1
        for match in _PHRASE.finditer(field.value):
            name = match[3].strip() if not match[2] else match[3]
            if not name or b"=?" in name:
                continue
            at = start + match.start(3) + (0 if match[2] else len(match[3]) - len(match[3].lstrip()))
            if match[2]:
                quoted.append(Edit(at - 1, at + len(name) + 1, name))
            else:
                bare.append(Edit(at, at + len(name), b'"' + name + b'"'))
    yield Variant(tuple(quoted))
    yield Variant(tuple(bare), cost=0.1)


def rewrite_date(anatomy: Anatomy) -> Iterator[Variant]:
    """H07: the same moment in another program's form: comment, zone, weekday, leading zero."""
    for field in anatomy.signed:
        moment = _read_date(field) if field.lower == "date" else None
        if moment is None:
            continue
        for number, value in enumerate(_spellings(moment, field.value)):
            if value != field.value:
                yield Variant((value_edit(anatomy, field, value),), VariantChoice.ALL, number / 40)


def _read_date(field: Field) -> datetime | None:
    found = _DATE.fullmatch(field.value)
    if found is None:
        return None
    zone = found["zone"].decode()
    minutes = int(zone[1:3]) * 60 + int(zone[3:]) if zone[0] in "+-" else 0
    try:
        day, hour, minute, second = (int(found[name] or 0) for name in ("day", "hour", "minute", "second"))
        month = MONTHS.index(found["month"].decode()) + 1
        offset = timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))
        moment = datetime(int(found["year"]), month, day, hour, minute, second, tzinfo=offset)
    except ValueError:
        return None
    # A wrong weekday is a sign of damage, not of another spelling.
    return moment if found["weekday"] in (None, DAYS[moment.weekday()].encode()) else None


def _spellings(moment: datetime, value: bytes) -> Iterator[bytes]:
    """First with the present zone, then with every other."""
    own = _DATE.fullmatch(value)
    zone = own["zone"] if own else b"+0000"
    for name in dict.fromkeys((zone, b"+0000", b"GMT", b"UTC", *_ZONES)):
        sign = -1 if name[:1] == b"-" else 1
        minutes = sign * (int(name[1:3]) * 60 + int(name[3:])) if name[:1] in b"+-" else 0
        try:
            there = moment.astimezone(timezone(timedelta(minutes=minutes)))
        except (ValueError, OverflowError):
            continue
        for weekday in (f"{DAYS[there.weekday()]}, ", ""):
            for day in dict.fromkeys((f"{there.day:02}", f"{there.day}", f"{there.day:2}")):
                text = f" {weekday}{day} {MONTHS[there.month - 1]} {there.year:04} {there:%H:%M:%S} "
                for comment in (b"", b" (UTC)", b" (GMT)") if not minutes else (b"",):
                    yield text.encode() + name + comment


def rewrite_parameters(anatomy: Anatomy) -> Iterator[Variant]:
    """H10: Content-Type parameters with or without quotes, a charset in other letters, the folding between them."""
    for field in anatomy.signed:
        if field.lower not in ("content-type", "content-disposition") or len(field.value) > 4096:
            continue
        changes: tuple[Callable[[bytes], bytes], ...] = (bytes, bytes.lower, bytes.upper)
        for number, change in enumerate(changes):
            yield Variant(tuple(_toggle_parameters(anatomy, field, change)), cost=0.1 * number)
        for change in changes[1:]:
            yield Variant(tuple(_respell_charset(anatomy, field, change)), cost=0.1)
        for fold in (b"; ", b";\r\n\t", b";\r\n ", b";"):
            value = re.sub(rb";[ \t\r\n]*", fold, field.value)
            if value != field.value:
                yield Variant((value_edit(anatomy, field, value),), VariantChoice.ALL, 0.2)
        yield from _dropped(anatomy, field)
        bare = field.value.rstrip()
        other = bare.removesuffix(b";") if bare.endswith(b";") else bare + b";"
        yield Variant((value_edit(anatomy, field, other),), VariantChoice.ALL, 0.3)


def _dropped(anatomy: Anatomy, field: Field) -> Iterator[Variant]:
    """Parameters that were lost when the field was rewritten."""
    bare = field.value.rstrip().removesuffix(b";")
    if b"multipart/" in bare.lower() or field.lower != "content-type":
        return
    unquoted = _PARAMETER.sub(rb"\1\3", bare)
    spellings = dict.fromkeys((unquoted, bare, _upper_charset(unquoted), _upper_charset(bare)))
    for number, spelling in enumerate(spellings):
        for order, more in enumerate(_DROPPED):
            for value in dict.fromkeys((spelling + b"; " + more, spelling + b";\r\n " + more, _before(spelling, more))):
                edit = value_edit(anatomy, field, value)
                yield Variant((edit,), VariantChoice.ALL, 0.3 + 0.1 * number + 0.05 * order)


_DROPPED = (b"format=flowed", b"format=flowed; delsp=yes", b"format=fixed", b"reply-type=original", b"delsp=yes")


def _before(value: bytes, more: bytes) -> bytes:
    """The parameters in front of the present ones."""
    type, semicolon, rest = value.partition(b";")
    return type + b"; " + more + semicolon + rest


def _upper_charset(value: bytes) -> bytes:
    return _CHARSET.sub(lambda found: found[0].replace(found[1], found[1].upper()), value)


def _toggle_parameters(anatomy: Anatomy, field: Field, change: Callable[[bytes], bytes]) -> Iterator[Edit]:
    """Each parameter with its quotes removed or added; `change` applies to charset names."""
    start = anatomy.block.index(b":", field.start) + 1
    for match in _PARAMETER.finditer(field.value):
        text = change(match[3]) if b"charset" in match[1].lower() else match[3]
        value = text if match[2] else b'"' + text + b'"'
        yield Edit(start + match.end(1), start + match.end(), value)


def _respell_charset(anatomy: Anatomy, field: Field, change: Callable[[bytes], bytes]) -> Iterator[Edit]:
    start = anatomy.block.index(b":", field.start) + 1
    for match in _CHARSET.finditer(field.value):
        if change(match[1]) != match[1]:
            yield Edit(start + match.start(1), start + match.end(1), change(match[1]))
