"""The DSN of a settlement: whom it may tell, and how it enters the spool as any message does."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from gateway.mail import dsn
from gateway.model.address import Mailbox, ip_text
from gateway.model.decision import Action, Decision
from gateway.model.delivery import Claim, Intake, Trace, Transfer
from gateway.model.envelope import Body, Envelope, Notify, Recipient
from gateway.model.ingress import InternalIngress
from gateway.model.message import Content, Evidence, Message
from gateway.model.reply import REPLIES

_LOOPBACK = ip_text("127.0.0.1")


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
        header=claim.message.evidence.header,
        notices=notices,
    )
    return _take_in(dsn.compose(report), transfer.mail_from, hostname, now, id, backend)


def _take_in(octets: bytes, to: Mailbox, hostname: str, now: float, id: str, backend: str) -> Intake:
    rcpt = Recipient(to)
    wide = not str(to).isascii()
    content = Content(
        size=len(octets),
        sha256=hashlib.sha256(octets).digest(),
        leading_dot=octets.startswith(b".") or b"\r\n." in octets,
        eight_bit=False,
        data=octets,
    )
    evidence = Evidence(octets[: octets.index(b"\r\n\r\n") + 2], (), len(octets))
    trace = Trace(
        id=id,
        received=now,
        edge=None,
        internal=InternalIngress(_LOOPBACK, hostname, "", _LOOPBACK, trusted_by="dsn"),
        envelope=Envelope(None, (rcpt,), smtputf8=wide),  # RFC 3461 section 6.1: from the null reverse-path
        evidence=evidence,
        content=replace(content, data=None, path=""),
        dropped=(),
        authentication=None,
        lookups=(),
        decision=Decision(Action.ACCEPT, "dsn", "invariant", REPLIES["accepted"]),
        routes=((str(to), backend),),
        added=(),
    )
    transfer = Transfer(
        id=f"{id}-{backend}",
        message_id=id,
        backend=backend,
        mail_from=None,
        rcpts=(rcpt,),
        prefix=b"",
        body=Body.SEVEN_BIT,
        smtputf8=wide,
        ret=None,
        envid="",
        created=now,
        due=now,
    )
    return Intake(trace, Message(content, evidence), (transfer,), claimed=False)
