"""Address maps that change, break and come back while the gateway runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.app import make_runtime
from gateway.config.load import load
from gateway.model.event import Event, Level
from gateway.model.value import replace
from gateway.policy.routing import RoutingTable
from gateway.service.directory import Directory, keep_maps
from tests.unit.policy.scenes import mailbox

TEXT = """\
[server]
hostname = "mx.own.example"
spool = "spool"
[[listener]]
address = "127.0.0.1:0"
[[domain]]
name = "own.example"
backend = "google"
mailboxes = "listed"
[backend.google]
hosts = "google.example"
[backend.microsoft]
hosts = "microsoft.example"
[routing]
maps = ["one.csv", "two.csv"]
stale_after = 100
[routing.addresses]
"fixed@own.example" = "google"
"""

RUNNING = frozenset({"google", "microsoft"})


class Clock:
    time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return "id"


class World:
    """A runtime configuration with two maps, and the directory that keeps it fresh."""

    def __init__(self, directory: Path) -> None:
        self.one, self.two = directory / "one.csv", directory / "two.csv"
        self.one.write_text("bob@own.example,microsoft\n")
        self.two.write_text("eve@own.example,microsoft\n")
        (directory / "spool").mkdir()
        self.file = directory / "waypost.toml"
        self.file.write_text(TEXT)
        self.runtime = make_runtime(load(self.file, {}))
        self.events: list[Event] = []
        self.clock = Clock()
        self.directory = Directory(lambda: self.runtime, self.adopt, self.clock, self.events.append, RUNNING)
        self.adopted = 0

    def adopt(self, routing: RoutingTable) -> None:
        self.runtime = replace(self.runtime, routing=routing)
        self.adopted += 1

    async def settle(self) -> None:
        """Two checks in a row: the first finds a changed file, the second finds it unchanged."""
        await self.directory.round()
        await self.directory.round()

    def lists(self, *names: str) -> list[bool]:
        return [self.runtime.routing.lists(mailbox(f"{name}@own.example")) for name in names]

    def alarms(self) -> list[str]:
        return [event.name for event in self.events if event.level is Level.ALARM]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_nothing_changes_while_the_files_do_not(world: World) -> None:
    for _ in range(4):
        await world.directory.round()
    assert (world.adopted, world.events) == (0, [])


async def test_a_change_is_taken_over_and_the_other_map_stays(world: World) -> None:
    await world.settle()
    world.one.write_text("carol@own.example,google\nbob@own.example,google\n")
    await world.directory.round()
    assert world.lists("carol") == [False], "the writer may not be done yet"
    await world.directory.round()
    assert world.lists("carol", "bob", "eve", "fixed", "dave") == [True, True, True, True, False]
    assert world.runtime.routing.backend_for(mailbox("bob@own.example")) == "google"
    assert [(event.name, dict(event.fields)["addresses"]) for event in world.events] == [("map-read", 2)]


async def test_a_file_that_is_still_being_written_is_not_read(world: World) -> None:
    await world.settle()
    for count in range(1, 5):
        world.one.write_text("".join(f"u{number}@own.example,google\n" for number in range(count)))
        await world.directory.round()
    assert world.adopted == 0
    await world.directory.round()
    assert world.lists("u3") == [True]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("bob@own.example,nowhere\n", 'line 1: no backend named "nowhere"'),
        ("bob@own.example,google\nhalf", "line 2: is not `address,backend`"),
        ("bob@stranger.example,google\n", "line 1: stranger.example is no domain of ours"),
        ("\udcff", "line 1: is not UTF-8 text"),
        ("", "has no address any more; remove it from [routing] maps if that is meant"),
    ],
)
async def test_the_last_good_copy_stays_when_a_map_breaks(world: World, content: str, problem: str) -> None:
    await world.settle()
    world.one.write_bytes(content.encode("utf-8", "surrogateescape"))
    for _ in range(4):
        await world.directory.round()
    assert world.lists("bob", "dave") == [True, False]
    assert world.alarms() == ["map-unreadable"], "told once"
    assert dict(world.events[0].fields)["problem"] == problem
    world.one.write_text("dave@own.example,google\n")
    await world.settle()
    assert world.lists("bob", "dave") == [False, True]


async def test_a_map_that_is_gone_comes_back(world: World) -> None:
    await world.settle()
    os.rename(world.one, world.one.with_suffix(".away"))
    await world.settle()
    assert world.alarms() == ["map-unreadable"]
    assert dict(world.events[0].fields)["problem"] == "cannot read it: No such file or directory"
    os.rename(world.one.with_suffix(".away"), world.one)
    await world.settle()
    assert [event.name for event in world.events] == ["map-unreadable", "map-read"]
    assert world.adopted == 0


async def test_a_map_that_stays_broken_makes_the_directory_stale(world: World) -> None:
    await world.settle()
    world.two.unlink()
    await world.settle()
    world.clock.time = 99.0
    await world.directory.round()
    assert not world.runtime.routing.stale
    world.clock.time = 100.0
    await world.settle()
    assert world.runtime.routing.stale
    assert world.lists("eve", "bob") == [True, True]
    assert world.alarms() == ["map-unreadable", "map-stale"]
    world.one.write_text("zoe@own.example,google\n")
    await world.settle()
    assert world.runtime.routing.stale, "the other map is still broken"
    assert world.lists("zoe") == [True]
    world.two.write_text("eve@own.example,google\n")
    await world.settle()
    assert not world.runtime.routing.stale


async def test_a_new_configuration_brings_its_own_maps(world: World) -> None:
    await world.settle()
    world.one.unlink()
    await world.settle()
    world.clock.time = 200.0
    world.file.write_text(TEXT.replace('["one.csv", "two.csv"]', '["two.csv"]'))
    world.runtime = make_runtime(load(world.file, {}))
    await world.settle()
    assert not world.runtime.routing.stale
    assert world.lists("bob", "eve") == [False, True]
    world.two.write_text("dave@own.example,google\n")
    await world.settle()
    assert world.lists("eve", "dave") == [False, True]


async def test_a_map_that_names_a_backend_that_does_not_run_is_broken(world: World) -> None:
    await world.settle()
    world.file.write_text(TEXT + '[backend.new]\nhosts = "new.example"\n')
    law = make_runtime(load(world.file, {}))
    world.runtime = replace(law, routing=keep_maps(law, world.runtime))
    world.one.write_text("bob@own.example,new\n")
    for _ in range(4):
        await world.directory.round()
    assert world.alarms() == ["map-unreadable"]
    assert dict(world.events[0].fields)["problem"] == "backend new is new: restart to use it"
    assert world.runtime.routing.backend_for(mailbox("bob@own.example")) == "microsoft"


@pytest.mark.parametrize("content", ["", "zoe@own.example,microsoft\n"])
async def test_a_new_configuration_takes_over_the_last_good_copies(world: World, content: str) -> None:
    world.one.write_text("bob@own.example,microsoft\nzoe@own.example,microsoft\n")
    await world.settle()
    world.one.write_text(content)
    world.file.write_text(TEXT.replace('"one.csv", "two.csv"', '"two.csv", "one.csv"'))
    law = make_runtime(load(world.file, {}))
    world.runtime = replace(law, routing=keep_maps(law, world.runtime))
    assert world.lists("bob", "eve") == [True, True]
    await world.settle()
    assert world.lists("bob", "eve") == [not content, True], "what is good counts after two equal looks"
    assert world.alarms() == ([] if content else ["map-unreadable"])


async def test_a_new_configuration_does_not_make_a_failing_map_younger(world: World) -> None:
    await world.settle()
    world.one.write_text("")
    await world.settle()
    world.clock.time = 99.0
    law = make_runtime(load(world.file, {}))
    world.runtime = replace(law, routing=keep_maps(law, world.runtime))
    await world.settle()
    assert not world.runtime.routing.stale
    world.clock.time = 100.0
    await world.settle()
    assert world.runtime.routing.stale
    law = make_runtime(load(world.file, {}))
    assert keep_maps(law, world.runtime).stale
    assert world.alarms() == ["map-unreadable", "map-stale"]


async def test_a_domain_that_becomes_listed_has_its_mailboxes_at_once(world: World) -> None:
    world.file.write_text(TEXT.replace('"listed"', '"unknown"'))
    world.runtime = make_runtime(load(world.file, {}))
    await world.settle()
    world.one.write_text("carol@own.example,google\n")
    world.file.write_text(TEXT)
    law = make_runtime(load(world.file, {}))
    world.runtime = replace(law, routing=keep_maps(law, world.runtime))
    assert world.lists("bob", "carol", "dave") == [True, True, False]
    await world.settle()
    assert world.lists("bob", "carol") == [False, True]
