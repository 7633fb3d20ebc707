"""The control socket, and the same commands without a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.admin import control
from gateway.admin.control import SOCKET, CommandRefused, Commands, NobodyThere, ask, serve_control
from gateway.app.control import order_one
from gateway.spool.disk import SpoolInUse


class Desk:
    """The commands of this test."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.done: list[Any] = []
        self.gate = asyncio.Event()

    @property
    def commands(self) -> Commands:
        return {"echo": self.echo, "refuse": self.refuse, "break": self.fail, "wait": self.wait}

    async def echo(self, arguments: Mapping[str, Any]) -> Any:
        self.done.append(dict(arguments))
        return dict(arguments)

    async def refuse(self, arguments: Mapping[str, Any]) -> Any:
        raise CommandRefused("no such message")

    async def fail(self, arguments: Mapping[str, Any]) -> Any:
        raise KeyError("secret")

    async def wait(self, arguments: Mapping[str, Any]) -> Any:
        await self.gate.wait()

    def report(self, error: BaseException) -> str:
        self.faults.append(error)
        return "event-1"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def shard(tmp_path: Path, desk: Desk) -> AsyncIterator[Path]:
    # Deeper than a socket's address can say.
    directory = tmp_path / ("deep" * 20) / ("down" * 20)
    directory.mkdir(parents=True)
    async with serve_control(directory, desk.commands, desk.report):
        yield directory


async def test_a_command_is_done_and_answered(shard: Path) -> None:
    assert await ask(shard, "echo", {"message": "\udc80ü"}) == {"message": "\udc80ü"}


async def test_one_connection_may_ask_many_times(shard: Path) -> None:
    with control._short_path(shard) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    for number in range(3):
        writer.write(json.dumps({"command": "echo", "arguments": {"n": number}}).encode() + b"\n")
        assert json.loads(await reader.readline()) == {"answer": {"n": number}}
    writer.close()


async def test_a_refusal_is_told_as_it_is(shard: Path) -> None:
    with pytest.raises(CommandRefused, match=r"^no such message$"):
        await ask(shard, "refuse", {})


async def test_a_fault_is_reported_and_its_text_is_not_told(shard: Path, desk: Desk) -> None:
    with pytest.raises(CommandRefused, match="event-1") as told:
        await ask(shard, "break", {})
    assert "secret" not in str(told.value)
    assert [type(fault) for fault in desk.faults] == [KeyError]


async def test_an_unknown_command_names_those_there_are(shard: Path) -> None:
    with pytest.raises(CommandRefused, match="no command 'ecco'; there are: break, echo, refuse, wait"):
        await ask(shard, "ecco", {})


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (b"hold X\n", "a request is one line of JSON"),
        (b"\xff\n", "a request is one line of JSON"),
        (b"[]\n", 'a request is {"command": "...", "arguments": {...}}'),
        (b'{"command": 1}\n', 'a request is {"command": "...", "arguments": {...}}'),
        (b'{"command": "echo", "arguments": []}\n', '"arguments" is an object'),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_lives(shard: Path, line: bytes, refusal: str) -> None:
    with control._short_path(shard) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    for _ in range(2):
        writer.write(line)
        assert json.loads(await reader.readline()) == {"refused": refusal}
    writer.close()


async def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(control, "_LONGEST_LINE", 1000)
    async with serve_control(tmp_path, {}, repr):
        with control._short_path(tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * 5000)
        assert "at most 1000 octets" in json.loads(await reader.readline())["refused"]
        assert await reader.read() == b""
        writer.close()


async def test_only_the_owner_may_ask(shard: Path) -> None:
    assert stat.S_IMODE((shard / SOCKET).stat().st_mode) == 0o600


async def test_a_socket_left_by_a_killed_gateway_is_nobody_and_is_replaced(tmp_path: Path, desk: Desk) -> None:
    control._listen(tmp_path).close()
    assert (tmp_path / SOCKET).exists()
    with pytest.raises(NobodyThere):
        await ask(tmp_path, "echo", {})
    async with serve_control(tmp_path, desk.commands, desk.report):
        assert await ask(tmp_path, "echo", {}) == {}
    assert not (tmp_path / SOCKET).exists()
    with pytest.raises(NobodyThere):
        await ask(tmp_path, "echo", {})


async def test_who_waits_when_the_gateway_ends_is_told(tmp_path: Path, desk: Desk) -> None:
    async with serve_control(tmp_path, desk.commands, desk.report):
        asking = asyncio.create_task(ask(tmp_path, "wait", {}))
        await asyncio.sleep(0.05)
    with pytest.raises(CommandRefused, match="ended before it answered"):
        await asking


async def test_a_silent_gateway_is_not_waited_for_for_ever(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PATIENCE", 0.05)
    with pytest.raises(CommandRefused, match="has not answered"):
        await ask(shard, "wait", {})


class Owner:
    """Stands for the shard's lock."""

    def __init__(self, desk: Desk, busy: int = 0) -> None:
        self.services, self.busy, self.held = desk, busy, 0

    @asynccontextmanager
    async def __call__(self, shard: Path) -> AsyncIterator[Commands]:
        if self.busy:
            self.busy -= 1
            raise SpoolInUse("in use by another process (pid 1)")
        self.held += 1
        yield {"echo": self.services.echo, "refuse": self.services.refuse}


async def test_a_running_gateway_is_asked_and_its_lock_left_alone(shard: Path, desk: Desk) -> None:
    owner = Owner(desk)
    assert await order_one(shard, owner, "echo", {"a": 1}) == {"a": 1}
    assert owner.held == 0


async def test_without_a_gateway_the_same_is_done_under_the_lock(tmp_path: Path, desk: Desk) -> None:
    owner = Owner(desk)
    assert await order_one(tmp_path, owner, "echo", {"a": 1}) == {"a": 1}
    assert (owner.held, desk.done) == (1, [{"a": 1}])
    with pytest.raises(CommandRefused, match="no such message"):
        await order_one(tmp_path, owner, "refuse", {})


async def test_what_only_a_running_gateway_can_do_says_so(tmp_path: Path, desk: Desk) -> None:
    with pytest.raises(CommandRefused, match="`reload` is for a gateway that runs, and none does"):
        await order_one(tmp_path, Owner(desk), "reload", {})


async def test_a_gateway_that_is_starting_is_waited_for(tmp_path: Path, desk: Desk) -> None:
    asking = asyncio.create_task(order_one(tmp_path, Owner(desk, busy=100), "echo", {"a": 1}, pause=0.02))
    await asyncio.sleep(0.03)
    async with serve_control(tmp_path, desk.commands, desk.report):
        assert await asking == {"a": 1}


async def test_a_lock_that_stays_held_is_told(tmp_path: Path, desk: Desk) -> None:
    with pytest.raises(SpoolInUse, match="pid 1"):
        await order_one(tmp_path, Owner(desk, busy=100), "echo", {}, pause=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_told_who_may_ask(shard: Path) -> None:
    for directory in (shard, *shard.parents[:3]):
        directory.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(CommandRefused, match="only its owner and root may ask"):
            await ask(shard, "echo", {})
    finally:
        os.seteuid(0)
