"""Text from elsewhere, made fit for a notification: printable ASCII in lines that SMTP can carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.model.reply import Reply

_MOST_DIAGNOSTIC = 2000
"""Characters of a backend's reply that are shown for one recipient."""
_LINE = 76
_HARD_LINE = 900
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def clean(text: str) -> str:
    """Printable ASCII: nothing in a reply or an address can end a line or begin a field."""
    ascii_text = text.encode("ascii", "backslashreplace").decode("ascii")
    return ascii_text if ascii_text.isprintable() else _CONTROL.sub("?", ascii_text)


def cut(line: str) -> Iterable[str]:
    """The line in pieces that SMTP can carry."""
    return (line[at : at + _HARD_LINE] for at in range(0, max(len(line), 1), _HARD_LINE))


def wrap(line: str) -> Iterable[str]:
    """Pieces that fit into a line, cut at spaces where there are any."""
    while len(line) > _LINE:
        at = line.rfind(" ", 1, _LINE)
        if at < 0:
            at = line.find(" ", _LINE, _HARD_LINE)
        if at < 0:
            at = min(len(line), _HARD_LINE)
        yield line[:at]
        line = line[at:].lstrip(" ")
    yield line


def shown(reply: Reply) -> str:
    """A reply as it is quoted, lines separated by LF."""
    return str(Reply(reply.code, reply.detail, reply.text[:_MOST_DIAGNOSTIC]))
