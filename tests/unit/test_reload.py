"""SIGHUP: configuration, rules and maps are read while mail flows, and broken ones do not take effect."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.app import Gateway, make_runtime, read_config
from gateway.app import runtime_config as law_module
from gateway.app.reload import Reloaded
from gateway.config.model import Config
from gateway.model.event import Event
from gateway.net.system import SystemClock
from gateway.service.runtime import RuntimeConfig
from tests.support.fake_spool import FakeSpool
from tests.support.sending import StillClock, mailbox

TEXT = """\
[server]
hostname = "mx.own.example"
[[listener]]
address = "127.0.0.1:0"
[[domain]]
name = "own.example"
backend = "one"
mailboxes = "listed"
[backend.one]
hosts = "one.example"
[routing]
maps = ["map.csv"]
"""


class World:
    """A gateway that is made and not started."""

    def __init__(self, directory: Path) -> None:
        self.file, self.map = directory / "waypost.toml", directory / "map.csv"
        self.file.write_text(TEXT)
        self.map.write_text("bob@own.example,one\neve@own.example,one\n")
        self.events: list[Event] = []
        law = make_runtime(read_config(self.file))
        self.gateway = Gateway(law, SystemClock(), FakeSpool(StillClock()), {"one": None}, self.events.append)  # type: ignore[arg-type, dict-item]

    async def reload(self) -> None:
        self.outcome = await self.gateway.reload(self.file)

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def lists(self, *names: str) -> list[bool]:
        return [self.gateway._runtime.routing.lists(mailbox(f"{name}@own.example")) for name in names]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("content", ["", "bob@own.example,one\n"])
async def test_an_emptied_or_half_written_map_drops_nobody(world: World, content: str) -> None:
    world.map.write_text(content)
    await world.reload()
    assert world.names() == ["reloaded"]
    assert world.lists("bob", "eve", "dave") == [True, True, False]


async def test_a_new_map_that_names_a_backend_that_does_not_run_is_refused(world: World) -> None:
    world.file.write_text(TEXT.replace('"map.csv"', '"map.csv", "new.csv"') + '[backend.new]\nhosts = "new.example"\n')
    world.file.with_name("new.csv").write_text("zoe@own.example,new\n")
    await world.reload()
    assert world.names() == ["reload-refused"]
    assert world.lists("bob", "zoe") == [True, False]


async def test_a_known_map_that_names_a_backend_that_does_not_run_keeps_its_last_good_copy(world: World) -> None:
    world.file.write_text(TEXT + '[backend.new]\nhosts = "new.example"\n')
    world.map.write_text("bob@own.example,new\n")
    await world.reload()
    assert world.names() == ["reloaded"]
    assert world.gateway._runtime.routing.backend_for(mailbox("bob@own.example")) == "one"


async def test_files_are_read_off_the_loop_and_one_reading_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, threads, running, most = threading.Event(), [], 0, 0

    def slow(config: Config) -> RuntimeConfig:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.append(threading.current_thread())
        gate.wait(5)
        running -= 1
        return make_runtime(config)

    monkeypatch.setattr(law_module, "make_runtime", slow)
    for _ in range(3):
        last = world.gateway.reload(world.file)
        await asyncio.sleep(0.05)
    assert world.names() == [], "the loop goes on while the files are read"
    gate.set()
    await last
    assert (most, len(threads)) == (1, 2), "what was asked for in between is one more reading"
    assert threading.main_thread() not in threads
    assert world.names() == ["reloaded", "reloaded"]


async def test_an_unexpected_error_is_told_and_the_next_reload_works(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: Config) -> RuntimeConfig:
        raise OSError("no")

    with monkeypatch.context() as patched:
        patched.setattr(law_module, "make_runtime", fail)
        await world.reload()
    await world.reload()
    assert world.names() == ["reload-refused", "reloaded"]


async def test_the_outcome_is_told(world: World) -> None:
    await world.reload()
    assert world.outcome == Reloaded()
    world.file.write_text(TEXT.replace("mailboxes", "callout = true\nmailboxes") + "[dns]\nquery_seconds = 2\n")
    await world.reload()
    assert world.outcome == Reloaded(changed=("domain", "dns"), after_restart=("dns",))
    world.file.write_text(TEXT.replace("hosts", "host") + "[dns]\nquery_seconds = 0\n")
    await world.reload()
    problems = world.outcome.problem.splitlines()
    assert [line.rpartition("/")[2].partition(": ")[0] for line in problems] == [
        f"waypost.toml:{n}" for n in (9, 10, 14)
    ]


async def test_who_asked_for_a_reload_may_go_away(world: World) -> None:
    task = asyncio.create_task(world.gateway._answer_reload(world.file, {}))
    await asyncio.sleep(0)
    task.cancel()
    await world.reload()
    assert world.names()[0] == "reloaded"
