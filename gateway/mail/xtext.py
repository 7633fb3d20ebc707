"""xtext (RFC 3461 section 4): text in a parameter of MAIL and RCPT."""

from __future__ import annotations

import re

_UNFIT = re.compile(r"[^!-*,-<>-~]")


_NOT_ENCODED = re.compile(r"\+(?![0-9A-F]{2})")


def mend_xtext(value: str) -> str:
    """A value that should be xtext, with each `+` that begins no octet taken for itself: clients that encode nothing
    write `user+tag@example.com`, and the next server would refuse that."""
    return _NOT_ENCODED.sub("+2B", value)


def encode_xtext(text: str) -> str:
    """ASCII text with what must not stand in a parameter as `+` and two hexadecimal digits."""
    return _UNFIT.sub(lambda found: f"+{ord(found[0]):02X}", text)
