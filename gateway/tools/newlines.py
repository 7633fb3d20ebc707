"""FILE arguments: a message saved on disk, back to the octets that SMTP carries."""

from __future__ import annotations

from enum import StrEnum


class Newlines(StrEnum):
    """What line ends a file had, and what was made of them."""

    CRLF = "crlf"
    CONVERTED = "converted"
    """There was no CRLF at all, so each LF was read as one."""
    MIXED = "mixed"
    """Bare CR or LF are left as they are: they may be what a test is about."""


def read_lines(octets: bytes, raw: bool) -> tuple[bytes, Newlines]:
    """The octets to judge. With `raw` nothing is ever converted."""
    if not raw and b"\r\n" not in octets and b"\n" in octets:
        return octets.replace(b"\n", b"\r\n"), Newlines.CONVERTED
    pairs = octets.count(b"\r\n")
    clean = octets.count(b"\n") == pairs and octets.count(b"\r") == pairs
    return octets, Newlines.CRLF if clean else Newlines.MIXED
