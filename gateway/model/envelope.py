"""The SMTP envelope (RFC 5321 section 2.3.1) with its DSN parameters (RFC 3461)."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.address import Mailbox
from gateway.model.value import Value


class Body(StrEnum):
    """The BODY parameter of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Ret(StrEnum):
    """How much of the message a DSN should return (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(StrEnum):
    """When the sender wants a DSN (RFC 3461 section 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Recipient(Value):
    """One forward-path and its parameters."""

    mailbox: Mailbox
    notify: tuple[Notify, ...] = ()
    """Empty when the client gave none (then failures are reported)."""
    orcpt: str = ""
    """ORCPT exactly as received, xtext included."""


class Envelope(Value):
    """A mail transaction's envelope. `mail_from` None is the null reverse-path, and None means nothing else."""

    mail_from: Mailbox | None
    rcpts: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str = ""
