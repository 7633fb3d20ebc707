"""Bounds: connections, commands, errors, silence, time; and how a listener is drained and closed."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.config.edge import Limits
from gateway.model.reply import Reply
from gateway.service.listener import ConnectionLimits, SmtpListener, arrival, inflow, server
from tests.support.listening import OK, Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]

MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<r@d.example>"
BUSY = b"421 4.3.2 Too many connections, try again later\r\n"
TIMEOUT = b"421 4.4.2 Timeout, closing the connection\r\n"
SHUTTING_DOWN = b"421 4.3.2 Shutting down, try again later\r\n"


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
async def test_connections_are_limited_and_given_back(listen: Listen, limit: str) -> None:
    listener = await listen(RecordedReception(), limits={limit: 2})
    one, two = await Client.connect(listener.address), await Client.connect(listener.address)
    third = await Client.connect(listener.address, greeted=False)
    assert await third.rest() == BUSY
    assert await one.say("QUIT") == 221
    await until(lambda: listener.sessions == 1)
    fourth = await Client.connect(listener.address)
    assert await two.say("NOOP") == await fourth.say("NOOP") == 250
    for client in (one, two, fourth):
        await client.close()


async def test_the_idlest_makes_room_for_a_newcomer(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "_LEAST_REST", 0.2)
    listener = await listen(RecordedReception(), limits={"connections": 3})
    idle, active, mailing = [await Client.connect(listener.address) for _ in range(3)]
    assert await mailing.say("EHLO client.example") == 250
    assert await mailing.say("MAIL FROM:<a@b.example>") == 250
    await asyncio.sleep(0.3)
    assert await active.say("NOOP") == 250
    newcomer = await Client.connect(listener.address)
    assert await newcomer.say("NOOP") == 250
    assert await idle.rest() == BUSY
    assert await active.say("NOOP") == await mailing.say("RSET") == 250
    for client in (active, mailing, newcomer):
        await client.close()


@pytest.mark.parametrize("limit", ["connections_per_address", "connections_per_network", "connections_per_minute"])
@pytest.mark.parametrize("by", ["its own address", "a PROXY header"])
async def test_nobody_makes_room_for_a_client_beyond_its_own_limit(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, limit: str, by: str
) -> None:
    monkeypatch.setattr(inflow, "_LEAST_REST", 0.0)
    proxy_from = (ipaddress.ip_network("127.0.0.9/32"),)
    listener = await listen(RecordedReception(), proxy_from=proxy_from, limits={"connections": 3, limit: 2})
    idle = await Client.connect(listener.address, local_addr=("127.9.9.1", 0))
    greedy = [await Client.connect(listener.address, local_addr=("127.0.1.1", 0)) for _ in range(2)]
    await asyncio.sleep(0.05)
    for _ in range(3):
        source = "127.0.1.1" if by == "its own address" else "127.0.0.9"
        refused = await Client.connect(listener.address, greeted=False, local_addr=(source, 0))
        if by == "a PROXY header":
            await refused.send(b"PROXY TCP4 127.0.1.1 127.0.0.1 40000 25\r\n")
        assert await refused.reply() == 421
        await refused.close()
    for client in (idle, *greedy):
        assert await client.say("NOOP") == 250
        await client.close()


async def test_nobody_makes_room_for_a_connection_whose_client_is_not_known_yet(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflow, "_LEAST_REST", 0.0)
    monkeypatch.setattr(arrival, "_MOST_UNKNOWN", 2)
    proxy_from = (ipaddress.ip_network("127.0.0.9/32"),)
    listener = await listen(RecordedReception(), proxy_from=proxy_from, limits={"connections": 2})
    first, second = [await Client.connect(listener.address) for _ in range(2)]
    balancer: dict[str, Any] = {"greeted": False, "local_addr": ("127.0.0.9", 0)}
    silent = [await Client.connect(listener.address, **balancer) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert await (await Client.connect(listener.address, **balancer)).rest() == BUSY
    assert await first.say("NOOP") == 250
    await asyncio.sleep(0.05)
    assert await second.say("NOOP") == 250
    newcomer = await Client.connect(listener.address)
    assert await newcomer.say("NOOP") == 250
    await asyncio.sleep(0.05)
    assert await second.say("NOOP") == 250
    assert await first.rest() == BUSY
    await silent[0].send(b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 25\r\n")
    assert await silent[0].reply() == 220
    assert await newcomer.rest() == BUSY
    for client in (second, *silent):
        await client.close()


async def test_listeners_may_share_their_limits(listen: Listen) -> None:
    census = ConnectionLimits(Limits(connections=1))
    first, second = (
        await listen(RecordedReception(), connections=census),
        await listen(RecordedReception(), connections=census),
    )
    one = await Client.connect(first.address)
    two = await Client.connect(second.address, greeted=False)
    assert await two.rest() == BUSY
    await one.close()
    await until(lambda: first.sessions == 0)
    three = await Client.connect(second.address)
    await three.close()


async def test_connections_of_an_address_in_a_minute_are_limited(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"connections_per_minute": 2})
    for _ in range(2):
        client = await Client.connect(listener.address)
        await client.close()
    third = await Client.connect(listener.address, greeted=False)
    assert (await third.rest()).startswith(b"421 4.7.0 Too many connections from your address in a minute")
    other = await Client.connect(listener.address, local_addr=("127.0.0.2", 0))
    await other.close()


async def test_refused_commands_are_limited(listen: Listen) -> None:
    reception = RecordedReception(rcpt=lambda _: Reply(450, "2.0", "Later"))
    listener = await listen(reception, limits={"errors": 3})
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT, RCPT, RCPT, RCPT) == 450
    assert await client.say("FOO", "FOO") == 500
    await client.send(b"FOO\r\nNOOP\r\n")
    assert await client.rest() in (b"500 5.5.1 Command not recognised\r\n421 4.7.0 Too many errors\r\n", b"")


async def test_commands_are_limited(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"commands": 100})
    client = await Client.connect(listener.address)
    await client.send(b"NOOP\r\n" * 101)
    assert [await client.reply() for _ in range(100)] == [250] * 100
    assert await client.rest() == b"421 4.7.0 Too many commands\r\n"


async def test_a_session_that_brings_mail_is_not_cut_off(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"commands": 6, "errors": 2})
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example") == 250
    for _ in range(10):
        assert await client.say("FOO", MAIL, RCPT, "DATA") == 354
        await client.send(b"x\r\n.\r\n")
        assert await client.reply() == 250
    await client.close()


async def test_a_silent_client_is_told(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"command_seconds": 0.1})
    client = await Client.connect(listener.address)
    assert await client.rest() == TIMEOUT


async def test_a_trickled_command_does_not_count_as_life(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"command_seconds": 0.2})
    client = await Client.connect(listener.address)
    began = time.monotonic()
    answer = asyncio.create_task(client.reply())
    while not answer.done() and time.monotonic() - began < 3:
        client.writer.write(b"x")
        await asyncio.sleep(0.02)
    assert await answer == 421
    assert time.monotonic() - began < 2
    await client.close()


async def test_each_command_has_its_own_time(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"command_seconds": 1})
    client = await Client.connect(listener.address)
    for _ in range(3):
        await asyncio.sleep(0.4)
        assert await client.say("NOOP") == 250
    await client.close()


async def test_silence_in_data_is_limited_and_slow_data_is_not(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception, limits={"command_seconds": 0.4, "data_seconds": 0.5})
    client = await Client.connect(listener.address)
    await client.open_data()
    for _ in range(5):
        await client.send(b"line\r\n")
        await asyncio.sleep(0.15)
    await client.send(b".\r\n")
    assert await client.reply() == 250
    assert await client.say(MAIL, RCPT, "DATA") == 354
    await client.send(b"line\r\n")
    assert await client.rest() == TIMEOUT
    await until(lambda: listener.sessions == 0)
    assert len(reception.taken) == 1
    assert reception.only.calls[-2:] == ["abandon", "close"]


async def test_a_session_has_an_end(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"session_seconds": 0.3, "commands": 10**9})
    client = await Client.connect(listener.address)
    began = time.monotonic()
    while time.monotonic() - began < 3:
        await client.send(b"NOOP\r\n")
        code, lines = await client.read_reply()
        if code == 421:
            break
        await asyncio.sleep(0.05)
    assert (code, lines) == (421, ["4.4.2 Timeout, closing the connection"])
    assert await client.rest() == b""


async def test_no_timer_cuts_a_running_commit(listen: Listen) -> None:
    async def finish() -> Reply:
        await asyncio.sleep(1.2)
        return OK

    reception = RecordedReception(finish=finish)
    limits = {"session_seconds": 1, "command_seconds": 0.5, "data_seconds": 0.5}
    listener = await listen(reception, limits=limits)
    client = await Client.connect(listener.address)
    await client.open_data()
    await client.send(b"x\r\n.\r\n")
    assert await client.rest() == b"250 2.0.0 OK\r\n" + TIMEOUT
    assert len(reception.taken) == 1


async def test_a_client_that_does_not_read_is_dropped(listen: Listen) -> None:
    listener = await listen(RecordedReception(), limits={"command_seconds": 0.2, "commands": 10**9})
    with socket.create_connection(listener.address) as sock:
        sock.setblocking(False)
        await until(lambda: listener.sessions == 1)
        flood = asyncio.create_task(asyncio.get_running_loop().sock_sendall(sock, b"EHLO x\r\n" * 1_000_000))
        await until(lambda: listener.sessions == 0)
        flood.cancel()
        await asyncio.wait([flood])


async def test_a_flood_of_commands_does_not_stall_the_others(listen: Listen) -> None:
    """Another client is answered before all that one client pipelined in a single packet."""
    reception = RecordedReception()
    listener = await listen(reception, limits={"commands": 10**9})
    flood, other = await Client.connect(listener.address), await Client.connect(listener.address)
    flood.writer.write(b"HELO x\r\n" * 3000)
    assert await other.say("NOOP") == 250
    assert 0 < len(reception.conversations[0].names) < 3000
    assert [await flood.reply() for _ in range(3000)] == [250] * 3000
    await other.close()
    await flood.close()


async def test_drain_lets_a_transaction_end(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    idle, busy = await Client.connect(listener.address), await Client.connect(listener.address)
    assert await idle.say("EHLO c.example") == 250
    assert await busy.say("EHLO c.example", MAIL) == 250
    drained = asyncio.create_task(listener.drain(5))
    await asyncio.sleep(0.02)
    with pytest.raises(ConnectionError):
        await Client.connect(listener.address)
    assert await busy.say(RCPT, "DATA") == 354
    await busy.send(b"x\r\n.\r\n")
    assert await busy.reply() == 250
    await busy.send(MAIL.encode() + b"\r\n")
    assert await busy.rest() == SHUTTING_DOWN
    await idle.send(b"NOOP\r\n")
    assert await idle.rest() == SHUTTING_DOWN
    assert await drained
    assert len(reception.taken) == 1


async def test_drain_cuts_at_its_deadline_but_no_commit(listen: Listen) -> None:
    async def finish() -> Reply:
        await asyncio.sleep(0.4)
        return OK

    reception = RecordedReception(finish=finish)
    listener = await listen(reception)
    idle, sending, judged = [await Client.connect(listener.address) for _ in range(3)]
    await sending.open_data()
    await sending.send(b"half")
    await judged.open_data()
    await judged.send(b"x\r\n.\r\n")
    assert await listener.drain(0.1)
    assert await idle.rest() == SHUTTING_DOWN
    assert await sending.rest() == SHUTTING_DOWN
    assert await judged.rest() == b"250 2.0.0 OK\r\n" + SHUTTING_DOWN
    assert len(reception.taken) == 1


async def test_close_does_not_hang(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CUT_SECONDS", 0.1)
    monkeypatch.setattr(server, "_CANCEL_SECONDS", 0.1)
    cancelled: list[bool] = []

    async def finish() -> Reply:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return OK

    listener = await listen(RecordedReception(finish=finish))
    idle, judged = [await Client.connect(listener.address) for _ in range(2)]
    await judged.open_data()
    await judged.send(b"x\r\n.\r\n")
    began = time.monotonic()
    await asyncio.sleep(0.02)
    await listener.close()
    assert time.monotonic() - began < 3
    assert cancelled == [True]
    assert await idle.rest() == SHUTTING_DOWN
    assert await judged.rest() == b""
    await listener.close()


async def test_close_without_sessions_is_quick(listen: Listen) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    await client.say("QUIT")
    await client.close()
    began = time.monotonic()
    await listener.close()
    assert time.monotonic() - began < 0.9


async def test_a_command_in_time_is_heard_after_a_stall(listen: Listen) -> None:
    """The process stalled beyond the time-out: the command is in the socket when the timer fires."""
    listener = await listen(RecordedReception(), limits={"command_seconds": 0.3})
    with socket.create_connection(listener.address) as client:
        await asyncio.sleep(0.1)
        assert client.recv(999).startswith(b"220 ")
        client.sendall(b"NOOP\r\n")
        time.sleep(0.5)  # noqa: ASYNC251 it is the loop that stands still
        await asyncio.sleep(0.1)
        assert client.recv(999).startswith(b"250 ")
