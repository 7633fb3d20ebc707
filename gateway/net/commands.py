"""MAIL and RCPT as octets, and what a host cannot take as it is: it is refused, never converted (promise P2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.model.address import Mailbox
from gateway.model.delivery import Claim, Transfer
from gateway.model.envelope import Body, Recipient
from gateway.model.reply import Reply
from gateway.model.route import Capabilities
from gateway.net.outcomes import Unsendable
from gateway.net.wire import is_stuffed, wire_size

# A quoted local part may hold a space (RFC 5321 section 4.1.2); nothing else here may, and no control character at all.
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
_WORD = r'[^\s"<>@\x00-\x1f\x7f]+'
_MAILBOX = re.compile(f"(?:{_QUOTED}|{_WORD})(?:@{_WORD})?")
_PARAMETER = re.compile(r"[^\s\x00-\x1f\x7f]+")

Extensions = Mapping[str, str]
"""What the host offered in EHLO: lower-case keyword to parameters."""


def uses_chunks(claim: Claim, extensions: Extensions) -> bool:
    """The content goes by BDAT (RFC 3030): DATA cannot carry it, or would put dots in that are not there."""
    return "chunking" in extensions and (claim.message.content.chunks_only or is_stuffed(claim))


def mail_argument(claim: Claim, extensions: Extensions) -> bytes:
    """All that follows `MAIL `. Raises Unsendable for what this host cannot take for any recipient."""
    transfer = claim.transfer
    utf8 = _needs_utf8(claim, extensions)
    words = ["FROM:" + _path(transfer.rewritten or transfer.mail_from, "1.7", extensions)]
    if "8bitmime" in extensions:
        if transfer.body is Body.EIGHT_BIT or _eight_bit(claim):
            words.append("BODY=8BITMIME")
    elif _eight_bit(claim):
        # RFC 6152 section 3: convert or fail; converting would break signatures.
        raise Unsendable(Reply(554, "6.3", "The next hop takes no 8-bit content and it is not converted"))
    if claim.message.content.chunks_only and "chunking" not in extensions:
        raise Unsendable(Reply(554, "6.1", "The next hop takes no BDAT, and DATA cannot carry this content unaltered"))
    if "size" in extensions:
        size = wire_size(transfer.prefix, claim.message)
        _check_size(size, extensions["size"])
        words.append(f"SIZE={size}")
    if utf8:
        words.append("SMTPUTF8")
    if "dsn" in extensions:
        # RFC 3461 section 4.3 and 4.4
        words += [f"RET={transfer.ret}"] if transfer.ret else []
        words += _parameter("ENVID", transfer.envid, extensions)
    return " ".join(words).encode()


def rcpt_argument(rcpt: Recipient, extensions: Extensions) -> bytes:
    """All that follows `RCPT `. Raises Unsendable for what this host cannot take for this recipient."""
    words = ["TO:" + _path(rcpt.mailbox, "1.3", extensions)]
    if "dsn" in extensions:
        # RFC 3461 section 4.1 and 4.2
        words += ["NOTIFY=" + ",".join(rcpt.notify)] if rcpt.notify else []
        words += _parameter("ORCPT", rcpt.orcpt, extensions)
    return " ".join(words).encode()


def read_capabilities(extensions: Extensions) -> Capabilities:
    """What the host takes, as far as recipients can be refused for it."""
    return Capabilities(_size_limit(extensions.get("size", "")), "smtputf8" in extensions, "chunking" in extensions)


def _path(mailbox: Mailbox | None, malformed: str, extensions: Extensions) -> str:
    if mailbox is None:
        return "<>"
    text = str(mailbox)
    if not _MAILBOX.fullmatch(text) or not _encodable(text):
        raise Unsendable(Reply(553, malformed, "The address cannot be written in an SMTP command"))
    if not text.isascii() and "smtputf8" not in extensions:
        # RFC 6531 section 3.5
        raise Unsendable(Reply(553, "6.7", "The next hop takes no addresses outside ASCII"))
    return f"<{text}>"


def _parameter(name: str, value: str, extensions: Extensions) -> list[str]:
    """The parameter exactly as it came, or nothing: a value outside ASCII cannot go to a host without SMTPUTF8 (RFC
    6533 section 3), and it is no part of the message."""
    if not value or (not value.isascii() and "smtputf8" not in extensions):
        return []
    if not _PARAMETER.fullmatch(value) or not _encodable(value):
        raise Unsendable(Reply(501, "5.4", f"The value of {name} cannot be written in an SMTP command"))
    return [f"{name}={value}"]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _needs_utf8(claim: Claim, extensions: Extensions) -> bool:
    """True when SMTPUTF8 is to be said. What does not need it goes to a host without it as well (RFC 6531 section
    3.1); each address is judged where it is written."""
    if "smtputf8" in extensions:
        return claim.transfer.smtputf8 or _has_utf8_address(claim.transfer)
    if claim.transfer.smtputf8 and not (claim.message.evidence.header.isascii() and claim.transfer.prefix.isascii()):
        raise Unsendable(Reply(554, "6.9", "The next hop takes no header fields outside ASCII"))
    return False


def _has_utf8_address(transfer: Transfer) -> bool:
    mailboxes = [rcpt.mailbox for rcpt in transfer.rcpts] + ([transfer.mail_from] if transfer.mail_from else [])
    return any(not str(mailbox).isascii() for mailbox in mailboxes)


def _eight_bit(claim: Claim) -> bool:
    return claim.message.content.eight_bit or not claim.transfer.prefix.isascii()


def _check_size(size: int, parameters: str) -> None:
    limit = _size_limit(parameters)
    if 0 < limit < size:
        raise Unsendable(Reply(552, "3.4", f"The message has {size} octets, the next hop takes {limit}"))


def _size_limit(parameters: str) -> int:
    # RFC 1870 section 4: 0 or nothing means no fixed limit is known.
    limit = parameters.strip()
    return int(limit[:18]) if limit.isdecimal() else 0
