"""Nouns for tests of delivery: messages to send, a resolver with fixed answers, a spool's content reader."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Collection

from gateway.mail.domain import a_label
from gateway.model.delivery import Claim, Transfer
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.envelope import Body, Mailbox, Recipient
from gateway.model.message import Content, Evidence, Message, Span
from gateway.model.value import replace

NOW = 1_800_000_000.0
PREFIX = b"Received: from x by gw.example; now\r\n"
TEXT = b"From: a@sender.example\r\nSubject: x\r\n\r\nHello.\r\n"


def mailbox(text: str) -> Mailbox:
    local, _, domain = text.rpartition("@")
    return Mailbox(local, domain, a_label(domain) or domain)


def make_message(octets: bytes = TEXT, dropped: tuple[Span, ...] = (), data: bytes | None = None) -> Message:
    """A message with the hash of `octets` and the content `data` (by default the same)."""
    content = Content(
        size=len(octets),
        sha256=hashlib.sha256(octets).digest(),
        leading_dot=octets.startswith(b".") or b"\r\n." in octets,
        eight_bit=not octets.isascii(),
        data=octets if data is None else data,
    )
    header, blank, _ = octets.partition(b"\r\n\r\n")
    return Message(content, Evidence(header + b"\r\n" if blank else b"", (), len(octets)), dropped)


def make_claim(
    octets: bytes = TEXT,
    rcpts: tuple[str | Recipient, ...] = ("bob@corp.example",),
    *,
    mail_from: str | None = "alice@sender.example",
    message: Message | None = None,
    backend: str = "corp",
    prefix: bytes = PREFIX,
    id: str = "m1",
) -> Claim:
    recipients = tuple(rcpt if isinstance(rcpt, Recipient) else Recipient(mailbox(rcpt)) for rcpt in rcpts)
    transfer = Transfer(
        id=f"{id}-{backend}",
        message_id=id,
        backend=backend,
        mail_from=mailbox(mail_from) if mail_from is not None else None,
        rcpts=recipients,
        prefix=prefix,
        body=Body.SEVEN_BIT,
        smtputf8=False,
        ret=None,
        envid="",
        created=NOW,
        due=NOW,
        return_path_verified=True,
    )
    return Claim(transfer, message or make_message(octets), 1)


def changed(claim: Claim, **changes: object) -> Claim:
    """The claim with other values in its transfer."""
    return replace(claim, transfer=replace(claim.transfer, **changes))  # type: ignore[arg-type]


def reader(claim: Claim, chunk: int = 65536) -> Callable[[], AsyncIterator[bytes]]:
    async def read() -> AsyncIterator[bytes]:
        data = claim.message.content.data or b""
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]

    return read


class FixedResolver:
    """Answers from a table: name -> type -> records or a Status; anything else does not exist."""

    def __init__(self, zone: dict[str, dict[str, list[str] | DnsStatus]] | None = None) -> None:
        self._zone = zone or {}

    def known(self, question: Question) -> Answer | None:
        return self._answer(question)

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        return {question: self._answer(question) for question in questions}

    def _answer(self, question: Question) -> Answer:
        types = self._zone.get(question.name)
        if types is None:
            return Answer(DnsStatus.NXDOMAIN)
        found = types.get(question.type)
        if isinstance(found, DnsStatus):
            return Answer(found)
        return Answer(DnsStatus.FOUND, tuple(found)) if found else Answer(DnsStatus.NODATA)


class StillClock:
    """A clock for a backend, with fixed jitter."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def jitter(self) -> float:
        return 0.5

    def new_id(self) -> str:
        return "id"
