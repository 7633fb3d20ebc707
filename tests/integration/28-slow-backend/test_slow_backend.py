"""A backend that never answers delays its own mail only: clients get 250 within the budget, others are served, and
nothing is lost or doubled when it answers at last."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.smtp_sink import Sink

pytestmark = pytest.mark.slow

CLIENTS = 40
BUDGET = 2.0
ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}


@pytest.fixture
async def slow() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        sink.gate.clear()
        yield sink


@pytest.fixture
async def quick() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


@pytest.fixture
def gateway(tmp_path: Path, slow: Sink, quick: Sink) -> Iterator[Gateway]:
    process = Gateway(tmp_path, zone=dict(ZONE))
    process.delivery = f"session_budget = {BUDGET}\nschedule = [1]"
    process.settings = "".join(
        f"""
[[domain]]
name = "{name}.example"
backend = "{name}"
[backend.{name}]
hosts = ["{sink.address}"]
tls = "off"
connections = 3
"""
        for name, sink in (("slow", slow), ("quick", quick))
    )
    try:
        yield process
    finally:
        process.stop()


async def send(gateway: Gateway, number: int, domain: str) -> float:
    """Seconds from the final dot to 250."""
    client = await Client.connect(("127.0.0.1", gateway.port))
    assert await client.say("EHLO client.sender.example", "MAIL FROM:<a@sender.example>") == 250
    assert await client.say(f"RCPT TO:<bob@{domain}>", "DATA") == 354
    began = time.monotonic()
    await client.send(f"From: a@sender.example\r\nSubject: {number}\r\n\r\nHello.\r\n.\r\n".encode())
    assert await client.reply() == 250
    seconds = time.monotonic() - began
    await client.close()
    return seconds


async def test_it_cannot_exhaust_the_listener(gateway: Gateway, slow: Sink, quick: Sink) -> None:
    await asyncio.to_thread(gateway.start, False)
    waiting = [asyncio.create_task(send(gateway, number, "slow.example")) for number in range(CLIENTS)]
    await asyncio.sleep(0.5)
    others = await asyncio.gather(*(send(gateway, number, "quick.example") for number in range(5)))
    assert max(others) < BUDGET, "mail for others is not held up"
    seconds = sorted(await asyncio.gather(*waiting))
    assert seconds[-1] < BUDGET + 3, "nobody waits longer than the budget"
    assert sum(one > BUDGET * 0.9 for one in seconds) <= 3, "only who has a connection waits at all"
    assert slow.open_connections <= 3
    assert len(quick.mails) == 5
    slow.gate.set()
    deadline = time.monotonic() + 60
    while len(slow.mails) < CLIENTS:
        assert time.monotonic() < deadline, len(slow.mails)
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    subjects = Counter(mail.content.split(b"Subject: ")[1].split(b"\r\n")[0] for mail in slow.mails)
    assert subjects == Counter(str(number).encode() for number in range(CLIENTS))
