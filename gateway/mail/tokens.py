"""The words of a structured field (RFC 5322 section 3.2), for fields that name values: `name=value; ...`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice

from gateway.model.value import Value

_SPACE = " \t\r\n"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def parse_tags(value: str) -> dict[str, str] | None:
    """The tags in order, white space around names and values removed, white space inside values kept.

    None for a list that breaks the syntax, an empty one, or one with a tag twice: such a list is invalid as a whole.
    Names keep their case, because they are case-sensitive. Characters above 127 are accepted (RFC 8616 section 3).
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

    Empty when it is not base64.
    """
    text = "".join(value.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


_WIDTH = 78
"""RFC 5322 section 2.1.1: a line should have no more than 78 characters."""


def fold(name: str, groups: Iterable[Iterable[str]]) -> bytes:
    """One header field with its final CRLF.

    Each group of words starts a line of its own; a line that grows beyond 78 characters is broken between words. A word
    is never broken, so a longer one makes a longer line. Words are ASCII; anything else becomes `?`.
    """
    lines: list[str] = []
    line = f"{name}:"
    bare = line
    for number, group in enumerate(groups):
        if number:
            lines.append(line)
            line = bare = "\t"
        for word in group:
            glue = "" if line == "\t" else " "
            if line != bare and len(line) + len(glue) + len(word) > _WIDTH:
                lines.append(line)
                line, bare, glue = "\t", "\t", ""
            line += glue + word
    lines.append(line)
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


_TOKEN = re.compile(
    r'(?P<space>[ \t\r\n]+)|(?P<open>\()|"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"?|(?P<mark>[=;])'
    r'|(?P<word>[^ \t\r\n("=;]+)',
    re.DOTALL,
)
_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\.", re.DOTALL)
_BACKSLASH = "\ud800"
"""A temporary stand-in for an escaped backslash; decoded text never has it."""
_USUAL_MARKS = 32
"""Parentheses and quoted pairs in a comment up to which it is read mark by mark."""
_STEPS = bytes({"(": 2, ")": 0}.get(chr(octet), 1) for octet in range(256))
"""The change that each character makes to the depth of a comment, plus 1."""


class Token(Value):
    """A word, a quoted string without its quotes, or one of the marks `=` and `;`."""

    text: str
    mark: bool
    glued: bool
    """No white space or comment stands before it."""


def read_tokens(value: str) -> Iterator[Token]:
    """The tokens, white space and comments removed (comments nest). Linear time, never raises: an open quote or
    comment reaches to the end."""
    at, glued = 0, False
    while found := _TOKEN.match(value, at):
        at = found.end()
        if found.lastgroup == "space":
            glued = False
        elif found.lastgroup == "open":
            at, glued = _comment_end(value, at), False
        else:
            yield Token(_text(found), found.lastgroup == "mark", glued)
            glued = True


def _text(found: re.Match[str]) -> str:
    quoted = found["quoted"]
    if quoted is None:
        return found[0]
    return quoted.replace("\\\\", _BACKSLASH).replace("\\", "").replace(_BACKSLASH, "\\")


def _comment_end(value: str, start: int) -> int:
    depth, at = 1, start
    for mark in islice(_COMMENT.finditer(value, start), _USUAL_MARKS):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        at = mark.end()
        if depth == 0:
            return at
    # No genuine writer uses so many: from here on the comment is skipped without a Python step for each.
    steps = _QUOTED_PAIR.sub("--", value[at:]).encode("latin-1", "replace").translate(_STEPS)
    for place, sum in enumerate(accumulate(steps)):
        if depth + sum == place + 1:
            return at + place + 1
    return len(value)
