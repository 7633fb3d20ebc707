"""The part of a notification for people: what happened, the true cause in plain words, and what to do about it."""

from __future__ import annotations

from gateway.mail.dates import format_date
from gateway.mail.dsn.characters import clean, cut, shown, wrap
from gateway.mail.dsn.report import DsnAction, Notice, Report
from gateway.mail.refusal import Blame, Cause, Refusal, classify
from gateway.model.reply import REPLIES

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
    refusal = classify(notice.reply, notice.remote_mta, backend=notice.ours)
    said = [_BY_ADMIN] if _is_by_admin(notice) else _advise(notice, refusal)
    lines += [f"{_INDENT}{piece}" for sentence in said for piece in wrap(sentence)]
    lines += [f"{_INDENT}{piece}" for piece in wrap(f"{_who(notice, refusal)}:")]
    lines += [f"{_INDENT * 2}{line}" for line in shown(notice.reply).split("\n")]
    return "\n".join(lines)


def _is_by_admin(notice: Notice) -> bool:
    """An administrator of this gateway returned it: the text of the reply is his reason, no server said it."""
    returned = REPLIES["returned-by-admin"]
    return not notice.remote_mta and (notice.reply.code, notice.reply.detail) == (returned.code, returned.detail)


def _advise(notice: Notice, refusal: Refusal) -> list[str]:
    """What happened, and what the sender can do. What passes by itself has passed when the message fails. Where this
    gateway was refused, the sender's administrator is not the one to mend it."""
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
