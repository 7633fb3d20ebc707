"""Invariant: any line is a command, a reply that refuses it, or the end of the session; never an exception.

Accepted names, paths and parameters contain no control character and can be sent on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.mail.path import parse_path
from gateway.model.envelope import Envelope
from gateway.model.reply import Reply
from gateway.service.listener import EXTENSIONS
from gateway.service.listener.inflow import SessionOver
from gateway.service.listener.parameters import is_client_name, read_chunk, read_command, read_recipient, read_sender
from tests.fuzz.plans import Plan, planned

PIECES = (
    *(b"EHLO ", b"HELO ", b"MAIL FROM:", b"RCPT TO:", b"mail from:", b"BDAT ", b"LAST", b"last", b"STARTTLS", b"AUTH "),
    *(b"<", b">", b"<>", b"<a@b.example>", b"@", b".", b",", b":", b'"', b"\\", b"[", b"]", b"(", b")", b" ", b"  "),
    *(b"a", b"b.example", b"xn--", b"192.0.2.1", b"IPv6:::1", b"postmaster", b"=", b";", b"+", b"-", b"_", b"%"),
    *(b"SIZE=", b"BODY=", b"8BITMIME", b"SMTPUTF8", b"RET=", b"FULL", b"ENVID=", b"NOTIFY=", b"NEVER", b"SUCCESS,"),
    *(b"ORCPT=rfc822;", b"+2B", b"0", b"1", b"9" * 15, b"9" * 25, b"\t", b"\r", b"\0", b"\x7f", b"\x1b["),
    *("ü".encode(), "\u2028".encode(), "\u200d".encode(), "\u3002".encode(), "\uff41".encode(), b"\xff", b"\xed\xa0"),
    *(b"GET / HTTP/1.1", b"PROXY TCP4", b"\xc2\x85", b"a" * 300),
)
PARAMETERS = (
    *(
        b" SIZE=",
        b" BODY=",
        b" SMTPUTF8",
        b" RET=",
        b" ENVID=",
        b" NOTIFY=",
        b" ORCPT=",
        b" AUTH=<>",
        b" X=",
        b" size=",
    ),
    *(b"1", b"0", b"7BIT", b"8BITMIME", b"FULL", b"HDRS", b"NEVER", b"SUCCESS", b"DELAY", b",", b"rfc822;", b"a+2B@b"),
    *(b" ", b"=", b"+", b"\xff", "ü".encode(), b"x" * 120),
)
PATHS = (
    b"<>",
    b"<a@b.example>",
    b"<postmaster>",
    "<ü@b.example>".encode(),
    b'<"a b"@[192.0.2.1]>',
    b"<@x:a@b>",
    b"<a>",
)
T = TypeVar("T")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def is_clean(text: str) -> bool:
    text.encode()  # no lone surrogates: it can be sent on
    return not CONTROL.search(text)


def attempt(read: Callable[[T], tuple[Any, Any]], value: T) -> tuple[Any, Any] | Reply:
    """The value read, or the reply that ends the session."""
    try:
        return read(value)
    except SessionOver as over:
        if over.reply is None:
            raise
        return over.reply


@planned(share=2)
def test_any_line(plan: Plan) -> None:
    line = plan.join(PIECES, 12)
    command = attempt(read_command, line)
    if isinstance(command, Reply):
        assert command.permanent
        return
    verb, argument = command
    assert "\n" not in argument
    assert "\r" not in argument
    assert verb == verb.upper()
    if is_client_name(argument):
        assert is_clean(argument)
        assert not set(argument) & set(" ()<>\\")
    chunk = attempt(read_chunk, argument)
    assert chunk.code == 501 if isinstance(chunk, Reply) else 0 <= chunk[0] < 10**15
    for keyword in ("FROM", "TO"):
        look(argument, keyword, smtputf8=False)


@planned(share=2)
def test_any_parameters(plan: Plan) -> None:
    keyword = plan.pick(("FROM", "TO"))
    argument = f"{keyword}:".encode() + plan.pick(PATHS) + plan.join(PARAMETERS, 10)
    look(argument.decode("utf-8", "surrogateescape"), keyword, smtputf8=bool(plan.number(2)))


def look(argument: str, keyword: str, smtputf8: bool) -> None:
    path = parse_path(argument, keyword)
    if path is None:
        return
    if keyword == "TO":
        recipient = read_recipient(path, EXTENSIONS, smtputf8)
        if isinstance(recipient, Reply):
            assert recipient.permanent
            return
        assert is_clean(str(recipient.mailbox) + recipient.orcpt)
        assert " " not in recipient.orcpt
        assert smtputf8 or str(recipient.mailbox).isascii()
        return
    read = read_sender(path, EXTENSIONS, 1000)
    if isinstance(read, Reply):
        assert read.permanent
        return
    envelope, size = read
    assert isinstance(envelope, Envelope)
    assert size is None or 0 <= size <= 1000
    assert is_clean(str(envelope.mail_from or "") + envelope.envid)
    assert envelope.envid.isascii()
    assert " " not in envelope.envid
    assert envelope.smtputf8 or str(envelope.mail_from or "").isascii()
