"""The text of a report in any character set, whatever it declares."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
"""Beginnings of documents with several octets for a character; the last two have no byte order mark."""
_DECLARED = re.compile(rb"\A<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']", re.IGNORECASE)
_REPORT = re.compile(r"\s*(?:<\?xml\b|<(?:[A-Za-z0-9_]{1,40}:)?feedback\b)", re.IGNORECASE)


def decode_document(octets: bytes) -> tuple[str, bool]:
    """The text without leading blanks, and whether all octets were readable."""
    octets = octets.lstrip(b" \t\r\n")
    mark = next(((start, name) for start, name in _MARKS if octets.startswith(start)), None)
    if mark is not None and mark[0] == codecs.BOM_UTF8:
        octets = octets[len(codecs.BOM_UTF8) :].lstrip(b" \t\r\n")
    name = mark[1] if mark else ""
    if not name or name == "utf-8":
        declared = _DECLARED.match(octets)
        name = declared[1].decode() if declared else "utf-8"
        # A document that begins with one octet for a character is not UTF-16, whatever it declares.
        name = "utf-8" if name.lower().startswith(("utf-16", "utf16", "ucs-2", "unicode")) else name
    text, sound = _decode(octets, name)
    return text.lstrip("\ufeff \t\r\n"), sound


def _decode(octets: bytes, name: str) -> tuple[str, bool]:
    try:
        return octets.decode(name), True
    except (LookupError, UnicodeError):
        pass
    try:
        return octets.decode("utf-8"), False
    except UnicodeError:
        return octets.decode(name if name.startswith("utf-16") else "utf-8", "replace"), False


def is_report(octets: bytes) -> bool:
    """The octets begin like an XML report."""
    return bool(_REPORT.match(_decode_start(octets)))


def _decode_start(octets: bytes) -> str:
    start = octets[:400]
    for mark, name in _MARKS:
        if start.startswith(mark):
            return start.decode(name, "ignore").lstrip("\ufeff")
    return start.decode("utf-8", "ignore")
