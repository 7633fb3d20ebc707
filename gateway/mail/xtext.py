"""xtext (RFC 3461 section 4): text in a parameter of MAIL and RCPT."""

from __future__ import annotations

import re

_UNFIT = re.compile(r"[^!-*,-<>-~]")


def encode_xtext(text: str) -> str:
    """ASCII text with what must not stand in a parameter as `+` and two hexadecimal digits."""
    return _UNFIT.sub(lambda found: f"+{ord(found[0]):02X}", text)
