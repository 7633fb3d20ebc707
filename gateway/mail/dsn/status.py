"""The part of a notification for programs (RFC 3464 section 2)."""

from __future__ import annotations

import re

from gateway.mail.dates import format_date
from gateway.mail.dsn.characters import clean, shown, wrap
from gateway.mail.dsn.report import DsnAction, Notice, Report
from gateway.mail.refusal import classify
from gateway.model.address import Mailbox

_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"[\\+=\x00-\x20\x7f-\U0010ffff]")


def compose_status(report: Report) -> bytes:
    """The whole part, header and body."""
    block = _field("Reporting-MTA", f"dns; {report.hostname}")
    if report.envid:
        block += _field("Original-Envelope-Id", _decode_xtext(report.envid))
    block += _field("Arrival-Date", format_date(report.arrived)) + _field("X-Waypost-Id", report.message_id)
    blocks = [block, *(_recipient(notice, report) for notice in report.notices)]
    return b"Content-Type: message/delivery-status\r\n\r\n" + b"\r\n".join(blocks) + b"\r\n"


def _recipient(notice: Notice, report: Report) -> bytes:
    """The fields of one recipient (RFC 3464 section 2.3)."""
    fields = []
    if notice.rcpt.orcpt:
        type, _, address = notice.rcpt.orcpt.partition(";")
        fields.append(_field("Original-Recipient", f"{type}; {_decode_xtext(address)}"))
    fields += [
        _field("Final-Recipient", _typed_address(notice.rcpt.mailbox)),
        _field("Action", notice.action),
        _field("Status", "4.4.7" if notice.expired else notice.status),
    ]
    # RFC 3464 section 2.3.5 and 2.3.6: only what another server said is its diagnostic.
    if notice.remote_mta:
        fields.append(_field("Remote-MTA", f"dns; {notice.remote_mta}"))
    kind = "smtp" if notice.remote_mta else "x-waypost"
    fields.append(_field("Diagnostic-Code", *f"{kind}; {shown(notice.reply)}".split("\n")))
    fields.append(_field("Last-Attempt-Date", format_date(report.composed)))
    if notice.action is DsnAction.DELAYED:
        fields.append(_field("Will-Retry-Until", format_date(report.retried_until)))
    if notice.action is not DsnAction.RELAYED:
        fields.append(_field("X-Waypost-Cause", classify(notice.reply, notice.remote_mta, backend=notice.ours).cause))
    return b"".join(fields)


def _field(name: str, *lines: str) -> bytes:
    """One field; each further line is a continuation."""
    pieces = [piece for line in lines for piece in wrap(clean(line)) if piece.strip()]
    joined = "\r\n ".join(pieces)
    return f"{name}: {joined}\r\n".encode("ascii")


def _typed_address(mailbox: Mailbox) -> str:
    text = str(mailbox)
    if text.isascii():
        return f"rfc822; {text}"
    # RFC 6533 section 3: utf-8-addr-xtext, fit for a part in ASCII
    return "utf-8; " + _UTF8_XTEXT.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", text)


def _decode_xtext(text: str) -> str:
    """RFC 3461 section 4."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
