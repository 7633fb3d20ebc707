"""Refusals by the listener itself: with an id inside a transaction, in counted events outside of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.model.envelope import Mailbox
from gateway.model.event import Event
from gateway.model.reply import Reply
from gateway.service.listener import SmtpListener, listener_state
from tests.support.listening import Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]
MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<r@d.example>"


class Traced:
    """Gives each refusal an id, as reception does."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, str]] = []

    def __call__(self, reply: Reply, path: Mailbox | None) -> Reply:
        self.refused.append((str(reply), str(path or "")))
        return reply.with_id(f"id{len(self.refused)}")


@pytest.mark.parametrize(
    ("commands", "code", "path"),
    [
        ([MAIL + " FOO=1"], 555, "a@b.example"),
        ([MAIL + " SIZE=99999999999"], 552, "a@b.example"),
        ([MAIL + " BODY=9BIT"], 501, "a@b.example"),
        (["MAIL FROM:<b\u00f6b@b.example>"], 553, "b\u00f6b@b.example"),
        (["MAIL FROM:a@@b"], 501, ""),
        ([MAIL, MAIL], 503, "a@b.example"),
        ([MAIL, RCPT + " NOTIFY=SOON"], 501, "r@d.example"),
        ([MAIL, RCPT + " FOO=1"], 555, "r@d.example"),
        ([MAIL, "RCPT TO:<>"], 501, ""),
        ([MAIL, "RCPT TO"], 501, ""),
        ([MAIL, "DATA"], 503, ""),
        ([MAIL, RCPT, "DATA now"], 501, ""),
    ],
)
async def test_every_refusal_of_a_transaction_has_an_id(
    listen: Listen, commands: list[str], code: int, path: str
) -> None:
    traced = Traced()
    listener = await listen(RecordedReception(refuse=traced))
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", *commands[:-1]) == 250
    said = await client.ask(commands[-1])
    assert said.startswith(f"{code} ")
    assert said.endswith(" (id1)")
    assert [at for _, at in traced.refused] == [path]
    await client.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_much_content_has_one_id(listen: Listen, chunked: bool) -> None:
    traced = Traced()
    reception = RecordedReception(refuse=traced)
    listener = await listen(reception, limits={"message_size": 1000})
    client = await Client.connect(listener.address)
    if chunked:
        assert await client.say("EHLO c.example", MAIL, RCPT) == 250
        await client.send(b"BDAT 2000\r\n" + b"x" * 2000)
    else:
        await client.open_data()
        await client.send(b"x" * 2000 + b"\r\n.\r\n")
    assert await client.text() == "552 5.3.4 Message exceeds the size limit (id1)"
    if chunked:
        await client.send(b"BDAT 1 LAST\r\nx")
        assert await client.text() == "552 5.3.4 Message exceeds the size limit (id1)"
    assert len(traced.refused) == 1
    assert reception.only.calls.index("refuse") < reception.only.calls.index("abandon")
    await client.close()


async def test_outside_a_transaction_nothing_is_traced(listen: Listen) -> None:
    traced = Traced()
    listener = await listen(RecordedReception(refuse=traced))
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", "RCPT TO:<x@d.example> FOO=1", "DATA", "RCPT TO:<r@d.example>") == 503
    assert traced.refused == []
    await client.close()


async def test_an_attack_is_one_event_and_a_count(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_state, "_WINDOW_SECONDS", 0.3)
    events: list[Event] = []
    listener = await listen(RecordedReception(), limits={"connections": 1}, emit=events.append)
    one = await Client.connect(listener.address)
    for _ in range(30):
        refused = await Client.connect(listener.address, greeted=False)
        assert (await refused.rest()).startswith(b"421 ")
    await until(lambda: sum(int(dict(event.fields)["count"]) for event in events) == 30)
    assert len(events) <= 4
    assert {dict(event.fields)["reason"] for event in events} == {"too-many-connections"}
    await one.close()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "not-smtp"),
        (b"NOOP\n", "bare-lf"),
        (b"NO\0P\r\n", "control-character"),
        (b"", "timeout"),
    ],
)
async def test_reasons(listen: Listen, sent: bytes, reason: str) -> None:
    events: list[Event] = []
    listener = await listen(RecordedReception(), limits={"command_seconds": 0.2}, emit=events.append)
    client = await Client.connect(listener.address)
    await client.send(sent)
    await client.rest()
    await until(lambda: listener.sessions == 0)
    assert [dict(event.fields) for event in events] == [
        {"listener": "mx", "reason": reason, "client": "127.0.0.1", "count": 1}
    ]


async def test_who_talks_into_the_pause_is_told_of(listen: Listen) -> None:
    events: list[Event] = []
    listener = await listen(RecordedReception(), greet_pause=0.2, emit=events.append)
    early = await Client.connect(listener.address, greeted=False)
    await early.send(b"EHLO c.example\r\n")
    assert await early.rest() == b"554 5.5.1 You talk before you are greeted\r\n"
    patient = await Client.connect(listener.address)
    assert [dict(event.fields)["reason"] for event in events] == ["early-talker"]
    await patient.close()


async def test_drain_ends_idle_sessions_at_once(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    fresh, idle, done, busy = [await Client.connect(listener.address) for _ in range(4)]
    assert await idle.say("EHLO c.example") == 250
    await done.open_data()
    await done.send(b"x\r\n.\r\n")
    assert await done.reply() == 250
    assert await busy.say("EHLO c.example", MAIL) == 250
    began = asyncio.get_running_loop().time()
    draining = asyncio.create_task(listener.drain(5))
    for client in (fresh, idle, done):
        assert await client.rest() == b"421 4.3.2 Shutting down, try again later\r\n"
    assert asyncio.get_running_loop().time() - began < 1
    assert not draining.done()
    assert await busy.say(RCPT, "DATA") == 354
    await busy.send(b"y\r\n.\r\n")
    assert await busy.rest() == b"250 2.0.0 OK\r\n421 4.3.2 Shutting down, try again later\r\n"
    assert await draining
    assert len(reception.taken) == 2
