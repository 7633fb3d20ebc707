"""The words of a structured field (RFC 5322 section 3.2), for fields that name values: `name=value; ...`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.model.value import Value

_TOKEN = re.compile(
    r'(?P<space>[ \t\r\n]+)|(?P<open>\()|"(?P<quoted>(?:[^"\\]|\\.)*)"?|(?P<mark>[=;])|(?P<word>[^ \t\r\n("=;]+)',
    re.DOTALL,
)
_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


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
    return found[0] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)


def _comment_end(value: str, start: int) -> int:
    depth = 1
    for mark in _COMMENT.finditer(value, start):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return len(value)
