"""A client without a reply sends the message again: it is delivered once. A client that got the reply may send the same
octets any number of times. The gateway, its spool and the sockets are real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.smtp_sink import SILENCE, Sink

pytestmark = pytest.mark.slow

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}
TEXT = b"From: alice@sender.example\r\nSubject: once\r\nMessage-ID: <1@sender.example>\r\n\r\nHello.\r\n"


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


@pytest.fixture
def gateway(tmp_path: Path, sink: Sink) -> Iterator[Gateway]:
    process = Gateway(tmp_path, zone=dict(ZONE))
    process.settings = f"""
[[domain]]
name = "s.example"
backend = "sink"
[backend.sink]
hosts = ["{sink.address}"]
tls = "off"
"""
    try:
        yield process
    finally:
        process.stop()


async def hand_over(gateway: Gateway, octets: bytes = TEXT) -> Client:
    """A message up to its final dot; the answer is not waited for."""
    client = await Client.connect(("127.0.0.1", gateway.port))
    assert await client.say("EHLO client.sender.example", "MAIL FROM:<alice@sender.example>") == 250
    assert await client.say("RCPT TO:<bob@s.example>", "DATA") == 354
    await client.send(octets + b".\r\n")
    return client


async def send(gateway: Gateway, octets: bytes = TEXT) -> str:
    client = await hand_over(gateway, octets)
    answer = await client.text()
    await client.close()
    return answer


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def cut(client: Client, abruptly: bool) -> None:
    """Leave without reading: by a reset, or by a close, which a reset answers when our reply arrives."""
    held: socket.socket = client.writer.get_extra_info("socket")
    if abruptly:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


def repeated(gateway: Gateway) -> list[str]:
    """Ids of repeated messages, from the log so far."""
    return [str(event["id"]) for event in gateway.events() if event["event"] == "repeated"]


def kill_workers(gateway: Gateway) -> None:
    assert gateway.process is not None
    for child in Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("abruptly", [True, False], ids=["reset", "closed"])
async def test_client_that_is_gone_before_the_answer(gateway: Gateway, sink: Sink, abruptly: bool) -> None:
    await asyncio.to_thread(gateway.start, False)
    sink.gate.clear()
    client = await hand_over(gateway)
    await until(lambda: sink.dots == 1)
    cut(client, abruptly)
    await asyncio.sleep(0.3)
    sink.gate.set()
    await until(lambda: len(sink.mails) == 1)
    await asyncio.sleep(1.5)
    assert (await send(gateway)).startswith("250 2.0.0 ")
    await asyncio.sleep(1.5)
    assert len(sink.mails) == 1
    accepted = [event for event in gateway.events() if event["event"] == "accepted"]
    assert repeated(gateway) == [accepted[0]["id"]]
    assert (await send(gateway)).startswith("250 2.0.0 "), (
        "the retry was told: this is a new message of the same octets"
    )
    await until(lambda: len(sink.mails) == 2)
    assert repeated(gateway) == [accepted[0]["id"]]


async def test_who_was_told_may_send_the_same_again(gateway: Gateway, sink: Sink) -> None:
    await asyncio.to_thread(gateway.start, False)
    for _ in range(3):
        assert (await send(gateway)).startswith("250 ")
    half = await hand_over(gateway)
    half.writer.write_eof()  # it sends no more, and still reads
    assert (await half.text()).startswith("250 ")
    await half.close()
    await asyncio.sleep(1.5)
    assert (await send(gateway)).startswith("250 ")
    assert len(sink.mails) == 5
    assert await asyncio.to_thread(gateway.terminate) == 0
    await asyncio.to_thread(gateway.start_gateway)
    assert (await send(gateway)).startswith("250 ")
    assert len(sink.mails) == 6


async def test_killed_between_commit_and_delivery(gateway: Gateway, sink: Sink) -> None:
    """Nothing lost, nothing doubled: the next process delivers it, and the client's retry is the same message."""
    sink.answers("MAIL", SILENCE)
    await asyncio.to_thread(gateway.start, False)
    client = await hand_over(gateway)
    await until(lambda: "MAIL" in sink.verbs())
    await asyncio.to_thread(gateway.kill)
    assert await client.rest() == b""
    await client.close()
    sink.answers("MAIL", b"250 OK\r\n")
    await asyncio.to_thread(gateway.start_gateway)
    assert (await send(gateway)).startswith("250 2.0.0 ")
    await until(lambda: len(sink.mails) == 1)
    await asyncio.sleep(1.0)
    assert len(sink.mails) == 1


async def test_refusal_that_nobody_heard_is_told_to_the_retry(gateway: Gateway, sink: Sink) -> None:
    await asyncio.to_thread(gateway.start, False)
    sink.answers("DOT", b"550 5.7.1 This message looks like spam\r\n")
    sink.gate.clear()
    client = await hand_over(gateway)
    await until(lambda: sink.dots == 1)
    cut(client, abruptly=True)
    await asyncio.sleep(0.3)
    sink.gate.set()
    await asyncio.sleep(1.5)
    assert (await send(gateway)).startswith("550 5.7.1 This message looks like spam")
    assert sink.mails == []
    assert not [event for event in gateway.events() if event["event"] in ("dsn", "dsn-withheld")]


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["at once", "after the acknowledgement"])
async def test_a_reset_after_the_answer_takes_nothing_back(gateway: Gateway, sink: Sink, pause: float) -> None:
    await asyncio.to_thread(gateway.start, False)
    for _ in range(3):
        client = await hand_over(gateway)
        assert (await client.text()).startswith("250 ")
        await asyncio.sleep(pause)
        cut(client, abruptly=True)
        await asyncio.sleep(0.7)
    assert len(sink.mails) == 3
    assert not [event for event in gateway.events() if event["event"] == "repeated"]


async def test_who_reads_nothing_and_closes_after_the_answer_came(gateway: Gateway, sink: Sink) -> None:
    """Its host had acknowledged the octets: the same message again is a new one."""
    await asyncio.to_thread(gateway.start, False)
    client = await hand_over(gateway)
    client.writer.transport.pause_reading()
    await until(lambda: len(sink.mails) == 1)
    await asyncio.sleep(0.5)
    client.writer.transport.abort()
    await asyncio.sleep(0.7)
    assert (await send(gateway)).startswith("250 ")
    assert len(sink.mails) == 2


async def test_who_gives_up_and_tries_again_is_answered_by_the_first_attempt(gateway: Gateway, sink: Sink) -> None:
    gateway.workers = 2
    await asyncio.to_thread(gateway.start, False)
    sink.gate.clear()
    first = await hand_over(gateway)
    await until(lambda: sink.dots == 1)
    cut(first, abruptly=True)
    retries = [asyncio.create_task(send(gateway)) for _ in range(4)]
    await asyncio.sleep(1.0)
    assert not [retry for retry in retries if retry.done()]
    sink.gate.set()
    answers = [await retry for retry in retries]
    assert {answer[:3] for answer in answers} == {"250"}
    assert len(set(answers)) == 1, "each is given the first one's id"
    await asyncio.sleep(0.5)
    assert len(sink.mails) == 1


async def test_retries_at_once_after_the_workers_death(gateway: Gateway, sink: Sink) -> None:
    """Any worker may have the first attempt, and any may get the retry, before the replacement or after."""
    gateway.workers = 2
    sink.answers("MAIL", SILENCE)
    await asyncio.to_thread(gateway.start, False)
    for number in range(3):
        octets = TEXT.replace(b"once", b"number %d" % number)
        first = await hand_over(gateway, octets)
        await asyncio.sleep(0.5)
        kill_workers(gateway)
        await first.close()
        answer = ""
        while not answer.startswith("250 "):
            with suppress(OSError, asyncio.IncompleteReadError, AssertionError):
                answer = await send(gateway, octets)
        await until(lambda: len(repeated(gateway)) > number, 5.0)  # noqa: B023
        assert repeated(gateway)[number] in answer
    sink.answers("MAIL", b"250 OK\r\n")
    await asyncio.to_thread(gateway.kill)
    await asyncio.to_thread(gateway.start_gateway)
    await until(lambda: len(sink.mails) == 3)
    await asyncio.sleep(1.0)
    assert len(sink.mails) == 3
