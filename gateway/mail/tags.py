"""Tag=value lists of RFC 6376 section 3.2: signatures, keys, ARC sets."""

from __future__ import annotations

import base64
import binascii
import re

_SPACE = " \t\r\n"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def parse_tags(value: str) -> dict[str, str] | None:
    """The tags in order, white space around names and values removed, white space inside values kept.

    None for a list that breaks the syntax, an empty one, or one with a tag twice: such a list is void as a whole.
    Names keep their case, because they are case-sensitive. Characters above 127 are let through (RFC 8616 section 3).
    """
    if _FORBIDDEN.search(value):
        return None
    specs = value.split(";")
    if len(specs) > 1 and not specs[-1].strip(_SPACE):
        specs.pop()
    tags: dict[str, str] = {}
    for spec in specs:
        name, equals, text = spec.partition("=")
        name = name.strip(_SPACE)
        if not equals or name in tags or not _NAME.fullmatch(name):
            return None
        tags[name] = text.strip(_SPACE)
    return tags


def decode_base64(value: str) -> bytes:
    """The octets of a base64 value with white space anywhere and padding optional (RFC 6376 section 2.10).

    Empty when it is no base64.
    """
    text = "".join(value.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
