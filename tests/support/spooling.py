"""Nouns for tests of the spool: small messages with everything set that the spool must bring back."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

from gateway.model.decision import Action, Decision, RuleHit, Stage
from gateway.model.delivery import (
    Attempt,
    Claim,
    Ending,
    Final,
    Hold,
    Intake,
    Outcome,
    OutcomeKind,
    Scope,
    Settlement,
    Trace,
    Transfer,
)
from gateway.model.dnsdata import Answer, DnsStatus, Lookup, Question
from gateway.model.envelope import Body, Envelope, IPText, Mailbox, Notify, Recipient, Ret
from gateway.model.history import Sighting
from gateway.model.ingress import ClientSource, EdgeIngress, Tls
from gateway.model.message import BodyDigest, Content, Evidence, Message, Span
from gateway.model.reply import Reply
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.value import replace

START = 1_800_000_000.0
OK = Reply(250, "0.0", "Queued")
BUSY = Reply(451, "4.7", "Later")
NO = Reply(550, "1.1", "No such mailbox")
_serial = itertools.count()


class HandClock:
    """A clock that the test turns."""

    def __init__(self, prefix: str = "id") -> None:
        self.time = START
        self._prefix = prefix
        self._serial = itertools.count()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.5

    def new_id(self) -> str:
        return f"{self._prefix}{next(self._serial):08d}"


def mailbox(local: str, domain: str = "corp.example") -> Mailbox:
    return Mailbox(local, domain, domain)


def content_of(data: bytes, path: str = "") -> Content:
    """The handle of some octets, in memory or in a finished file."""
    return Content(
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        leading_dot=data.startswith(b"."),
        eight_bit=not data.isascii(),
        data=None if path else data,
        path=path,
        chunks_only=b"\n" in data.replace(b"\r\n", b""),
    )


def authentication() -> Authentication:
    return Authentication(
        spf=SpfResult(SpfVerdict.PASS, "sender.example", SpfIdentity.MAILFROM, mechanism="ip4:192.0.2.0/24"),
        spf_helo=SpfResult(SpfVerdict.NONE, "mail.sender.example", SpfIdentity.HELO, "no record"),
        dkim=(DkimResult(DkimVerdict.FAIL, "sender.example", "s", "rsa-sha256", "body hash", signed_fields=("from",)),),
        arc=ArcResult(ArcVerdict.NONE),
        dmarc=DmarcResult(
            DmarcVerdict.PASS,
            "sender.example",
            published=DmarcPolicy.REJECT,
            policy=DmarcPolicy.REJECT,
            spf_aligned=True,
            dkim_aligned=(False,),
        ),
    )


def make_trace(id: str, message: Message | None, rcpts: tuple[Recipient, ...], received: float = START) -> Trace:
    return Trace(
        id=id,
        received=received,
        edge=EdgeIngress(IPText("192.0.2.1"), ClientSource.PROXY, "mail", "mx", IPText("10.0.0.1"), Tls("1.3", "X")),
        internal=None,
        envelope=Envelope(mailbox("author", "sender.example"), rcpts, Body.EIGHT_BIT, True, Ret.HDRS, "env+41"),
        evidence=message.evidence if message else None,
        content=replace(message.content, data=None, path="") if message else None,
        dropped=message.dropped if message else (),
        authentication=authentication() if message else None,
        lookups=(Lookup(Question("sender.example", "TXT"), Answer(DnsStatus.FOUND, ("v=spf1 -all", "\xff"), True)),),
        decision=Decision(Action.ACCEPT, "default", "enforce", OK, considered=(RuleHit("r", Stage.DATA, False),)),
        routes=tuple((str(rcpt.mailbox), "backend") for rcpt in rcpts),
        added=("Received: from x",),
    )


def make_message(data: bytes = b"From: a@b\r\n\r\nHello.\r\n", path: str = "") -> Message:
    header = data[:200]
    digest = BodyDigest("relaxed", 5, hashlib.sha256(data).digest(), 5)
    return Message(content_of(data, path), Evidence(header, (digest,), len(data)), (Span(0, 3),))


def make_transfer(id: str, rcpts: tuple[Recipient, ...], backend: str, due: float, created: float = START) -> Transfer:
    return Transfer(
        id=f"{id}-{backend}",
        message_id=id,
        backend=backend,
        mail_from=mailbox("author", "sender.example"),
        rcpts=rcpts,
        prefix=b"Received: from x\r\n",
        body=Body.EIGHT_BIT,
        smtputf8=True,
        ret=Ret.HDRS,
        envid="env+41",
        created=created,
        due=due,
        return_path_verified=True,
    )


def make_intake(
    *,
    backends: tuple[str, ...] = ("google",),
    rcpts: tuple[str, ...] = ("alice",),
    due: float = START,
    claimed: bool = False,
    hold: Hold | None = None,
    sighting: Sighting | None = None,
    message: Message | None = None,
    id: str = "",
    received: float = START,
) -> Intake:
    """A reception with a transfer to each backend; a held one has none."""
    id = id or f"m{next(_serial):08d}"
    message = message or make_message()
    recipients = tuple(Recipient(mailbox(name), (Notify.FAILURE,), f"rfc822;{name}") for name in rcpts)
    there = () if hold else backends
    transfers = tuple(make_transfer(id, recipients, backend, due, received) for backend in there)
    return Intake(make_trace(id, message, recipients, received), message, transfers, claimed, hold, sighting)


def make_refusal(*, durable: bool = True, id: str = "") -> Intake:
    """Nothing but a trace."""
    recipient = Recipient(mailbox("nobody"))
    trace = make_trace(id or f"r{next(_serial):08d}", None, (recipient,))
    return Intake(trace, None, (), claimed=False, durable=durable)


def claim_of(intake: Intake, at: int = 0) -> Claim:
    """The claim that the committer of a claimed intake may build without reading."""
    assert intake.message is not None
    return Claim(intake.transfers[at], intake.message, 1)


def make_settlement(
    claim: Claim,
    *,
    done: tuple[tuple[Recipient, Final], ...] | None = None,
    remaining: tuple[Recipient, ...] = (),
    due: float | None = None,
    dsn: Intake | None = None,
    started: float = START,
) -> Settlement:
    """An attempt; by default every recipient is delivered."""
    transfer = claim.transfer
    if done is None:
        done = tuple((rcpt, Final.DELIVERED) for rcpt in transfer.rcpts if rcpt not in remaining)
    ended = tuple(
        Outcome(rcpt, *_outcome(state), Scope.RECIPIENT, "mx.google.example", "192.0.2.9", Tls("1.3", "X"), "verified")
        for rcpt, state in done
    )
    deferred = tuple(Outcome(rcpt, OutcomeKind.DEFERRED, BUSY, Scope.SITE, "mx.google.example") for rcpt in remaining)
    return Settlement(
        transfer_id=transfer.id,
        message_id=transfer.message_id,
        epoch=claim.epoch,
        endings=tuple(Ending(rcpt, state, OK if state is Final.DELIVERED else NO) for rcpt, state in done),
        remaining=remaining,
        due=due,
        attempt=Attempt(transfer.id, transfer.backend, started, started + 1, ended + deferred),
        delay_warned=bool(remaining),
        dsn=dsn,
    )


def _outcome(state: Final) -> tuple[OutcomeKind, Reply]:
    return (OutcomeKind.DELIVERED, OK) if state is Final.DELIVERED else (OutcomeKind.FAILED, NO)


def content_files(directory: Path) -> set[str]:
    """Names of the files that hold large content."""
    return {path.name for path in (directory / "0" / "content").iterdir()}
