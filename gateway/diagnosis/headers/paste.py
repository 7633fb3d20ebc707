"""Headers as people paste them: quoted, indented, with blank lines between, in UTF-16, or not a header at all."""

from __future__ import annotations

import re

from gateway.model.value import Value

_OUTLOOK = bytes.fromhex("d0cf11e0a1b11ae1")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_FIELD = re.compile(rb"(?<![^\n])[A-Za-z][A-Za-z0-9-]{1,60}[ \t]*:[^\r\n]*")
_QUOTED = re.compile(rb"(?<![^\n])(?:>[ ]?)+")
_INDENT = re.compile(rb"[ \t]+(?=[A-Za-z][A-Za-z0-9-]{1,60}:)")
_GAP = re.compile(rb"(?<=\r\n)\r\n(?=[A-Za-z \t])")
_FOLDED_AFTER_BLANK = re.compile(rb"[^\r\n]\r\n\r\n[ \t]+\S")
_KNOWN = re.compile(
    rb"(?<![^\n])(?:received|authentication-results|received-spf|from|to|subject|date|message-id|dkim-signature"
    rb"|arc-[a-z-]+|mime-version|content-type|return-path|delivered-to|x-[a-z0-9-]+)[ \t]*:",
    re.IGNORECASE,
)
_LEAST = 3
"""Known fields after a blank line that show that the blank line is within the header."""


class Pasted(Value):
    """The input, in a form that can be read as a header."""

    octets: bytes
    mended: tuple[str, ...]
    """The corrections: keys of `texts.PASTED`."""
    problem: str
    """`outlook` or `empty` for an input without a header; else empty."""


def read_paste(octets: bytes) -> Pasted:
    """Undo the effects of clipboards and mail programs on a header. Lines end in CRLF."""
    if octets.startswith(_OUTLOOK):
        return Pasted(b"", (), "outlook")
    mended = []
    if octets[:2] in _MARKS:
        text = octets.decode(_MARKS[octets[:2]], "replace").replace("\r\n", "\n").replace("\r", "\n")
        octets = text.encode("utf-8", "replace").replace(b"\n", b"\r\n")
        mended.append("wide")
    octets = octets.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    lines = octets[:20_000].split(b"\r\n")
    full = [line for line in lines if line.strip()]
    if full and sum(line.startswith(b">") for line in full) >= 0.8 * len(full):
        octets = _QUOTED.sub(b"", octets)
        mended.append("quoted")
    elif full and (indent := _INDENT.match(full[0])) and all(line.startswith(indent[0]) for line in full[:5]):
        octets = re.sub(rb"(?<![^\n])" + re.escape(indent[0]), b"", octets)
        mended.append("indented")
    if _is_spread(octets):
        octets = _GAP.sub(b"", octets)
        mended.append("blank lines")
    return Pasted(octets, tuple(mended), "" if _FIELD.search(octets[:200_000]) else "empty")


def _is_spread(octets: bytes) -> bool:
    """True when blank lines are within the header: a continuation follows one, or several known fields do while the
    text above has hardly any."""
    head, blank, rest = octets.partition(b"\r\n\r\n")
    if not blank:
        return False
    start = octets[:20_000]
    if _FOLDED_AFTER_BLANK.search(start) and len(_KNOWN.findall(head)) < _LEAST:
        return True
    first = rest.lstrip(b"\r\n")[:2000]
    return len(_KNOWN.findall(head)) < _LEAST and len(_KNOWN.findall(first)) >= _LEAST
