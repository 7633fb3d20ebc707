"""The words of a structured field (RFC 5322 section 3.2), for fields that name values: `name=value; ...`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, islice

from gateway.model.value import Value

_TOKEN = re.compile(
    r'(?P<space>[ \t\r\n]+)|(?P<open>\()|"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"?|(?P<mark>[=;])'
    r'|(?P<word>[^ \t\r\n("=;]+)',
    re.DOTALL,
)
_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\.", re.DOTALL)
_BACKSLASH = "\ud800"
"""Stands for an escaped backslash meanwhile; decoded text never has it."""
_USUAL_MARKS = 32
"""Parentheses and quoted pairs in a comment that is read mark by mark."""
_STEPS = bytes({"(": 2, ")": 0}.get(chr(octet), 1) for octet in range(256))
"""What each character does to the depth of a comment, plus 1."""


class Token(Value):
    """A word, a quoted string without its quotes, or one of the marks `=` and `;`."""

    text: str
    mark: bool
    glued: bool
    """Neither white space nor a comment stands before it."""


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
    # Nobody writes so many in good faith: from here on without a Python step for each.
    steps = _QUOTED_PAIR.sub("--", value[at:]).encode("latin-1", "replace").translate(_STEPS)
    for place, sum in enumerate(accumulate(steps)):
        if depth + sum == place + 1:
            return at + place + 1
    return len(value)
