"""Failures: hooks that raise, clients that leave, replies that would split."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest

from gateway.model.reply import Reply
from gateway.service.listener import SmtpListener
from tests.support.listening import OK, Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]

MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<r@d.example>"
SECRET = "password of the database"


class Raise:
    """A hook that raises as long as it is armed."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.armed = True

    def __call__(self, *_: Any) -> Reply:
        if self.armed:
            raise self.error
        return OK


def raising(*_: Any) -> NoReturn:
    raise RuntimeError(SECRET)


STEPS = ["hello", "mail", "rcpt", "begin", "finish"]
COMMANDS = {"hello": "EHLO c.example", "mail": MAIL, "rcpt": RCPT, "begin": "DATA"}


@pytest.mark.parametrize("hook", STEPS)
@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), ConnectionResetError(SECRET), OSError(28, SECRET), TimeoutError()]
)
async def test_an_exception_of_a_hook_is_451_with_an_id(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool], hook: str, error: Exception
) -> None:
    expects_errors.append(True)
    broken = Raise(error)
    reception = RecordedReception(**{hook: broken})
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    for step in STEPS[: STEPS.index(hook)]:
        assert await client.say(COMMANDS[step]) in (250, 354)
    if hook == "finish":
        await client.send(b"x\r\n.\r\n")
        answer = await client.text()
    else:
        answer = await client.ask(COMMANDS[hook])
    assert answer == "451 4.3.0 Internal error, try again later (event-1)"
    assert errors == [error]
    if hook != "hello":
        assert reception.only.count("abandon") == 1
    # the session goes on with a new transaction
    if hook == "begin":
        reception.hooks.pop(hook)
    broken.armed = False
    await client.open_data()
    await client.send(b"y\r\n.\r\n")
    assert await client.reply() == 250
    assert [taken.content for taken in reception.taken] == [b"y\r\n"]
    await client.close()


async def test_an_exception_while_content_comes_is_told_at_its_end(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool]
) -> None:
    expects_errors.append(True)
    broken = Raise(MemoryError(SECRET))
    reception = RecordedReception(take=broken)
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    await client.send(b"x\r\nMAIL FROM:<smuggled@b.example>\r\n")
    await until(lambda: bool(errors))
    await client.send(b"more\r\n.\r\nNOOP\r\n")
    assert await client.text() == "451 4.3.0 Internal error, try again later (event-1)"
    assert await client.reply() == 250
    conversation = reception.only
    assert (conversation.count("take"), conversation.count("abandon"), conversation.count("finish")) == (1, 1, 0)
    assert conversation.count("mail") == 1
    broken.armed = False
    await client.open_data()
    await client.close()


async def test_an_exception_before_a_chunk_abandons_once(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool]
) -> None:
    expects_errors.append(True)
    reception = RecordedReception(begin=raising)
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.send(b"BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nNOOP\r\n")
    assert [await client.reply(), await client.reply()] == [451, 451]
    assert (reception.only.count("abandon"), len(errors)) == (1, 1)
    await client.close()


@pytest.mark.parametrize("hook", ["mail", "rcpt"])
async def test_what_is_pipelined_behind_an_exception_is_deferred_too(
    listen: Listen, expects_errors: list[bool], hook: str
) -> None:
    """A 503 would be a bounce for our own fault."""
    expects_errors.append(True)
    reception = RecordedReception(**{hook: raising})
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    batch = f"{MAIL}\r\n{RCPT}\r\n{RCPT}\r\nDATA\r\nBDAT 6\r\nNOOP\r\n"
    await client.send(f"EHLO c.example\r\n{batch}".encode())
    codes = [await client.reply() for _ in range(6)]
    assert codes == [250, 451 if hook == "mail" else 250, 451, 451, 451, 451]
    reception.hooks.pop(hook)
    assert await client.say(MAIL, RCPT, "DATA") == 354
    await client.close()


async def test_an_exception_at_connect_is_421(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool]
) -> None:
    expects_errors.append(True)
    listener = await listen(RecordedReception(connect=raising))
    client = await Client.connect(listener.address, greeted=False)
    assert await client.rest() == b"421 4.3.0 Internal error, try again later (event-1)\r\n"
    assert len(errors) == 1


async def test_an_exception_while_cleaning_up_is_only_reported(
    listen: Listen, errors: list[BaseException], expects_errors: list[bool]
) -> None:
    expects_errors.append(True)
    reception = RecordedReception(abandon=raising, close=raising)
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, "RSET", MAIL, RCPT, "DATA") == 354
    await client.close()
    await until(lambda: listener.sessions == 0)
    assert [str(error) for error in errors] == [SECRET] * 3


@pytest.mark.parametrize("half", [b"x\r\n", b"x\r\n.", b"x\r\n.\r", b""])
@pytest.mark.parametrize("abort", [True, False])
async def test_a_client_lost_in_data_is_abandoned_once(listen: Listen, half: bytes, abort: bool) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    await client.send(half)
    if abort:
        await asyncio.sleep(0.01)
        client.writer.transport.abort()
    await client.close()
    await until(lambda: listener.sessions == 0)
    conversation = reception.only
    assert (conversation.count("abandon"), conversation.count("finish"), conversation.count("close")) == (1, 0, 1)
    assert conversation.calls[-2:] == ["abandon", "close"]


async def test_a_client_lost_in_a_chunk_is_abandoned_once(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.send(b"BDAT 10 LAST\r\nabc")
    await client.close()
    await until(lambda: listener.sessions == 0)
    assert reception.only.calls[-2:] == ["abandon", "close"]
    assert reception.only.count("abandon") == 1


async def test_half_close_after_the_dot_still_commits_and_answers(listen: Listen) -> None:
    async def finish() -> Reply:
        await asyncio.sleep(0.05)
        return OK

    reception = RecordedReception(finish=finish)
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    await client.send(b"x\r\n.\r\n")
    client.writer.write_eof()
    assert await client.rest() == b"250 2.0.0 OK\r\n"
    assert [taken.content for taken in reception.taken] == [b"x\r\n"]
    assert reception.only.count("abandon") == 0


async def test_half_close_behind_pipelined_commands_answers_them_all(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.send(f"EHLO c.example\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode() + b"x\r\n.\r\nQUIT\r\n")
    client.writer.write_eof()
    replies = (await client.rest()).split(b"\r\n")
    assert [line[:4] for line in replies[-7:]] == [b"250 ", b"250 ", b"250 ", b"354 ", b"250 ", b"221 ", b""]
    assert len(reception.taken) == 1


async def test_a_client_that_vanishes_does_not_cancel_a_commit(listen: Listen) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def finish() -> Reply:
        started.set()
        await go_on.wait()
        return OK

    reception = RecordedReception(finish=finish)
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    await client.send(b"x\r\n.\r\n")
    await started.wait()
    client.writer.transport.abort()
    await asyncio.sleep(0.05)
    go_on.set()
    await until(lambda: listener.sessions == 0)
    assert len(reception.taken) == 1
    assert (reception.only.count("abandon"), reception.only.count("close")) == (0, 1)


@pytest.mark.parametrize("command", ["RSET", "EHLO again.example", "HELO again.example"])
async def test_what_ends_a_transaction_abandons_it_once(listen: Listen, command: str) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT, command) == 250
    assert reception.only.count("abandon") == 1
    assert await client.say(command, "QUIT") == 221
    await until(lambda: listener.sessions == 0)
    assert reception.only.count("abandon") == 1
    await client.close()


async def test_a_reply_cannot_be_split(listen: Listen) -> None:
    texts = ["bad\r\n250 2.0.0 OK", "x\r250 OK\0\x1b[31m\ty", "\r\n\r\n354 go", "two\nlines", "\udcff ü"]
    replies = iter([Reply(550, "7.1", text) for text in texts])
    listener = await listen(RecordedReception(mail=lambda envelope: next(replies)))
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example") == 250
    for text in texts:
        await client.send(MAIL.encode() + b"\r\n")
        code, lines = await client.read_reply()
        assert code == 550, text
        assert all(line.startswith("5.7.1 ") and line.isprintable() for line in lines), lines
    assert await client.say("NOOP") == 250
    await client.close()


@pytest.mark.parametrize("hook", ["mail", "rcpt", "begin", "finish"])
async def test_421_of_a_hook_closes(listen: Listen, hook: str) -> None:
    reception = RecordedReception(**{hook: lambda *_: Reply(421, "3.2", "Not today")})
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.send(f"EHLO c.example\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode())
    if hook == "finish":
        for _ in range(4):
            await client.reply()
        await client.send(b"x\r\n.\r\n")
    assert (await client.rest()).endswith(b"421 4.3.2 Not today\r\n")
    assert reception.only.calls[-1] == "close"
