"""Bare newlines are carried if the listener is configured for it, no lone dot is beside them, and BDAT is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from gateway.mail.path import mailbox
from gateway.model.envelope import Envelope, Recipient, ip_text
from gateway.model.ingress import ClientSource
from gateway.model.message import Route
from gateway.model.reply import Reply
from gateway.ports import Connection
from gateway.service.inquiry import NoInquiry
from tests.support.receiving import Spool, make_reception

HEADER = b"From: a@b.example\r\nSubject: x\r\n\r\n"
LOCAL = ip_text("127.0.0.1")


class Knowing(NoInquiry):
    """Knows of each backend whether it takes BDAT."""

    def __init__(self, takes: Mapping[str, bool | None]) -> None:
        self.takes = takes

    async def takes_chunks(self, route: Route, client: str) -> bool | None:
        return self.takes[route.backend]


async def receive(
    content: bytes, takes: Mapping[str, bool | None], carry: bool = True, rcpts: Sequence[str] = ("r@d.example",)
) -> tuple[str, Spool]:
    spool = Spool()
    reception = make_reception(spool, inquiry=Knowing(takes))
    conversation = await reception.connect(Connection("mx", LOCAL, LOCAL, ClientSource.PEER, carry=carry))
    assert not isinstance(conversation, Reply)
    conversation.hello("c.example", True, None)
    await conversation.mail(Envelope(mailbox("a@b.example"), ()), None)
    for rcpt in rcpts:
        found = mailbox(rcpt)
        assert found is not None
        assert (await conversation.rcpt(Recipient(found))).code == 250
    assert (await conversation.begin()).code == 354
    await conversation.take(content)
    return str(await conversation.finish()), spool


@pytest.mark.parametrize("body", [b"x\ny\r\n", b"x\ry\r\n", b"x\0y", b"x\n..\r\n"])
async def test_carried_octet_for_octet(body: bytes) -> None:
    reply, spool = await receive(HEADER + body, {"one": True})
    assert reply.startswith("250 ")
    (intake,) = spool.kept
    assert spool.content(intake) == HEADER + body
    assert intake.message is not None
    assert intake.message.content.chunks_only


@pytest.mark.parametrize(
    ("content", "takes", "carry", "reply"),
    [
        (HEADER + b"x\ny\r\n", {"one": True}, False, "550 5.6.11"),
        (HEADER + b"x\ny\r\n", {"one": False}, True, "550 5.6.11"),
        (HEADER + b"x\ny\r\n", {"one": None}, True, "451 4.4.1"),
        (HEADER + b"x\n.\r\n", {"one": True}, True, "550 5.6.11"),
        (b"From: a@b.example\nSubject: x\r\n\r\nx\r\n", {"one": True}, True, "550 5.6.11"),
        (HEADER + b"x\r\n", {"one": False}, True, "250 "),
    ],
    ids=["not set", "no BDAT", "not known", "lone dot", "in the header", "none there"],
)
async def test_what_is_refused(content: bytes, takes: Mapping[str, bool | None], carry: bool, reply: str) -> None:
    answer, spool = await receive(content, takes, carry)
    assert answer.startswith(reply)
    assert len(spool.intakes) == 1
    assert answer.endswith(f"({spool.intakes[0].trace.id})")


@pytest.mark.parametrize(("second", "reply"), [(True, "250 "), (False, "550 5.6.11"), (None, "451 4.4.1")])
async def test_every_route_must_take_bdat(second: bool | None, reply: str) -> None:
    rcpts = ("r@d.example", "r@e.example")
    answer, spool = await receive(HEADER + b"x\ny\r\n", {"one": True, "two": second}, rcpts=rcpts)
    assert answer.startswith(reply)
    assert len(spool.kept) == (1 if second else 0)
