"""Mail of our own, DSNs and alarms: it enters the spool like any other message."""

from __future__ import annotations

import hashlib

from gateway.model.decision import Action, Decision
from gateway.model.delivery import TRACE_VERSION, Intake, Trace, Transfer
from gateway.model.envelope import Body, Envelope, Mailbox, Recipient, ip_text
from gateway.model.ingress import InternalIngress
from gateway.model.message import Content, Evidence, Message
from gateway.model.reply import REPLIES
from gateway.model.value import replace

_LOOPBACK = ip_text("127.0.0.1")


def post(octets: bytes, to: Mailbox, kind: str, hostname: str, now: float, id: str, backend: str) -> Intake:
    """A message in ASCII from the null reverse-path, to be sent by `backend`. `kind`: `dsn`, `alarm`, `digest`."""
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
        version=TRACE_VERSION,
        id=id,
        received=now,
        edge=None,
        internal=InternalIngress(_LOOPBACK, hostname, "", _LOOPBACK, trusted_by=kind),
        envelope=Envelope(None, (rcpt,), smtputf8=wide),  # RFC 3461 section 6.1: from the null reverse-path
        evidence=evidence,
        content=replace(content, data=None),
        dropped=(),
        authentication=None,
        lookups=(),
        decision=Decision(Action.ACCEPT, kind, "invariant", REPLIES["accepted"]),
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
