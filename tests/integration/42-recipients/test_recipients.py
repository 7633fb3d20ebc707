"""Recipients before the real gateway: listed or not, asked about, beyond a route's capabilities, and in a mail loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.smtp_sink import Sink

MESSAGE = b"From: a@sender.example\r\nTo: b@s.example\r\nSubject: x\r\n\r\nHello.\r\n"


def configure(gateway: Gateway, sink: Sink, domain: str = "", backend: str = "", more: str = "") -> None:
    gateway.settings = f"""
[[domain]]
name = "s.example"
backend = "sink"
{domain}
[backend.sink]
hosts = ["{sink.address}"]
tls = "off"
{backend}
{more}
"""


async def start(gateway: Gateway) -> None:
    """Without the stand-ins: only the sink is delivered to."""
    await asyncio.to_thread(gateway.start, False)


@asynccontextmanager
async def session(gateway: Gateway, source: str = "127.0.0.1") -> AsyncIterator[Client]:
    client = await Client.connect(("127.0.0.1", gateway.port), local_addr=(source, 0))
    assert await client.say("EHLO client.sender.example") == 250
    yield client
    await client.close()


async def rcpt(gateway: Gateway, address: str, mail: str = "FROM:<a@sender.example>", source: str = "127.0.0.1") -> str:
    """The reply to RCPT in a session of its own, without the id."""
    async with session(gateway, source) as client:
        assert await client.say(f"MAIL {mail}") == 250
        return (await client.ask(f"RCPT TO:<{address}>")).partition(" (")[0]


async def send(gateway: Gateway, address: str, content: bytes = MESSAGE) -> str:
    """The reply to the final dot."""
    async with session(gateway) as client:
        assert await client.say("MAIL FROM:<a@sender.example>", f"RCPT TO:<{address}>", "DATA") == 354
        await client.send(content + b".\r\n")
        return await client.text()


async def until_reply(gateway: Gateway, address: str, start: str) -> float:
    """Seconds until RCPT gets this reply."""
    began = time.monotonic()
    while not (reply := await rcpt(gateway, address)).startswith(start):
        assert time.monotonic() - began < 10, reply
        await asyncio.sleep(0.2)
    return time.monotonic() - began


NO_MAILBOX = "550 5.1.1 No such mailbox here"


@pytest.mark.slow
async def test_a_listed_domain_follows_its_map(gateway: Gateway, sink: Sink) -> None:
    addresses = gateway.directory / "mailboxes.csv"
    lines = "".join(f"user{number}@s.example,sink\n" for number in range(100_000))
    addresses.write_text(lines)
    more = f'[routing]\nmaps = ["{addresses}"]\nstale_after = 1'
    configure(gateway, sink, 'mailboxes = "listed"', more=more)
    await start(gateway)
    assert (await rcpt(gateway, "user99999@s.example")).startswith("250")
    assert (await rcpt(gateway, "USER5+tag@s.example")).startswith("250")
    assert (await rcpt(gateway, "anyone@corp.example")).startswith("250")
    for role in ("postmaster@s.example", "Abuse@s.example", "postmaster"):
        assert (await rcpt(gateway, role)).startswith("250"), role
    async with session(gateway) as client:
        assert await client.say("MAIL FROM:<a@sender.example>") == 250
        reply = await client.ask("RCPT TO:<new@s.example>")
        assert reply.startswith(NO_MAILBOX)
        # The transaction goes on without it.
        assert await client.say("RCPT TO:<user1@s.example>", "DATA") == 354
        await client.send(MESSAGE + b".\r\n")
        assert await client.reply() == 250

    addresses.write_text(lines + "new@s.example,sink\n")
    assert await until_reply(gateway, "new@s.example", "250") < 10
    addresses.write_text("half a line")
    assert await until_reply(gateway, "stranger@s.example", "451 4.4.3") < 10
    assert (await rcpt(gateway, "new@s.example")).startswith("250")
    assert (await rcpt(gateway, "postmaster@s.example")).startswith("250")
    alarms = [event["event"] for event in gateway.events() if event.get("level") == "alarm"]
    assert alarms == ["map-unreadable", "map-stale"]
    addresses.write_text("other@s.example,sink\n")
    assert await until_reply(gateway, "new@s.example", "550 5.1.1") < 10
    assert (await rcpt(gateway, "other@s.example")).startswith("250")


async def test_size_and_smtputf8_are_judged_once_the_route_is_known(gateway: Gateway, sink: Sink) -> None:
    configure(gateway, sink)
    await start(gateway)
    large, wide = "FROM:<a@sender.example> SIZE=30000", "FROM:<a@sender.example> SMTPUTF8"
    assert (await rcpt(gateway, "b@s.example", large)).startswith("250")
    assert (await rcpt(gateway, "jürgen@s.example", wide)).startswith("250")
    # A fault unknown at RCPT is refused at the end of data, by the backend's answer in that very session.
    reply = await send(gateway, "b@s.example", MESSAGE + b"x" * 70 * 300 + b"\r\n")
    assert reply.startswith("552 5.3.4")
    assert await rcpt(gateway, "b@s.example", large) == (
        "552 5.3.4 This recipient's mail server takes 20000 octets, the message has more"
    )
    assert (await rcpt(gateway, "jürgen@s.example", wide)).startswith("550 5.6.7")
    assert (await rcpt(gateway, "b@s.example", wide)).startswith("250")
    # Each recipient by its own route: corp.example goes elsewhere.
    async with session(gateway) as client:
        assert await client.say("MAIL FROM:<a@sender.example> SIZE=30000", "RCPT TO:<alice@corp.example>") == 250
        assert await client.say("RCPT TO:<b@s.example>") == 552
    assert sink.mails == []


async def test_a_message_that_was_here_five_times_is_in_a_loop(gateway: Gateway, sink: Sink) -> None:
    configure(gateway, sink)
    await start(gateway)
    passed = b"Received: from x.example by mx.gateway.example (Waypost) with ESMTP id 1;\r\n\tdate\r\n"
    assert (await send(gateway, "b@s.example", passed * 4 + MESSAGE)).startswith("250")
    assert (await send(gateway, "b@s.example", passed * 5 + MESSAGE)).startswith("554 5.4.6")
    other = b"Received: from mx.gateway.example by other.example; date\r\n"
    assert (await send(gateway, "b@s.example", other * 50 + MESSAGE)).startswith("250")
    assert (await send(gateway, "b@s.example", other * 51 + MESSAGE)).startswith("554 5.4.6")
    assert len(sink.mails) == 2


async def test_mail_of_a_backend_never_goes_back_to_it(gateway: Gateway, sink: Sink) -> None:
    configure(gateway, sink, backend='networks = "127.0.0.7"')
    await start(gateway)
    assert (await rcpt(gateway, "b@s.example")).startswith("250")
    reply = await rcpt(gateway, "b@s.example", source="127.0.0.7")
    assert reply.startswith("550 5.1.1")
    assert (await rcpt(gateway, "alice@corp.example", source="127.0.0.7")).startswith("250")
    [refused] = [event for event in gateway.events() if event["event"] == "refused"]
    assert refused["rule"] == "loop-to-origin"
    explain = ("explain", "--config", str(gateway.config_path), str(refused["id"]))
    told = await asyncio.to_thread(gateway.run, *explain)
    assert "loop-to-origin" in told.stdout, told.stdout + told.stderr


def knows(*names: str) -> object:
    def answer(argument: str) -> bytes:
        known = argument[4:].partition("@")[0] in names
        return b"250 2.1.5 OK\r\n" if known else b"550 5.1.1 No such user\r\n"

    return answer


async def test_a_backend_that_is_proven_to_refuse_is_asked(gateway: Gateway, sink: Sink) -> None:
    sink.answers("RCPT", knows("bob"))  # type: ignore[arg-type]
    configure(gateway, sink, "callout = true")
    await start(gateway)
    assert (await rcpt(gateway, "bob@s.example")).startswith("250")
    assert await rcpt(gateway, "eve@s.example") == NO_MAILBOX
    assert await rcpt(gateway, "eve@s.example") == NO_MAILBOX
    asked = [command for command in sink.commands if command.startswith("RCPT")]
    assert asked[0].startswith("RCPT TO:<no-such-")
    assert asked[1:] == ["RCPT TO:<bob@s.example>", "RCPT TO:<eve@s.example>"]
    assert (await rcpt(gateway, "postmaster@s.example")).startswith("250"), "a role address exists without a question"
    assert len(sink.commands) == 1 + 3 * 3, "EHLO once, then MAIL, RCPT, RSET each time"
    assert (await send(gateway, "bob@s.example")).startswith("250")
    assert [mail.rcpts for mail in sink.mails] == [["TO:<bob@s.example>"]]


@pytest.mark.parametrize("refusal", [b"250 2.1.5 OK\r\n", b"550 5.7.1 Client host blocked\r\n", b"550 No\r\n"])
async def test_a_backend_that_proves_nothing_refuses_nobody(gateway: Gateway, sink: Sink, refusal: bytes) -> None:
    sink.answers("RCPT", refusal)
    configure(gateway, sink, "callout = true")
    await start(gateway)
    for name in ("bob", "eve"):
        assert (await rcpt(gateway, f"{name}@s.example")).startswith("250")
    assert "DATA" not in sink.verbs()


async def test_a_backend_that_is_down_refuses_nobody(gateway: Gateway, sink: Sink) -> None:
    configure(gateway, sink, "callout = true")
    await sink.shut()
    await start(gateway)
    began = time.monotonic()
    for name in ("bob", "eve"):
        assert (await rcpt(gateway, f"{name}@s.example")).startswith("250")
    assert time.monotonic() - began < 5


async def test_nobody_is_asked_unless_the_admin_wants_it(gateway: Gateway, sink: Sink) -> None:
    sink.answers("RCPT", knows())  # type: ignore[arg-type]
    configure(gateway, sink)
    await start(gateway)
    assert (await rcpt(gateway, "bob@s.example")).startswith("250")
    assert sink.connections == 0


@pytest.mark.slow
async def test_role_mail_that_the_backend_takes_for_spam_is_kept(gateway: Gateway, sink: Sink) -> None:
    configure(gateway, sink)
    sink.answers("DOT", b"550 5.7.1 likely unsolicited mail\r\n")
    await start(gateway)
    assert (await send(gateway, "user@s.example")).startswith("550 5.7.1 likely unsolicited mail")
    reply = await send(gateway, "abuse@s.example")
    assert reply.startswith("250 ")
    id = reply.rpartition("(")[2].removesuffix(")")
    shown = await asyncio.to_thread(gateway.run, "explain", id, "--config", str(gateway.config_path), "--json")
    assert '"held"' in shown.stdout
    assert "likely unsolicited mail" in shown.stdout
    (alarm,) = [event for event in gateway.events() if event["event"] == "role-mail-kept"]
    assert (alarm["id"], alarm["level"]) == (id, "alarm")
    listed = await asyncio.to_thread(gateway.run, "queue", "list", "--config", str(gateway.config_path))
    assert "refused role mail for its content" in listed.stdout


@pytest.mark.slow
async def test_greylisting_tells_a_new_sender_to_come_back(gateway: Gateway, sink: Sink) -> None:
    configure(gateway, sink, more="[greylisting]\nenabled = true\ndelay = 1")
    await start(gateway)
    reply = await send(gateway, "user@s.example")
    assert reply.startswith("451 4.7.1 Greylisted")
    assert (await send(gateway, "abuse@s.example")).startswith("250 ")
    id = reply.rpartition("(")[2].removesuffix(")")
    shown = await asyncio.to_thread(gateway.run, "explain", id, "--config", str(gateway.config_path), "--json")
    story = json.loads(shown.stdout)
    assert (story["greylisting"]["key"], story["greylisting"]["wait"]) == ("domain sender.example", True)
    assert (story["decision"]["action"], story["replayed"]) == ("greylist", "same")
    await asyncio.sleep(1.1)
    assert (await send(gateway, "user@s.example")).startswith("250 ")
    assert (await send(gateway, "other@s.example")).startswith("250 ")
