"""Delivery status notifications: multipart/report of RFC 6522 with the fields of RFC 3464, in ASCII with CRLFs."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gateway.mail.received import format_date
from gateway.model.address import Mailbox
from gateway.model.envelope import Recipient
from gateway.model.reply import Reply

_MOST_HEADER = 65536
"""Octets of the returned header; what is beyond is left out at the end of a line."""
_MOST_DIAGNOSTIC = 2000
"""Characters of a backend's reply that are shown for one recipient."""
_MOST_NAMED = 100
"""Recipients that the plain text names; the machine-readable part names all."""
_LINE = 76
_HARD_LINE = 900
_MOST_LINE = 998
"""RFC 5322 section 2.1.1, without CRLF."""
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"[\\+=\x00-\x20\x7f-\U0010ffff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNPLAIN = re.compile(rb"[\x00\r\n]|^--=_")
_SPF = re.compile(r"\bSPF\b|v=spf1|include:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said of one recipient."""

    rcpt: Recipient
    action: Literal["failed", "delayed"]
    reply: Reply
    """The last reply: the backend's, or in our own words when `remote_mta` is empty."""
    remote_mta: str
    expired: bool = False
    """It failed because its time was over (RFC 3463 X.4.7)."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that one notification says. Times are in epoch seconds."""

    id: str
    """Id of the notification itself: makes its Message-ID and its boundary."""
    hostname: str
    return_path: Mailbox
    message_id: str
    """Our id of the message reported on."""
    envid: str
    """ENVID as received, xtext included; empty when there was none."""
    arrived: float
    composed: float
    retried_until: float
    header: bytes
    """The header block of the message reported on."""
    notices: tuple[Notice, ...]


def compose(report: Report) -> bytes:
    """The whole notification, header and body."""
    boundary = f"=_{report.id}_"
    parts = (
        b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + _text_part(report),
        b"Content-Type: message/delivery-status\r\n\r\n" + _status_part(report),
        _header_part(report.header),
    )
    edge = f"--{boundary}".encode()
    named = zip(_DESCRIPTIONS, parts, strict=True)
    body = b"".join(edge + b"\r\nContent-Description: " + name + b"\r\n" + part for name, part in named)
    return _header(report, boundary) + b"\r\n" + body + edge + b"--\r\n"


_DESCRIPTIONS = (b"Notification", b"Delivery report", b"Header of the message")


def _header(report: Report, boundary: str) -> bytes:
    failed = any(notice.action == "failed" for notice in report.notices)
    # RFC 3834 section 5: nothing answers this automatically.
    lines = [
        f"Date: {format_date(report.composed)}",
        f"From: Mail Delivery System <mailer-daemon@{report.hostname}>",
        f"To: {_to(report.return_path)}",
        f"Subject: {'Message not delivered' if failed else 'Message delayed, still being sent'}",
        f"Message-ID: <{report.id}@{report.hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


def _to(mailbox: Mailbox) -> str:
    """A return path beyond ASCII stays out of the header: the notification itself is ASCII."""
    text = str(mailbox)
    return f"<{_clean(text)}>" if text.isascii() else "undisclosed-recipients:;"


def _text_part(report: Report) -> bytes:
    blocks = [
        f"This is the mail gateway {report.hostname}. It reports on a message that you sent, or\n"
        "that was sent in your name."
    ]
    for action, opening in _OPENINGS:
        notices = [notice for notice in report.notices if notice.action == action]
        if notices:
            blocks.append(opening)
            blocks += [_paragraph(notice, report) for notice in notices[:_MOST_NAMED]]
            if len(notices) > _MOST_NAMED:
                blocks.append(f"And {len(notices) - _MOST_NAMED} more recipients: see the attached report.")
    if any(notice.action == "delayed" for notice in report.notices):
        blocks.append(
            f"You need not send it again. Delivery is tried until {format_date(report.retried_until)}.\n"
            "You will be told if it fails."
        )
    if any(_SPF.search(notice.reply.text) for notice in report.notices):
        blocks.append(
            "The answer above speaks of SPF. The receiving side made that check behind this gateway, where SPF has\n"
            "no data about you: SPF is checked where a message arrives first. Do not change your SPF record because\n"
            "of it; the recipient's administrator can correct the check."
        )
    blocks.append(f"When you ask for help, quote this id: {report.message_id}")
    lines = (piece for line in "\n\n".join(blocks).split("\n") for piece in _cut(_clean(line)))
    return "".join(f"{line}\r\n" for line in lines).encode("ascii") + b"\r\n"


_OPENINGS = (
    ("failed", "The message could not be delivered to these recipients. It is not tried again."),
    ("delayed", "The message has not been delivered to these recipients yet."),
)


def _paragraph(notice: Notice, report: Report) -> str:
    who = f"The server {notice.remote_mta} answered" if notice.remote_mta else "The reason"
    days = (report.retried_until - report.arrived) / 86400
    lines = [f"<{notice.rcpt.mailbox}>"]
    if notice.expired:
        lines.append(f"    It was tried again and again for {days:.3g} days.")
    lines.append(f"    {_explain(notice)}")
    lines += [f"    {who}:", *(f"        {line}" for line in str(_shown(notice.reply)).split("\n"))]
    return "\n".join(lines)


_EXPLANATIONS = (
    # how the status begins, plain words and the next step
    ("5.1.10", "The recipient's domain takes no mail. Check the part of the address after the @."),
    ("5.1.2", "The recipient's domain does not exist. Check the part of the address after the @."),
    ("5.1.1", "This mailbox does not exist. Check the address for a slip, or ask the recipient for the right one."),
    ("5.1.", "The address was refused. Check it for a slip, or ask the recipient for the right one."),
    ("5.2.2", "The mailbox is full. Tell the recipient in another way, and send the message again later."),
    ("5.2.", "The mailbox takes no mail. Tell the recipient in another way."),
    ("5.3.4", "The message is too big for the recipient's server. Send it in parts, or share the files by a link."),
    ("5.4.6", "The message went in a circle. The administrator of the recipient's domain must correct its routing."),
    ("5.6.", "The recipient's server cannot take this message unaltered, and it is never altered here."),
    ("5.7.", "The recipient's server refused the message by its rules. Its answer says why."),
    ("5.", "The recipient's server refused the message for good. Its answer says why."),
    ("4.4.", "The recipient's server could not be reached or did not answer."),
    ("4.7.", "The recipient's server does not take the message for now. Its answer says why."),
    ("4.", "The recipient's server could not take the message for now."),
)


def _explain(notice: Notice) -> str:
    return next(text for start, text in _EXPLANATIONS if _shown_status(notice).startswith(start))


def _shown_status(notice: Notice) -> str:
    """The enhanced code, in the class of what became of the recipient: a 5yz that is tried again is no failure yet."""
    lasting = notice.action == "failed" and not notice.expired
    return f"{5 if lasting else 4}.{notice.reply.detail or '0.0'}"


def _status_part(report: Report) -> bytes:
    block = _field("Reporting-MTA", f"dns; {report.hostname}")
    if report.envid:
        block += _field("Original-Envelope-Id", _decode_xtext(report.envid))
    block += _field("Arrival-Date", format_date(report.arrived)) + _field("X-Waypost-Id", report.message_id)
    return b"\r\n".join([block, *(_status_fields(notice, report) for notice in report.notices)]) + b"\r\n"


def _status_fields(notice: Notice, report: Report) -> bytes:
    """The fields of one recipient (RFC 3464 section 2.3)."""
    fields = []
    if notice.rcpt.orcpt:
        type, _, address = notice.rcpt.orcpt.partition(";")
        fields.append(_field("Original-Recipient", f"{type}; {_decode_xtext(address)}"))
    fields += [
        _field("Final-Recipient", _typed_address(notice.rcpt.mailbox)),
        _field("Action", notice.action),
        _field("Status", "4.4.7" if notice.expired else _shown_status(notice)),
    ]
    # RFC 3464 section 2.3.5 and 2.3.6: only what another server said is its diagnostic.
    if notice.remote_mta:
        fields.append(_field("Remote-MTA", f"dns; {notice.remote_mta}"))
    kind = "smtp" if notice.remote_mta else "x-waypost"
    fields.append(_field("Diagnostic-Code", *f"{kind}; {_shown(notice.reply)}".split("\n")))
    fields.append(_field("Last-Attempt-Date", format_date(report.composed)))
    if notice.action == "delayed":
        fields.append(_field("Will-Retry-Until", format_date(report.retried_until)))
    return b"".join(fields)


def _field(name: str, *lines: str) -> bytes:
    """One field; each further line is a continuation."""
    pieces = [piece for line in lines for piece in _wrap(_clean(line)) if piece.strip()]
    joined = "\r\n ".join(pieces)
    return f"{name}: {joined}\r\n".encode("ascii")


def _clean(text: str) -> str:
    """Printable ASCII: nothing in a reply or an address can end a line or begin a field."""
    ascii_text = text.encode("ascii", "backslashreplace").decode("ascii")
    return ascii_text if ascii_text.isprintable() else _CONTROL.sub("?", ascii_text)


def _cut(line: str) -> Iterable[str]:
    """The line in pieces that SMTP can carry."""
    return (line[at : at + _HARD_LINE] for at in range(0, max(len(line), 1), _HARD_LINE))


def _wrap(line: str) -> Iterable[str]:
    """Pieces that fit into a line, cut at spaces where there are any."""
    while len(line) > _LINE:
        cut = line.rfind(" ", 1, _LINE)
        if cut < 0:
            cut = line.find(" ", _LINE, _HARD_LINE)
        if cut < 0:
            cut = min(len(line), _HARD_LINE)
        yield line[:cut]
        line = line[cut:].lstrip(" ")
    yield line


def _shown(reply: Reply) -> Reply:
    return Reply(reply.code, reply.detail, reply.text[:_MOST_DIAGNOSTIC])


def _typed_address(mailbox: Mailbox) -> str:
    text = str(mailbox)
    if text.isascii():
        return f"rfc822; {text}"
    # RFC 6533 section 3: utf-8-addr-xtext, fit for a part in ASCII
    return "utf-8; " + _UTF8_XTEXT.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", text)


def _decode_xtext(text: str) -> str:
    """RFC 3461 section 4."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)


def _header_part(header: bytes) -> bytes:
    """The header as it was received, verbatim where a part in ASCII can hold it, else quoted-printable."""
    if len(header) > _MOST_HEADER:
        header = header[: header.rfind(b"\r\n", 0, _MOST_HEADER) + 2]
    lines = header.split(b"\r\n")
    plain = header.isascii() and max(map(len, lines)) <= _MOST_LINE and not any(map(_UNPLAIN.search, lines))
    if plain:
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + header + b"\r\n"
    encoded = b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in lines)
    return (
        b"Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + encoded
        + b"\r\n"
    )
