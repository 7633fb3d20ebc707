"""Logins: right and wrong ones, guessing, and a changing users' file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from gateway.model.envelope import ip_text
from gateway.model.event import Event
from gateway.service import credentials
from gateway.service.credentials import Credentials

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HERE, THERE = ip_text("192.0.2.1"), ip_text("198.51.100.1")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return "x"


class Door:
    def __init__(self, directory: Path) -> None:
        self.file = directory / "users"
        self.events: list[Event] = []
        self.clock = Clock()
        self.written = 0
        self.write(f"ann:{QUICK.hash('right')}\n")
        self.credentials = Credentials(self.file, self.clock, self.events.append)

    def write(self, text: str) -> None:
        self.file.write_text(text)
        self.written += 1
        os.utime(self.file, ns=(self.written * 10**9, self.written * 10**9))

    async def try_(self, name: str, password: str, client: str = HERE) -> str:
        reply = await self.credentials.check(name, password, ip_text(client))
        return "" if reply is None else f"{reply.code} {reply.enhanced}"


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr(credentials, "_MOST_DELAY_SECONDS", 0.0)
    made = Door(tmp_path)
    yield made
    made.credentials.close()


async def test_a_name_in_other_letters_is_the_same_login(door: Door) -> None:
    door.write(f"Ann@Corp.example:{QUICK.hash('right')}\n")
    for name in ("ann@corp.example", "ANN@CORP.EXAMPLE", "Ann@Corp.example"):
        assert await door.try_(name, "right") == ""
        assert await door.try_(name, "wrong") == "535 5.7.8"


async def test_right_and_wrong(door: Door) -> None:
    assert await door.try_("ann", "right") == ""
    assert await door.try_("ann", "wrong") == "535 5.7.8"
    assert await door.try_("ann", "") == "535 5.7.8"
    assert await door.try_("bob", "right") == "535 5.7.8"
    assert await door.try_("ann", "x" * 100_000) == "535 5.7.8"


async def test_a_network_that_guesses_is_stopped_and_others_are_not(door: Door) -> None:
    for last in range(20):
        assert await door.try_("ann", "wrong", f"192.0.2.{last}") == "535 5.7.8"
    assert await door.try_("ann", "right") == "454 4.7.0"
    assert await door.try_("ann", "right", THERE) == ""
    door.clock.time += 601
    assert await door.try_("ann", "right") == ""


async def test_many_guesses_at_once_count_too(door: Door) -> None:
    answers = await asyncio.gather(*(door.try_("ann", "wrong") for _ in range(60)))
    assert answers.count("535 5.7.8") == 20
    assert answers.count("454 4.7.0") == 40


async def test_each_failure_makes_the_next_answer_slower(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MOST_DELAY_SECONDS", 0.6)
    seconds = []
    for _ in range(3):
        began = asyncio.get_running_loop().time()
        assert await door.try_("ann", "wrong") == "535 5.7.8"
        seconds.append(asyncio.get_running_loop().time() - began)
    assert 0.49 < seconds[0] < 0.6 <= seconds[1]
    began = asyncio.get_running_loop().time()
    assert await door.try_("ann", "right") == ""
    assert asyncio.get_running_loop().time() - began < 0.4


async def test_memory_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MOST_NETWORKS", 5)
    for last in range(30):
        await door.try_("ann", "wrong", f"10.0.{last}.1")
    assert len(door.credentials._failures) == 5


async def test_the_file_is_read_again(door: Door) -> None:
    door.write(f"bob:{QUICK.hash('new')}\n")
    assert await door.try_("bob", "new") == ""
    assert await door.try_("ann", "right") == "535 5.7.8"
    door.write("bob:broken\n")
    assert await door.try_("bob", "new") == ""
    assert await door.try_("bob", "new") == ""
    door.file.unlink()
    assert await door.try_("bob", "new") == ""
    assert [event.name for event in door.events] == ["users-refused"] * 2
    assert all("broken" not in str(event.fields) for event in door.events)
    door.write(f"ann:{QUICK.hash('again')}\n")
    assert await door.try_("ann", "again") == ""
    assert [event.name for event in door.events] == ["users-refused"] * 2 + ["users-read"]


async def test_hashing_does_not_stop_the_loop(door: Door) -> None:
    door.write(f"ann:{PasswordHasher(time_cost=4, memory_cost=65536, parallelism=1).hash('right')}\n")
    worst = 0.0
    check = asyncio.create_task(door.try_("ann", "right"))
    loop = asyncio.get_running_loop()
    while not check.done():
        before = loop.time()
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - before)
    assert await check == ""
    assert worst < 0.05


async def test_a_name_that_is_guessed_from_everywhere_is_locked_but_for_its_owner(door: Door) -> None:
    assert await door.try_("ann", "right") == ""
    for number in range(50):
        assert await door.try_("ann", "wrong", f"203.0.{number}.1") == "535 5.7.8"
    assert [(event.name, event.fields[0]) for event in door.events] == [("login-locked", ("login", "ann"))]
    assert await door.try_("ann", "right", THERE) == "454 4.7.0", "even the right password, from where it never was"
    assert await door.try_("ann", "right", HERE) == ""
    door.clock.time += 901
    assert await door.try_("ann", "right", THERE) == ""


async def test_a_stranger_does_not_learn_which_names_exist(door: Door) -> None:
    async def ask(name: str, block: int) -> list[str]:
        return [await door.try_(name, "wrong", f"203.{block}.{number}.1") for number in range(60)]

    existing, missing = await ask("ann", 0), await ask("nobody", 1)
    assert existing == missing == ["535 5.7.8"] * 50 + ["454 4.7.0"] * 10
    told = [dict(event.fields)["login"] for event in door.events]
    assert told == ["ann"], "an alarm about a name that nobody has would be anybody's to raise"


async def test_names_that_do_not_exist_push_out_nobody_who_has_logged_in(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_MOST_ACCOUNTS", 5)
    assert await door.try_("ann", "right", HERE) == ""
    for number in range(60):
        await door.try_(f"nobody{number}", "x", f"203.0.{number}.1")
    assert len(door.credentials._accounts) == 5
    for number in range(50):
        await door.try_("ann", "wrong", f"203.1.{number}.1")
    assert await door.try_("ann", "right", THERE) == "454 4.7.0"
    assert await door.try_("ann", "right", HERE) == ""


class Directory:
    """A `LoginSource` without people."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, name: str, password: str) -> bool:
        self.asked.append(name)
        return False


async def test_names_that_only_a_directory_may_know_take_bounded_memory(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_MOST_ACCOUNTS", 5)
    directory = Directory()
    door.credentials = Credentials(None, door.clock, door.events.append, directory)
    for number in range(30):
        assert await door.try_(f"nobody{number}", "x", f"203.0.{number}.1") == "535 5.7.8"
    assert await door.try_("n" * 256, "x", THERE) == "535 5.7.8"
    assert list(door.credentials._accounts) == [f"nobody{number}" for number in range(25, 30)], "the last ones count"
    assert len(directory.asked) == 30, "what is too long is no name"
    for number in range(50):
        await door.try_("ann", "wrong", f"198.18.{number}.1")
    assert [event.name for event in door.events] == ["login-locked"], "filling the memory switches no lock off"
    door.credentials.close()


async def test_guesses_from_everywhere_leave_room_for_owners_at_known_places(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_MOST_DELAY_SECONDS", 0.0)
    assert await door.try_("ann", "right", HERE) == ""
    guesses = [asyncio.create_task(door.try_("ann", "wrong", f"203.0.{number}.1")) for number in range(40)]
    await asyncio.sleep(0)
    assert await door.try_("ann", "right", HERE) == ""
    said = await asyncio.gather(*guesses)
    assert said.count("454 4.7.0") == 40 - 20, "strangers wait for each other"


async def test_an_owner_is_known_where_he_has_been_also_after_a_restart(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "logins"
    for _ in range(2):
        door.credentials = Credentials(door.file, door.clock, door.events.append, None, file)
        assert await door.try_("Ann", "right") == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 1, "a known network is not written again"
    with file.open("a") as more:
        more.write("torn [\n[1, 2]\n")
    door.credentials = Credentials(door.file, door.clock, door.events.append, None, file)
    for number in range(60):
        await door.try_("ann", "wrong", f"10.0.{number}.1")
    assert await door.try_("ann", "right", THERE) == "454 4.7.0"
    assert await door.try_("ann", "right", HERE) == ""


async def test_an_owner_is_known_where_another_worker_has_seen_him(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "logins"
    workers = [Credentials(door.file, door.clock, door.events.append, None, file) for _ in range(3)]
    for worker, client in zip(workers, (HERE, THERE, "203.0.113.77"), strict=True):
        door.credentials = worker
        assert await door.try_("Ann", "right", client) == ""
    for worker in workers:
        door.credentials = worker
        for number in range(60):
            await door.try_("ann", "wrong", f"10.0.{number}.1")
        for client in (HERE, THERE, "203.0.113.77"):
            assert await door.try_("ann", "right", client) == ""
        assert await door.try_("ann", "right", "10.9.9.9") == "454 4.7.0", "the name is locked elsewhere"
    assert len(file.read_text().splitlines()) == 3


async def test_what_is_known_outlives_the_shortening_by_another_worker(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "logins"
    door.credentials = Credentials(door.file, door.clock, door.events.append, None, file)
    monkeypatch.setattr(credentials, "_MOST_OCTETS", 2000)
    other = credentials.Successes(file)
    for number in range(100):
        other.add("ann", f"10.{number}.0.0/24")
        assert await door.try_("guest", "wrong", f"10.200.{number}.1") != ""
    for number in range(60):
        await door.try_("ann", "wrong", f"10.0.{number + 1}.1")
    assert await door.try_("ann", "right", "10.99.0.5") == ""


def test_the_file_of_successes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MOST_OCTETS", 2000)
    successes = credentials.Successes(tmp_path / "logins")
    for number in range(500):
        successes.add("ann", f"10.{number >> 8}.{number & 255}.0/24")
        assert (tmp_path / "logins").stat().st_size <= 2100
    assert successes.read()[-1] == ("ann", "10.1.243.0/24")
    assert [path.name for path in tmp_path.iterdir()] == ["logins"]


async def test_a_file_of_successes_that_cannot_be_used_stops_no_login(door: Door, tmp_path: Path) -> None:
    (tmp_path / "logins").symlink_to(tmp_path / "elsewhere")
    door.credentials = Credentials(door.file, door.clock, door.events.append, None, tmp_path / "logins")
    assert await door.try_("ann", "right") == ""
    assert {event.name for event in door.events} == {"logins-not-remembered"}
    assert not (tmp_path / "elsewhere").exists()
