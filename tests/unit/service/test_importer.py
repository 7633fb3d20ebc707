"""Fetched maps: only a good one replaces the last good copy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.app import make_runtime
from gateway.config.load import load
from gateway.config.maps import map_files
from gateway.config.recipients import MapUnavailable
from gateway.model.event import Event
from gateway.model.value import replace
from gateway.policy.routing import RoutingTable
from gateway.service.directory import Directory
from gateway.service.importer import Import, Importer
from tests.unit.policy.scenes import mailbox
from tests.unit.service.test_directory import RUNNING, TEXT, Clock

SETTINGS = TEXT.replace('maps = ["one.csv", "two.csv"]\n', "") + (
    '[[routing.http]]\nname = "hr"\nurl = "https://hr.example/people.csv"\n'
)


class Source:
    """A source with the test's answers."""

    name = "hr"

    def __init__(self) -> None:
        self.answer: str | Exception | None = "bob@own.example,microsoft\n"
        self.forgotten = 0

    def fetch(self, into: Path) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            into.write_text(self.answer)
        return self.answer is not None

    def forget(self) -> None:
        self.forgotten += 1


class World:
    """A runtime configuration with one fetched map, its importer and its directory."""

    def __init__(self, directory: Path, strict: bool) -> None:
        (directory / "spool").mkdir()
        file = directory / "waypost.toml"
        file.write_text(SETTINGS)
        self.runtime = make_runtime(load(file, {}))
        self.events: list[Event] = []
        self.clock = Clock()
        self.source = Source()
        (place,) = map_files(self.runtime.config)
        self.one = Import(self.source, place.path, place.stamp, 60.0, strict)
        self.importer = Importer(lambda: self.runtime, lambda config: [self.one], RUNNING, self.events.append)
        self.directory = Directory(lambda: self.runtime, self.adopt, self.clock, self.events.append, RUNNING)

    def adopt(self, routing: RoutingTable) -> None:
        self.runtime = replace(self.runtime, routing=routing)

    async def fetch(self, answer: str | Exception | None) -> None:
        self.source.answer = answer
        await self.importer.fetch(self.one)
        if self.one.stamp.exists():
            os.utime(self.one.stamp, (self.touched(), self.touched()))
        for _ in range(2):
            await self.directory.round()

    def touched(self) -> float:
        """The stamp's time, on the test's clock: now if it was touched just now."""
        found = self.one.stamp.stat().st_mtime
        return self.clock.time if found > 1e9 else found

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[bool], World]:
    return lambda strict: World(tmp_path, strict)


BOB = mailbox("bob@own.example")


async def test_what_is_fetched_counts_and_what_is_not_keeps_the_last_good_copy(
    make_world: Callable[[bool], World],
) -> None:
    world = make_world(True)
    assert world.runtime.routing.stale
    await world.fetch("bob@own.example,microsoft\n")
    assert (world.runtime.routing.backend_for(BOB), world.runtime.routing.stale) == ("microsoft", False)
    bad = ("bob@own.example\n", "x@stranger.example,google\n", "", "bob@own.example,new\n")
    for number, answer in enumerate((*bad, MapUnavailable("down"), OSError("broken"))):
        world.clock.time += 10
        await world.fetch(answer)
        assert world.runtime.routing.backend_for(BOB) == "microsoft", answer
        assert len(world.named("map-unavailable")) == number + 1, "each problem is told once"
        await world.fetch(answer)
        assert len(world.named("map-unavailable")) == number + 1
    assert world.source.forgotten == 2 * len(bad), "what was refused is not taken for unchanged later"
    await world.fetch("bob@own.example,google\n")
    assert world.runtime.routing.backend_for(BOB) == "google"
    assert dict(world.named("map-fetched")[-1].fields) == {"map": "hr", "addresses": 1}


async def test_a_source_that_is_down_for_long_makes_the_map_stale(make_world: Callable[[bool], World]) -> None:
    world = make_world(True)
    await world.fetch("bob@own.example,microsoft\n")
    world.clock.time += 99
    await world.fetch(MapUnavailable("down"))
    assert not world.runtime.routing.stale
    world.clock.time += 2
    await world.fetch(MapUnavailable("down"))
    assert world.runtime.routing.stale
    assert len(world.named("map-stale")) == 1
    await world.fetch(None)
    assert not world.runtime.routing.stale, "unchanged is as good as fetched"
    assert dict(world.named("map-fetched")[-1].fields)["addresses"] == "as before"


async def test_addresses_of_others_are_passed_over_where_a_directory_has_them(
    make_world: Callable[[bool], World],
) -> None:
    world = make_world(False)
    await world.fetch("z@own.example,google\nx@stranger.example,google\nBob@OWN.example,microsoft\nnonsense,google\n")
    assert world.one.file.read_text().splitlines() == ["bob@own.example,microsoft", "z@own.example,google"]
    before = world.one.file.stat().st_mtime_ns
    await world.fetch("bob@own.example,microsoft\nz@own.example,google\n")
    assert world.one.file.stat().st_mtime_ns == before, "the same addresses are no new file"


async def test_it_runs_by_the_configuration_of_now(make_world: Callable[[bool], World]) -> None:
    world = make_world(True)
    running = asyncio.create_task(world.importer.run())
    for _ in range(100):
        await asyncio.sleep(0.02)
        if world.one.file.exists():
            break
    running.cancel()
    assert world.one.file.read_text() == "bob@own.example,microsoft\n"
    assert not list(world.one.file.parent.glob("tmp*")), "nothing unfinished is left"
