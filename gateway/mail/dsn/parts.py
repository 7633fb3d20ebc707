"""The whole notification: its header, and its three parts."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from enum import StrEnum

from gateway.mail.received import format_date
from gateway.mail.refusal import Blame, Cause, Refusal, classify_outcome
from gateway.model.envelope import Mailbox, Recipient
from gateway.model.reply import Reply
from gateway.model.value import Value


class DsnAction(StrEnum):
    """The result for a recipient (RFC 3464 section 2.3.3). A relay never knows that a message was delivered."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    """Handed to a server that does not offer DSN and so reports nothing further (RFC 3461 section 5.2.2)."""


class Notice(Value):
    """The report about one recipient."""

    rcpt: Recipient
    action: DsnAction
    reply: Reply
    """The last reply: the backend's, or our own words when `remote_mta` is empty."""
    remote_mta: str
    expired: bool = False
    """The recipient failed because its time was over (RFC 3463 X.4.7)."""
    ours: bool = False
    """The reply blames us, not the sender nor the message."""

    @property
    def status(self) -> str:
        """The enhanced code, in the class of the recipient's result: a 5yz that is tried again is not yet a failure."""
        if self.action is DsnAction.RELAYED:
            return f"2.{self.reply.detail or '0.0'}"
        lasting = self.action is DsnAction.FAILED and not self.expired
        return f"{5 if lasting else 4}.{self.reply.detail or '0.0'}"


class Report(Value):
    """The contents of one notification. Times are in epoch seconds."""

    id: str
    """Id of the notification itself, used for its Message-ID and its boundary."""
    hostname: str
    return_path: Mailbox
    message_id: str
    """Our id of the reported message."""
    envid: str
    """ENVID as received, xtext included; empty when the client gave none."""
    arrived: float
    composed: float
    retried_until: float
    header: bytes
    """The header block of the reported message."""
    notices: tuple[Notice, ...]
    verdicts: tuple[str, ...] = ()
    """The results of the checks at our edge, a line each; empty when the message is internal."""
    content: bytes | None = None
    """The whole message, when its sender wants it returned with a failure (RFC 3461 section 4.3)."""


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
    # RFC 3464 section 2.3.5 and 2.3.6: only another server's words are its diagnostic.
    if notice.remote_mta:
        fields.append(_field("Remote-MTA", f"dns; {notice.remote_mta}"))
    kind = "smtp" if notice.remote_mta else "x-waypost"
    fields.append(_field("Diagnostic-Code", *f"{kind}; {shown(notice.reply)}".split("\n")))
    fields.append(_field("Last-Attempt-Date", format_date(report.composed)))
    if notice.action is DsnAction.DELAYED:
        fields.append(_field("Will-Retry-Until", format_date(report.retried_until)))
    if notice.action is not DsnAction.RELAYED:
        refusal = classify_outcome(notice.reply, notice.remote_mta, backend=notice.ours)
        fields.append(_field("X-Waypost-Cause", refusal.cause))
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


_MOST_HEADER = 65536
"""Octets of the returned header; the rest is cut at the end of a line."""
_MOST_CONTENT = 65536
"""Largest whole message, in octets, that is returned; of a larger one only the header is."""
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
    # RFC 3834 section 5: automatic responders do not answer this.
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
    """The To field. It omits a return path beyond ASCII, because the notification itself is ASCII."""
    text = str(mailbox)
    return f"<{clean(text)}>" if text.isascii() else "undisclosed-recipients:;"


def _returned_part(report: Report, edge: bytes) -> tuple[bytes, bytes]:
    """The message, if it is wanted, short and ASCII (a part without an encoding can hold nothing else); otherwise its
    header."""
    content = report.content
    if content is not None and len(content) <= _MOST_CONTENT and _is_plain(content, edge):
        return b"Message", b"Content-Type: message/rfc822\r\n\r\n" + content + b"\r\n"
    return b"Header of the message", _header_part(report.header, edge)


def _is_plain(octets: bytes, edge: bytes) -> bool:
    lines = octets.split(b"\r\n")
    short = max(map(len, lines)) <= _MOST_LINE
    return octets.isascii() and short and not any(_UNPLAIN.search(line) or line.startswith(edge) for line in lines)


def _header_part(header: bytes, edge: bytes) -> bytes:
    """The header as it was received: verbatim when a part in ASCII can hold it, else quoted-printable."""
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


_MOST_NAMED = 100
"""Recipients that the plain text names; the machine-readable part names all."""
_INDENT = "    "
_OPENINGS = (
    (DsnAction.FAILED, "The message could not be delivered to these recipients. It is not tried again."),
    (DsnAction.DELAYED, "The message has not been delivered to these recipients yet."),
    (
        DsnAction.RELAYED,
        "The message was handed to the mail server of these recipients. That server reports no further: you will\n"
        "hear of a failure, but not of the arrival in the mailbox.",
    ),
)
_CHECKS = {Cause.DMARC: "DMARC", Cause.SPF: "SPF", Cause.DKIM: "DKIM", Cause.ARC: "ARC"}
_NOT_YOURS = "It is nothing that you did: the recipient's organisation has to mend it."
_BY_ADMIN = (
    "An administrator of this mail gateway returned the message. The recipient's server did not refuse it. Ask the "
    "administrator, or tell the recipient in another way."
)
_OTHER_WAY = "Send the message again later, or tell the recipient in another way."


def compose_text(report: Report) -> bytes:
    """The whole part, header and body."""
    blocks = [
        f"This is the mail gateway {report.hostname}. It reports on a message that you sent, or\n"
        "that was sent in your name."
    ]
    for action, opening in _OPENINGS:
        notices = [notice for notice in report.notices if notice.action is action]
        if notices:
            blocks.append(opening)
            blocks += [_paragraph(notice, report) for notice in notices[:_MOST_NAMED]]
            if len(notices) > _MOST_NAMED:
                blocks.append(f"And {len(notices) - _MOST_NAMED} more recipients: see the attached report.")
    if any(notice.action is DsnAction.DELAYED for notice in report.notices):
        blocks.append(
            f"You need not send it again. Delivery is tried until {format_date(report.retried_until)}.\n"
            "You will be told if it fails."
        )
    if report.verdicts and any(notice.action is not DsnAction.RELAYED for notice in report.notices):
        found = "\n".join(f"{_INDENT}{verdict}" for verdict in report.verdicts)
        blocks.append(f"When the message arrived at this gateway, it was found:\n{found}")
    blocks.append(f"When you ask for help, quote this id: {report.message_id}")
    lines = (piece for line in "\n\n".join(blocks).split("\n") for piece in cut(clean(line)))
    body = "".join(f"{line}\r\n" for line in lines).encode("ascii")
    return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + body + b"\r\n"


def _paragraph(notice: Notice, report: Report) -> str:
    lines = [f"<{notice.rcpt.mailbox}>"]
    if notice.action is DsnAction.RELAYED:
        return "\n".join((*lines, f"{_INDENT}{notice.remote_mta} took it."))
    if notice.expired:
        days = (report.retried_until - report.arrived) / 86400
        lines.append(f"{_INDENT}It was tried again and again for {days:.3g} days.")
    refusal = classify_outcome(notice.reply, notice.remote_mta, backend=notice.ours)
    said = [_BY_ADMIN] if not notice.remote_mta and refusal.cause is Cause.ADMINISTRATOR else _advise(notice, refusal)
    lines += [f"{_INDENT}{piece}" for sentence in said for piece in wrap(sentence)]
    lines += [f"{_INDENT}{piece}" for piece in wrap(f"{_who(notice, refusal)}:")]
    lines += [f"{_INDENT * 2}{line}" for line in shown(notice.reply).split("\n")]
    return "\n".join(lines)


def _advise(notice: Notice, refusal: Refusal) -> list[str]:
    """The cause, and the sender's remedy. A temporary cause had passed by the time the message failed. When this
    gateway was refused, the sender's administrator cannot fix it."""
    waits = notice.action is DsnAction.DELAYED
    known = refusal.cause is not Cause.UNKNOWN or not waits
    said = [refusal.advice.summary if known else "The recipient's server does not take the message for now."]
    if refusal.cause in _CHECKS:
        said.insert(0, f"It was refused by a check of {_CHECKS[refusal.cause]}.")
    ours = refusal.cause.blame is Blame.CLIENT and (notice.ours or not notice.remote_mta)
    if ours:
        said.append(_NOT_YOURS)
    if not waits:
        said.append(_OTHER_WAY if ours or refusal.cause.blame is Blame.SITE else refusal.advice.sender)
    if refusal.advice.never and not ours:
        said.append(refusal.advice.never)
    return said


def _who(notice: Notice, refusal: Refusal) -> str:
    if not notice.remote_mta:
        return "The reason"
    label = refusal.provider.label
    if refusal.relay is not None:
        behind = f" of {label}" if label else ""
        return f"The server {notice.remote_mta} answered, and passes on what a server{behind} behind it had answered"
    return f"The server {notice.remote_mta}{f' ({label})' if label else ''} answered"


_MOST_DIAGNOSTIC = 2000
"""Characters of a backend's reply that are shown for one recipient."""
_LINE = 76
_HARD_LINE = 900
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def clean(text: str) -> str:
    """Printable ASCII: a reply or an address cannot end a line or begin a field."""
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
