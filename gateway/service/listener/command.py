"""A command line, read: its verb, its argument, and the few arguments that are not paths."""

from __future__ import annotations

import re

from gateway.model.address import IPText
from gateway.model.reply import Reply
from gateway.service.listener.inflow import SessionOver

COMMAND_OCTETS = 2048
"""RFC 5321 section 4.5.3.1.4 asks for 512; RFC 3461 section 5 and RFC 6531 section 3.4 add to that."""

NOT_HERE = Reply(502, "5.1", "Command not implemented")
CONSTANT = {
    "NOOP": Reply(250, "0.0", "OK"),
    "QUIT": Reply(221, "0.0", "Bye"),
    "HELP": Reply(214, "0.0", "See RFC 5321"),
    "VRFY": Reply(252, "0.0", "Cannot verify a user, but will take mail and try"),
    "EXPN": NOT_HERE,
}
"""Commands whose reply is always the same."""

BEFORE_TLS = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "RSET", "QUIT", "BDAT", "AUTH"})
"""What is not refused where TLS is required (RFC 3207 section 4); BDAT refuses when it has read its chunk, and AUTH
has a reply of its own for it."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FOREIGN = frozenset({b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PROXY"})
"""HTTP that a web page was made to send us, and PROXY headers of balancers that are not listed."""
_CLIENT_NAME = re.compile(r"[!#-'*-:=?-\[\]-~]{1,255}")
"""Printable, and nothing that nests or ends anything where the name is written down (comments of Received)."""
_CHUNK = re.compile(r"([0-9]{1,15})(?: +(LAST))?", re.ASCII | re.IGNORECASE)


def read_command(line: bytes) -> tuple[str, str]:
    """The verb in upper case and the argument. Raises SessionOver for what no SMTP client sends.

    Octets that are not UTF-8 become lone surrogates, which no argument allows.
    """
    verb, _, argument = line.partition(b" ")
    verb = verb.upper()
    if _CONTROL.search(line):
        raise SessionOver(Reply(500, "5.2", "Command line has a control character"), "control-character")
    if verb in _FOREIGN:
        raise SessionOver(Reply(554, "5.1", "This is not SMTP"), "not-smtp")
    return verb.decode("ascii", "replace"), argument.decode("utf-8", "surrogateescape").strip(" ")


def is_client_name(name: str) -> bool:
    """It may be what a client calls itself: whether the name is true is not asked (RFC 5321 section 4.1.4)."""
    return bool(_CLIENT_NAME.fullmatch(name))


def read_client_name(name: str, any: bool, client: IPText | None) -> str:
    """What the client calls itself; empty when it may not. Where `any` name will do, because it proves nothing there,
    the client's address stands in place of one that cannot be (RFC 5321 section 4.1.3)."""
    if is_client_name(name):
        return name
    if not any or not name or client is None:
        return ""
    return f"[IPv6:{client}]" if ":" in client else f"[{client}]"


def read_chunk(argument: str) -> tuple[int, bool]:
    """BDAT's octets, and whether the chunk is the last (RFC 3030 section 2).

    Raises SessionOver when it is malformed: where the chunk ends is not known, so nothing behind it can be read.
    """
    found = _CHUNK.fullmatch(argument)
    if not found:
        raise SessionOver(Reply(501, "5.4", "Syntax: BDAT size [LAST]"))
    return int(found[1]), bool(found[2])
