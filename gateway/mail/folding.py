"""Folding of the fields we write ourselves (RFC 5322 section 2.2.3). A field we received is never folded anew."""

from __future__ import annotations

from collections.abc import Iterable

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
