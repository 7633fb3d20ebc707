"""A thousand messages with forged return paths that the backend refuses after we have taken them: not one DSN to those
who did not send them, and every failure is there to be seen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.smtp_sink import Sink

pytestmark = pytest.mark.slow

FORGED = 1000
SESSIONS = 20
ZONE = {
    "victim.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 ~all"], "MX": ["10 mx.victim.example"]},
    "sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]},
}
"""A softfail does not justify a refusal (victim.example), and does not prove a return path."""


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink(script={"DOT": [b"554 5.7.1 This message looks like spam\r\n"]}) as sink:
        yield sink


@pytest.fixture
async def postbox() -> AsyncIterator[Sink]:
    """The destination of DSNs."""
    async with Sink() as sink:
        yield sink


@pytest.fixture
def gateway(tmp_path: Path, sink: Sink, postbox: Sink) -> Iterator[Gateway]:
    process = Gateway(tmp_path, zone=dict(ZONE))
    process.delivery = 'in_session = false\ndsn_backend = "postbox"\nschedule = [1]'
    process.settings = f"""
[[domain]]
name = "s.example"
backend = "sink"
[backend.sink]
hosts = ["{sink.address}"]
tls = "off"
[backend.postbox]
hosts = ["{postbox.address}"]
tls = "off"
"""
    try:
        yield process
    finally:
        process.stop()


async def submit(gateway: Gateway, numbers: range, domain: str) -> None:
    client = await Client.connect(("127.0.0.1", gateway.port))
    assert await client.say("EHLO client.sender.example") == 250
    for number in numbers:
        assert await client.say(f"MAIL FROM:<u{number}@{domain}>", "RCPT TO:<bob@s.example>", "DATA") == 354
        text = f"From: u{number}@{domain}\r\nSubject: {number}\r\n\r\nBuy.\r\n.\r\n"
        await client.send(text.encode())
        assert await client.reply() == 250
    await client.close()


async def test_no_dsn_goes_to_who_did_not_send(gateway: Gateway, sink: Sink, postbox: Sink) -> None:
    await asyncio.to_thread(gateway.start, False)
    shares = [range(at, FORGED, SESSIONS) for at in range(SESSIONS)]
    await asyncio.gather(*(submit(gateway, share, "victim.example") for share in shares))
    await submit(gateway, range(FORGED, FORGED + 3), "sender.example")
    deadline = time.monotonic() + 90
    while sink.dots < FORGED + 3 or len(postbox.mails) < 3:
        assert time.monotonic() < deadline, (sink.dots, len(postbox.mails))
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)
    assert sorted(mail.rcpts for mail in postbox.mails) == [
        [f"TO:<u{number}@sender.example>"] for number in range(FORGED, FORGED + 3)
    ], "those whose return path SPF has proven are told, and nobody else"
    events = gateway.events()
    withheld = [event for event in events if event["event"] == "dsn-withheld"]
    assert len(withheld) == FORGED
    assert {event["reason"] for event in withheld} == {"return path not verified"}
    config = str(gateway.config_path)
    explained = await asyncio.to_thread(gateway.run, "explain", "--config", config, "--json", str(withheld[0]["id"]))
    assert "withheld" in json.dumps(json.loads(explained.stdout))
    arguments = ("queue", "failed", "--withheld", "--most", "2000", "--config", config)
    listed = json.loads((await asyncio.to_thread(gateway.run, *arguments, "--json")).stdout)
    assert len(listed) == FORGED
    assert {one["state"] for one in listed} == {"withheld"}
    assert {one["cause"] for one in listed} == {"spam"}
    table = (await asyncio.to_thread(gateway.run, *arguments)).stdout
    assert table.count("DSN withheld") == FORGED
