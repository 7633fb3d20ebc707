"""Carried messages arrive octet for octet, by BDAT and never by DATA, at every backend of the message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.smtp_sink import CHUNKING, Mail, Sink
from tests.support.smuggling import HEADER

SETTINGS = """
[[domain]]
name = "one.example"
backend = "one"
[[domain]]
name = "two.example"
backend = "two"
[[domain]]
name = "plain.example"
backend = "plain"
[backend.one]
hosts = ["{one}"]
tls = "off"
[backend.two]
hosts = ["{two}"]
tls = "off"
[backend.plain]
hosts = ["{plain}"]
tls = "off"
"""
ZONE: dict[str, object] = {"b.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}}
BODIES = [
    b"bare\nlines\nhere\r\n",
    b"bare\rhere\r\n.\r\n.. and a dot line\r\n",
    b"nul\0here",
    b"no dot alone\n.x\n..\n\r\n",
    b"x" * 2_000_000 + b"\n" + b"y" * 100 + b"\r\n",
]


class Surroundings:
    def __init__(self, gateway: Gateway, one: Sink, two: Sink, plain: Sink) -> None:
        self.gateway = gateway
        self.one = one
        self.two = two
        self.plain = plain

    async def send(self, content: bytes, *rcpts: str) -> str:
        client = await Client.connect(("127.0.0.1", self.gateway.port))
        assert await client.say("EHLO c.example", "MAIL FROM:<a@b.example>") == 250
        for rcpt in rcpts:
            assert await client.say(f"RCPT TO:<{rcpt}>") == 250
        await client.send(b"BDAT %d LAST\r\n" % len(content) + content)
        reply = await client.text()
        await client.close()
        return reply


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Surroundings]:
    async with Sink(extensions=CHUNKING) as one, Sink(extensions=CHUNKING) as two, Sink() as plain:
        settings = SETTINGS.format(one=one.address, two=two.address, plain=plain.address)
        gateway = Gateway(tmp_path, settings, zone=ZONE, listener='bare_newline = "carry"')
        try:
            await asyncio.to_thread(gateway.start, False)
            yield Surroundings(gateway, one, two, plain)
        finally:
            await asyncio.to_thread(gateway.stop)


async def arrived(sink: Sink, count: int) -> list[Mail]:
    for _ in range(400):
        if len(sink.mails) >= count:
            break
        await asyncio.sleep(0.05)
    return sink.mails


@pytest.mark.slow
async def test_octet_for_octet_by_bdat(around: Surroundings) -> None:
    for body in BODIES:
        assert (await around.send(HEADER + body, "r@one.example", "r@two.example")).startswith("250 ")
    for sink in (around.one, around.two):
        mails = await arrived(sink, len(BODIES))
        assert {body for body in BODIES if any(mail.content.endswith(HEADER + body) for mail in mails)} == set(BODIES)
        assert all(mail.chunks for mail in mails)
        assert not any(command.startswith("DATA") for command in sink.commands)


@pytest.mark.slow
async def test_one_route_without_bdat_refuses_it(around: Surroundings) -> None:
    content = HEADER + BODIES[0]
    assert (await around.send(content, "r@one.example", "r@plain.example")).startswith("550 5.6.11 ")
    reply = await around.send(content, "r@plain.example")
    assert reply.startswith("550 5.6.11 ")
    assert around.plain.mails == []
    id = reply.rpartition("(")[2].removesuffix(")")
    path = str(around.gateway.config_path)
    shown = await asyncio.to_thread(around.gateway.run, "explain", id, "--config", path, "--json")
    assert json.loads(shown.stdout)["decision"]["rule"] == "bare-newline"


@pytest.mark.slow
async def test_a_backend_that_does_not_answer_puts_it_off(around: Surroundings) -> None:
    await around.one.shut()
    content = HEADER + BODIES[0]
    assert (await around.send(content, "r@one.example")).startswith("451 4.4.1 ")
    assert (await around.send(HEADER + b"plain\r\n", "r@one.example")).startswith("250 ")
