"""Invariant: for any chunks, and any cuts of the stream, each message is exactly its chunks in order.

A whole session runs for each case; nothing in a chunk is ever taken for a command, and no session ends in an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.config.edge import Limits
from gateway.service.listener import ConnectionLimits, ListenerSettings
from gateway.service.listener.listener_state import ListenerState
from gateway.service.listener.session import SmtpSession
from tests.fuzz.plans import Plan, planned
from tests.support.listening import RecordedReception

PAYLOADS = (
    *(b"\r\n", b"\r\n.\r\n", b".\r\n", b"BDAT 5 LAST\r\n", b"BDAT 0 LAST\r\n", b"QUIT\r\n", b"RSET\r\n", b"DATA\r\n"),
    *(b"MAIL FROM:<smuggled@b.example>\r\n", b"\0", b"\n", b"\r", b"\xff", b"text"),
)
LIMITS = Limits(commands=100_000, errors=100_000, message_size=400)


class Wire(asyncio.Transport):
    """A transport without a peer: it keeps the written octets."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 4000)})
        self.written = bytearray()
        self._closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self._closed = True

    abort = close

    def is_closing(self) -> bool:
        return self._closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def write_session(plan: Plan) -> tuple[bytes, list[bytes], int]:
    """A stream that starts after EHLO, its messages, and the number of replies to it."""
    stream, messages, replies = bytearray(), [], 0
    kept: bytearray | None = None
    too_big = False
    while len(plan) and len(stream) < 3000:
        step = plan.number(6)
        if step == 0:
            stream += b"RSET\r\n"
            kept, too_big = None, False
            replies += 1
        elif step == 1:
            stream += b"NOOP\r\n"
            replies += 1
        elif step == 2 and kept is None:
            stream += b"MAIL FROM:<a@b.example>\r\nRCPT TO:<r@d.example>\r\n"
            kept, too_big = bytearray(), False
            replies += 2
        else:
            payload = plan.join(PAYLOADS, 6)
            last = plan.number(3) == 0
            stream += b"BDAT %d%s\r\n" % (len(payload), b" LAST" if last else b"") + payload
            replies += 1
            if kept is None:
                continue
            kept += payload
            too_big = too_big or len(kept) > LIMITS.message_size
            if last:
                if not too_big:
                    messages.append(bytes(kept))
                kept = None
    return bytes(stream), messages, replies


async def serve(parts: list[bytes]) -> tuple[list[bytes], bytes, list[BaseException]]:
    errors: list[BaseException] = []
    reception = RecordedReception()
    settings = ListenerSettings("mx", "mx.gate.example", limits=LIMITS)
    house = ListenerState(
        settings, reception, lambda error: str(errors.append(error)), ConnectionLimits(LIMITS), lambda event: None
    )
    session = SmtpSession(house)
    wire = Wire()
    session.connection_made(wire)
    while not wire.written:  # noqa: ASYNC110 the greeting takes a few turns of the loop
        await asyncio.sleep(0)
    for part in (b"EHLO c.example\r\n", *parts):
        session.data_received(part)
        await asyncio.sleep(0)
    session.eof_received()
    await session.task
    session.connection_lost(None)
    house.journal.close()
    return [taken.content for taken in reception.taken], bytes(wire.written), errors


@planned(60)
def test_chunks_are_what_they_say(loop: asyncio.AbstractEventLoop, plan: Plan) -> None:
    stream, messages, replies = write_session(plan)
    taken, written, errors = loop.run_until_complete(serve(plan.cut(stream, 6)))
    assert errors == []
    assert taken == messages
    lines = written.split(b"\r\n")
    finals = [line for line in lines if line[3:4] == b" "]
    assert len(finals) == 2 + replies, written
    assert all(line[:1] in (b"2", b"5") for line in finals)
