"""Text from elsewhere, made fit for a terminal and a log: no character moves the cursor or reorders a line."""

from __future__ import annotations

import re

_HIDDEN = re.compile(r"[^ -~\n]")


def clean(text: str) -> str:
    """The text on one line. A control character, or a character that reorders text, is written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def clean_json(text: str) -> str:
    """The same for JSON text. In JSON such a character occurs only inside a string, where `\\uXXXX` means it (RFC 8259
    section 7). Line ends of an indented text stay."""
    return _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char.isprintable():
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
