"""The log of incident 5: a certificate whose name is not the host's, and `451 4.4.0 ... shadow copy` from one host, and
success at the next. One line for each recipient gives the host, the TLS, and the reply."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.smtp_sink import Sink

pytestmark = pytest.mark.slow

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}
TEXT = b"From: alice@sender.example\r\nSubject: x\r\n\r\nHello.\r\n"
SHADOW = (
    "451 4.4.0 Message failed to be made redundant due to A shadow copy was required but failed to be made with an "
    "AckStatus of Fail Resubmit message"
)
WRONG_NAME = "certificate is for mail.protection.example, expected localhost"


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def first(authority: trustme.CA) -> AsyncIterator[Sink]:
    """Its certificate has another name, as outlook-com.olc.protection.outlook.com's has."""
    async with Sink(tls=server_tls(authority, "mail.protection.example")) as sink:
        yield sink


@pytest.fixture
async def second(authority: trustme.CA) -> AsyncIterator[Sink]:
    async with Sink(tls=server_tls(authority, "localhost")) as sink:
        yield sink


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    process = Gateway(tmp_path, zone=dict(ZONE))
    try:
        yield process
    finally:
        process.stop()


async def start(gateway: Gateway, authority: trustme.CA, tls: str, *sinks: Sink) -> None:
    ca_file = gateway.directory / "backends.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    hosts = ", ".join(f'"localhost:{sink.port}"' for sink in sinks)
    gateway.settings = f"""
[[domain]]
name = "s.example"
backend = "sink"
[backend.sink]
hosts = [{hosts}]
address_family = "ipv4"
tls = "{tls}"
ca_file = "{ca_file}"
"""
    await asyncio.to_thread(gateway.start, False)


async def send(gateway: Gateway, *rcpts: str) -> str:
    client = await Client.connect(("127.0.0.1", gateway.port))
    assert await client.say("EHLO client.sender.example", "MAIL FROM:<alice@sender.example>") == 250
    assert await client.say(*(f"RCPT TO:<{rcpt}>" for rcpt in rcpts)) == 250
    assert await client.say("DATA") == 354
    await client.send(TEXT + b".\r\n")
    answer = await client.text()
    await client.close()
    return answer


def lines(gateway: Gateway, name: str) -> list[dict[str, object]]:
    return [event for event in gateway.events() if event["event"] == name]


async def until(gateway: Gateway, name: str, count: int) -> list[dict[str, object]]:
    deadline = time.monotonic() + 20
    while len(lines(gateway, name)) < count:
        assert time.monotonic() < deadline, gateway.log()
        await asyncio.sleep(0.1)
    return lines(gateway, name)


async def test_shadow_copy_goes_to_the_next_host_within_seconds(
    gateway: Gateway, authority: trustme.CA, first: Sink, second: Sink
) -> None:
    first.answers("DOT", f"{SHADOW}\r\n".encode())
    await start(gateway, authority, "opportunistic", first, second)
    began = time.monotonic()
    assert (await send(gateway, "ann@s.example", "bob@s.example")).startswith("250 ")
    assert time.monotonic() - began < 10
    assert (len(first.mails), len(second.mails), first.dots) == (0, 1, 1)
    told = await until(gateway, "delivered", 2)
    assert [one["rcpt"] for one in told] == ["ann@s.example", "bob@s.example"], "one line for each recipient"
    for one in told:
        assert (one["remote"], one["address"], one["certificate"]) == ("localhost", "127.0.0.1", "verified")
        assert str(one["tls"]).startswith("TLSv1.3 ")
        assert str(one["reply"]) == "250 2.0.0 Queued"
    assert not lines(gateway, "deferred")


async def test_wrong_name_under_opportunistic_delivers_and_is_told(
    gateway: Gateway, authority: trustme.CA, first: Sink
) -> None:
    await start(gateway, authority, "opportunistic", first)
    assert (await send(gateway, "ann@s.example")).startswith("250 ")
    (told,) = await until(gateway, "delivered", 1)
    assert told["certificate"] == f"unverified ({WRONG_NAME})"
    assert str(told["tls"]).startswith("TLSv1.3 ")
    assert [mail.tls for mail in first.mails] == [True]


async def test_wrong_name_under_required_waits_and_alarms(
    gateway: Gateway, authority: trustme.CA, first: Sink, second: Sink
) -> None:
    await start(gateway, authority, "required", first)
    assert (await send(gateway, "ann@s.example")).startswith("250 "), "it is stored, and waits"
    told = (await until(gateway, "deferred", 1))[0]
    assert (told["level"], told["cause"], told["remote"]) == ("alarm", "certificate", "")
    assert WRONG_NAME in str(told["reply"])
    assert WRONG_NAME in str(told["certificate"])
    assert "Compare the certificate" in str(told["fix"])
    assert first.mails == []
    assert "MAIL" not in first.verbs()


async def test_wrong_name_at_one_host_goes_to_the_next(
    gateway: Gateway, authority: trustme.CA, first: Sink, second: Sink
) -> None:
    await start(gateway, authority, "required", first, second)
    assert (await send(gateway, "ann@s.example")).startswith("250 ")
    assert (first.mails, len(second.mails)) == ([], 1)
    (told,) = await until(gateway, "delivered", 1)
    assert told["certificate"] == "verified"
