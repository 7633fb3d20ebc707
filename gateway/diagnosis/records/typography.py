"""Characters that word processors and DNS panels put in place of the required ones: they void a tag, or the record."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from gateway.diagnosis.records import texts

_MEANT = {
    **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‘’‚‛′", "'"),  # noqa: RUF001 and single ones
    **dict.fromkeys("‐‑‒–—―−", "-"),  # noqa: RUF001 and dashes
    **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
    **dict.fromkeys("；;", ";"),  # noqa: RUF001 full-width, and the Greek question mark
    **dict.fromkeys("：", ":"),  # noqa: RUF001
    **dict.fromkeys("＝", "="),  # noqa: RUF001
    **dict.fromkeys("，", ","),  # noqa: RUF001
}
_TAG_NAMES = r"(?:v|p|sp|np|adkim|aspf|pct|fo|rf|ri|rua|ruf|psd|t|k|h|s|n|g)"
_NO_SEMICOLON = re.compile(rf"(?<=[^;,\s])\s+(?={_TAG_NAMES}\s*=)", re.IGNORECASE)
_COMMA = re.compile(rf"\s*,\s*(?={_TAG_NAMES}\s*=)", re.IGNORECASE)


def read_text(record: str) -> str:
    """A TXT record as decoded text. DNS gives octets, one latin-1 character each; they are decoded as UTF-8 if
    possible."""
    octets = record.encode("latin-1", "replace")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def find_odd(text: str) -> tuple[str, ...]:
    """The names of characters outside ASCII, each once."""
    odd = dict.fromkeys(char for char in text if not " " <= char <= "~")
    return tuple(f"{unicodedata.name(char, f'U+{ord(char):04X}').lower()} ({ascii(char)[1:-1]})" for char in odd)


def repair(text: str) -> str:
    """The probable intention, with quotes around the whole and backslashes removed."""
    meant = "".join(_MEANT.get(char, char) for char in text).strip()
    return meant.replace('" "', "").replace("\\", "").strip("\"'").strip()


def repair_tags(text: str) -> str:
    """The same for a list of tags (DMARC, DKIM): with the missing semicolons between them."""
    return _NO_SEMICOLON.sub("; ", _COMMA.sub("; ", repair(text)))


def find_slips(text: str) -> Iterator[str]:
    """Faults in the characters of any record, as verbs that follow its name."""
    odd = find_odd(text)
    if odd:
        yield texts.ODD.format(characters=", ".join(odd))
    if text.strip().startswith(('"', "'")) or '" "' in text or text.strip().endswith('"'):
        yield texts.QUOTES
    if "\\" in text:
        yield texts.BACKSLASHES
    if text[:1].isspace():
        yield texts.BLANK_FIRST


def find_tag_slips(text: str) -> Iterator[str]:
    """The same for a list of tags."""
    yield from find_slips(text)
    meant = repair(text)
    if _COMMA.search(meant):
        yield texts.COMMAS
    if _NO_SEMICOLON.search(_COMMA.sub("; ", meant)):
        yield texts.NO_SEMICOLONS


def missing_semicolon(value: str) -> str:
    """The tag inside another's value, when a semicolon is missing before it; empty when there is none."""
    found = _NO_SEMICOLON.search(value)
    return value[found.end() :].partition("=")[0].strip() if found else ""
