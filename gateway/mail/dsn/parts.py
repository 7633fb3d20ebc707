"""The whole notification: its header, and its three parts."""

from __future__ import annotations

import binascii
import re

from gateway.mail.dates import format_date
from gateway.mail.dsn.characters import clean
from gateway.mail.dsn.report import DsnAction, Report
from gateway.mail.dsn.status import compose_status
from gateway.mail.dsn.text import compose_text
from gateway.model.address import Mailbox

_MOST_HEADER = 65536
"""Octets of the returned header; what is beyond is left out at the end of a line."""
_MOST_CONTENT = 65536
"""Octets of the whole message that are returned; of a larger one the header is."""
_MOST_LINE = 998
"""RFC 5322 section 2.1.1, without CRLF."""
_UNPLAIN = re.compile(rb"[\x00\r\n]")
_SUBJECTS = (
    (DsnAction.FAILED, "Message not delivered"),
    (DsnAction.DELAYED, "Message delayed, still being sent"),
    (DsnAction.RELAYED, "Message handed on"),
)


def compose(report: Report) -> bytes:
    """The whole notification, header and body."""
    boundary = f"=_{report.id}_"
    edge = f"--{boundary}".encode()
    parts = (
        (b"Notification", compose_text(report)),
        (b"Delivery report", compose_status(report)),
        _returned_part(report, edge),
    )
    body = b"".join(edge + b"\r\nContent-Description: " + name + b"\r\n" + part for name, part in parts)
    return _header(report, boundary) + b"\r\n" + body + edge + b"--\r\n"


def _header(report: Report, boundary: str) -> bytes:
    actions = {notice.action for notice in report.notices}
    # RFC 3834 section 5: nothing answers this automatically.
    lines = [
        f"Date: {format_date(report.composed)}",
        f"From: Mail Delivery System <mailer-daemon@{report.hostname}>",
        f"To: {_to(report.return_path)}",
        f"Subject: {next(subject for action, subject in _SUBJECTS if action in actions)}",
        f"Message-ID: <{report.id}@{report.hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


def _to(mailbox: Mailbox) -> str:
    """A return path beyond ASCII stays out of the header: the notification itself is ASCII."""
    text = str(mailbox)
    return f"<{clean(text)}>" if text.isascii() else "undisclosed-recipients:;"


def _returned_part(report: Report, edge: bytes) -> tuple[bytes, bytes]:
    """The message where it is wanted, short, and ASCII, which is all that a part without an encoding can hold; else
    its header."""
    content = report.content
    if content is not None and len(content) <= _MOST_CONTENT and _is_plain(content, edge):
        return b"Message", b"Content-Type: message/rfc822\r\n\r\n" + content + b"\r\n"
    return b"Header of the message", _header_part(report.header, edge)


def _is_plain(octets: bytes, edge: bytes) -> bool:
    lines = octets.split(b"\r\n")
    short = max(map(len, lines)) <= _MOST_LINE
    return octets.isascii() and short and not any(_UNPLAIN.search(line) or line.startswith(edge) for line in lines)


def _header_part(header: bytes, edge: bytes) -> bytes:
    """The header as it was received, verbatim where a part in ASCII can hold it, else quoted-printable."""
    if len(header) > _MOST_HEADER:
        header = header[: header.rfind(b"\r\n", 0, _MOST_HEADER) + 2]
    if _is_plain(header, edge):
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + header + b"\r\n"
    lines = (binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in header.split(b"\r\n"))
    encoded = b"\r\n".join(lines)
    return (
        b"Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + encoded
        + b"\r\n"
    )
