"""A bug of ours at any place is 451 4.3.0 (421 4.3.0 before the greeting) with an event id, never more.

And a client that vanishes after the dot leaves nothing, or one message that is committed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.model.delivery import Intake
from gateway.model.reply import Reply
from gateway.ports import Connection, ContentWriter, Conversation, SpoolFull
from gateway.service.authenticator import Authenticator
from gateway.service.listener import ListenerSettings, serve
from gateway.service.reception import MxReception
from tests.support.listening import Client, until
from tests.support.receiving import Spool, make_reception

SECRET = "password=hunter2"
ERRORS: tuple[BaseException, ...] = (
    RuntimeError(SECRET),
    ValueError(SECRET),
    KeyError(SECRET),
    AssertionError(SECRET),
    ConnectionResetError(SECRET),
    BrokenPipeError(SECRET),
    TimeoutError(SECRET),
    OSError(28, SECRET),
    MemoryError(SECRET),
    RecursionError(SECRET),
    UnicodeDecodeError("ascii", b"\xff", 0, 1, SECRET),
    EOFError(SECRET),
)
BUG = re.compile(r"451 4\.3\.0 Internal error, try again later \(event-\d+\)")
SMALL = b"From: a@b.example\r\n\r\nhello\r\n"
LARGE = b"From: a@b.example\r\n\r\n" + b"hello hello hello hello\r\n" * 60_000
"""More than memory keeps."""


class Broken:
    """A conversation with a bug in one hook."""

    def __init__(self, real: Conversation, hook: str, error: BaseException) -> None:
        self._real = real
        self._hook = hook
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return self._raise if name == self._hook else getattr(self._real, name)

    def _raise(self, *_: Any) -> Any:
        raise self._error


@dataclass
class House:
    """A listener over a reception with a bug at one place."""

    spool: Spool = field(default_factory=Spool)
    errors: list[BaseException] = field(default_factory=list)
    hook: str = ""
    error: BaseException = field(default_factory=lambda: RuntimeError(SECRET))

    async def connect(self, connection: Connection) -> Conversation | Reply:
        if self.hook == "connect":
            raise self.error
        conversation = await make_reception(self.spool).connect(connection)
        assert not isinstance(conversation, Reply)
        return Broken(conversation, self.hook, self.error)  # type: ignore[return-value]

    def report(self, error: BaseException) -> str:
        self.errors.append(error)
        return f"event-{len(self.errors)}"

    async def talk(self, *parts: bytes) -> list[str]:
        """One session; every line that the server says after its greeting."""
        settings = ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0")
        listener = await serve(settings, self, self.report)
        client = await Client.connect(listener.address, greeted=False)
        try:
            async with asyncio.timeout(10):
                greeting = await client.reader.readline()
                for part in parts:
                    if greeting.startswith(b"220"):
                        await client.send(part)
                lines = (greeting + await client.reader.read(-1)).decode().splitlines()
        finally:
            await client.close()
            await listener.close()
        return lines


def session(way: str, content: bytes) -> tuple[bytes, ...]:
    head = b"EHLO b.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<r@d.example>\r\n"
    if way == "DATA":
        return head + b"DATA\r\n", content + b".\r\n", b"QUIT\r\n"
    half = len(content) // 2
    chunks = b"BDAT %d\r\n%s" % (half, content[:half]), b"BDAT %d LAST\r\n%s" % (len(content) - half, content[half:])
    return head, *chunks, b"QUIT\r\n"


def check(house: House, lines: list[str], error: BaseException) -> None:
    said = "\n".join(lines)
    assert SECRET not in said
    assert type(error).__name__ not in said
    assert error in house.errors
    faults = [line for line in lines if line.startswith("451")]
    assert faults, lines
    assert all(BUG.fullmatch(line) for line in faults), faults
    assert not house.spool.kept


HOOKS = ("mail", "rcpt", "begin", "take", "finish")


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_bug_in_a_hook(hook: str, way: str, error: BaseException) -> None:
    house = House(hook=hook, error=error)
    parts = session(way, SMALL)
    if way == "DATA" and hook in ("mail", "rcpt", "begin"):
        parts = (parts[0], b"QUIT\r\n")  # there is no 354 after which to send content
    lines = await house.talk(*parts)
    check(house, lines, error)
    assert not [line for line in lines if line.startswith("5")], lines
    assert lines[-1] == "221 2.0.0 Bye"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_bug_in_hello(error: BaseException) -> None:
    house = House(hook="hello", error=error)
    check(house, await house.talk(b"EHLO b.example\r\nHELO b.example\r\nQUIT\r\n"), error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_bug_at_connect(error: BaseException) -> None:
    house = House(hook="connect", error=error)
    assert await house.talk() == ["421 4.3.0 Internal error, try again later (event-1)"]
    assert house.errors == [error]


@pytest.mark.parametrize("hook", ["abandon", "close"])
async def test_a_bug_while_cleaning_up_is_only_reported(hook: str) -> None:
    house = House(hook=hook)
    lines = await house.talk(
        b"EHLO b.example\r\nMAIL FROM:<a@b.example>\r\nRSET\r\nMAIL FROM:<a@b.example>\r\nQUIT\r\n"
    )
    assert [line[:3] for line in lines if line[3] == " "] == ["220", "250", "250", "250", "250", "221"]
    assert house.error in house.errors
    assert SECRET not in "\n".join(lines)


def raise_it(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


class FailingWriter:
    """A place for large content that fails at one of its steps."""

    def __init__(self, real: ContentWriter, step: str, error: BaseException) -> None:
        self._real, self._step, self._error = real, step, error

    def __getattr__(self, name: str) -> Any:
        return raise_it(self._error) if name == self._step else getattr(self._real, name)


PLACES = ("commit", "open_content", "drain", "writer.finish", "judge")


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_bug_behind_the_hooks(
    monkeypatch: pytest.MonkeyPatch, place: str, way: str, error: BaseException
) -> None:
    house = House()
    if place == "commit":
        house.spool.failures["commit"] = [error]
    elif place == "open_content":
        monkeypatch.setattr(house.spool, "open_content", raise_it(error))
    elif place == "judge":
        monkeypatch.setattr(Authenticator, "run", raise_it(error))
    else:
        real = house.spool.open_content
        step = place.removeprefix("writer.")
        monkeypatch.setattr(house.spool, "open_content", lambda: FailingWriter(real(), step, error))
    lines = await house.talk(*session(way, SMALL if place in ("commit", "judge") else LARGE))
    check(house, lines, error)
    assert not [line for line in lines if line.startswith("5")], lines
    assert not house.spool.files


async def test_a_full_disk_is_no_bug_and_leaves_a_trace() -> None:
    house = House()
    house.spool.failures["commit"] = [SpoolFull("disk")]
    lines = await house.talk(*session("DATA", SMALL))
    (reply,) = [line for line in lines if line.startswith("452 4.3.1")]
    story = await house.spool.reader.story(reply.rpartition("(")[2].removesuffix(")"))
    assert story is not None
    assert story.trace.decision.rule == "no-storage"
    assert house.errors == []


async def test_on_a_disk_that_takes_nothing_at_all_the_reply_is_the_same() -> None:
    house = House()
    house.spool.failures["commit"] = [SpoolFull("disk"), SpoolFull("disk")]
    lines = await house.talk(*session("DATA", SMALL))
    assert [line for line in lines if line.startswith("452 4.3.1")]
    assert house.errors == []


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("after", [0.0, 0.001, 0.005, 0.02, 0.06])
@pytest.mark.parametrize("abort", [True, False])
async def test_who_vanishes_after_the_dot_leaves_nothing_or_one(
    way: str, content: bytes, after: float, abort: bool
) -> None:
    spool = Spool()
    commit = spool.commit

    async def slow(intake: Intake) -> None:
        await asyncio.sleep(0.03)
        await commit(intake)

    spool.commit = slow  # type: ignore[method-assign]
    errors: list[BaseException] = []
    reception: MxReception = make_reception(spool)
    settings = ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0")
    listener = await serve(settings, reception, lambda error: str(errors.append(error)))
    client = await Client.connect(listener.address)
    for part in session(way, content)[:-1]:
        await client.send(part)
        await asyncio.sleep(0.002)
    await asyncio.sleep(after)
    if abort:
        client.writer.transport.abort()
    await client.close()
    await until(lambda: listener.sessions == 0)
    await listener.close()
    assert errors == []
    assert len(spool.kept) <= 1
    if spool.kept:
        assert spool.content(spool.kept[0]) == content
        assert len(await spool.reader.queue(10)) == 1
    else:
        assert not spool.files
