"""The DSN of a settlement: whom it may tell, and of what."""

from __future__ import annotations

from gateway.mail import dsn
from gateway.model.delivery import Claim, Intake, Transfer
from gateway.model.envelope import Notify, Recipient, Ret
from gateway.model.message import Message
from gateway.plan.own_mail import post


def why_withheld(transfer: Transfer, rcpt: Recipient) -> str:
    """Why no DSN may be sent about a failure; empty when it may (promise P6)."""
    if transfer.mail_from is None:
        return "null return path"  # RFC 5321 section 6.1
    if not transfer.return_path_verified:
        return "return path not verified"
    if rcpt.notify and Notify.FAILURE not in rcpt.notify:
        return "sender asked for none"  # RFC 3461 section 4.1
    return ""


def may_warn(transfer: Transfer, rcpt: Recipient) -> bool:
    """A DSN may say that delivery takes long."""
    wanted = not rcpt.notify or Notify.DELAY in rcpt.notify
    return wanted and transfer.mail_from is not None and transfer.return_path_verified


def may_confirm(transfer: Transfer, rcpt: Recipient) -> bool:
    """A DSN may say that the message was handed on: only where the sender asked for it (RFC 3461 section 4.1)."""
    return Notify.SUCCESS in rcpt.notify and transfer.mail_from is not None and transfer.return_path_verified


def make_dsn(
    claim: Claim, notices: tuple[dsn.Notice, ...], hostname: str, expire: float, now: float, id: str, backend: str
) -> Intake | None:
    """The DSN with these notices, as an Intake; None when there is nothing to tell, or nobody."""
    transfer = claim.transfer
    if transfer.mail_from is None or not notices:
        return None
    report = dsn.Report(
        id=id,
        hostname=hostname,
        return_path=transfer.mail_from,
        message_id=transfer.message_id,
        envid=transfer.envid,
        arrived=transfer.created,
        composed=now,
        retried_until=transfer.created + expire,
        header=_as_sent(claim.message, claim.message.evidence.header),
        notices=notices,
        verdicts=transfer.verdicts,
        content=_wanted_back(claim, notices),
    )
    return post(dsn.compose(report), transfer.mail_from, "dsn", hostname, now, id, backend)


def _wanted_back(claim: Claim, notices: tuple[dsn.Notice, ...]) -> bytes | None:
    """RET=FULL speaks of failures only (RFC 3461 section 4.3). Content in a file is far too large to be returned."""
    data = claim.message.content.data
    failed = any(notice.action is dsn.DsnAction.FAILED for notice in notices)
    return _as_sent(claim.message, data) if data is not None and failed and claim.transfer.ret is Ret.FULL else None


def _as_sent(message: Message, octets: bytes) -> bytes:
    """What is left out of a message that is sent, a tenant's secret above all, is told to nobody in a DSN either."""
    kept, at = [], 0
    for span in sorted(message.dropped, key=lambda span: span.start):
        kept.append(octets[at : span.start])
        at = span.end
    return b"".join((*kept, octets[at:]))
