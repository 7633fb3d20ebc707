"""All stored times move along with a clock that jumps, in one transaction."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from gateway.model.value import replace
from gateway.ports import SpoolFull
from gateway.service.held_mail import ClockWatch
from gateway.spool.disk import SpoolUnusable
from gateway.spool.shards import ShardedSpool
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.times import LONGEST_GAP, find_move
from tests.support.spooling import START, HandClock, make_intake, make_settlement

DAY = 86_400.0


@pytest.mark.parametrize(
    ("last", "move"),
    [
        (None, 0.0),
        (START, 0.0),
        (START - 3600, 0.0),
        (START - LONGEST_GAP, 0.0),
        (START - LONGEST_GAP - 5, 5.0),
        (START + 9, 0.0),
        (START + DAY, -DAY),
    ],
)
def test_how_far_they_move(last: float | None, move: float) -> None:
    assert find_move(last, START) == move


@pytest.mark.parametrize(
    ("last", "elapsed", "move"),
    [
        (START, 0.0, 0.0),
        (START - 3600, 3600.0, 0.0),
        (START - 3600, 3595.0, 0.0),
        (START - 3600, 60.0, 3540.0),
        (START - 20 * DAY, 60.0, 20 * DAY - 60),
        (START + 3600, 60.0, -3660.0),
        (START - 20 * DAY, 20 * DAY, 19 * DAY),
        (START - 3 * DAY, 20 * DAY, 2 * DAY),
    ],
)
def test_how_far_they_move_when_the_machine_knows_how_long_it_ran(last: float, elapsed: float, move: float) -> None:
    assert find_move(last, START, elapsed) == move


class MachineClock(HandClock):
    """Its wall clock is set, and the machine runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.run = 5000.0

    def monotonic(self) -> float:
        return self.run


@pytest.mark.parametrize("seconds", [20 * DAY, 60 * 60.0, -DAY])
@pytest.mark.parametrize("pause", [10.0, 3000.0])
async def test_a_clock_that_is_set_between_two_runs_makes_nothing_older(
    tmp_path: Path, seconds: float, pause: float
) -> None:
    """Not by a day either, after which the sender would be told of a delay that there was not."""
    clock = MachineClock()
    due = await _fill(tmp_path, clock)
    clock.run += pause
    clock.time += pause + seconds
    assert await _see(tmp_path, clock) == ([one + seconds for one in due], seconds)
    assert await _see(tmp_path, clock) == ([one + seconds for one in due], 0.0)


@pytest.mark.parametrize("what", ["restarted", "read", "looked after by the version before"])
async def test_a_machine_that_does_not_know_how_long_it_ran_counts_one_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    clock = MachineClock()
    due = await _fill(tmp_path, clock)
    clock.time += 20 * DAY
    if what == "restarted":
        monkeypatch.setattr("gateway.spool.times.find_boot", lambda: "another one")
    elif what == "read":
        os.utime(tmp_path / "0" / "lock", (START + DAY, START))
    else:
        os.utime(tmp_path / "0" / "lock", (START, START))
    assert await _see(tmp_path, clock) == ([one + 19 * DAY for one in due], 19 * DAY)


async def test_a_shard_that_is_made_anew_has_nothing_to_move(tmp_path: Path) -> None:
    spool = await SqliteSpool.open(tmp_path, HandClock())
    await spool.close()
    assert spool.moved == 0.0


async def test_who_finds_the_shard_in_use_leaves_the_times_alone(tmp_path: Path) -> None:
    clock = MachineClock()
    spool = await SqliteSpool.open(tmp_path, clock)
    before = os.stat(tmp_path / "0" / "lock")
    with pytest.raises(SpoolUnusable, match="in use"):
        await SqliteSpool.open(tmp_path, clock)
    after = os.stat(tmp_path / "0" / "lock")
    assert (after.st_atime_ns, after.st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)
    await spool.close()


@pytest.mark.parametrize("seconds", [DAY, -DAY, 1_700_000_000.0])
@pytest.mark.parametrize("restarted", [True, False])
async def test_ages_and_waits_stay_what_they_were(tmp_path: Path, seconds: float, restarted: bool) -> None:
    clock = HandClock()
    spool = await SqliteSpool.open(tmp_path, clock)
    intakes = [make_intake() for _ in range(3)]
    for intake in intakes:
        await spool.commit(intake)
    before = await spool.reader.queue(10)
    clock.time += seconds
    if restarted:
        await spool.close()
        os.utime(tmp_path / "0" / "lock", (START, START))
        spool = await SqliteSpool.open(tmp_path, clock)
        seconds = seconds if seconds < 0 else seconds - LONGEST_GAP
        assert spool.moved == seconds
    else:
        clock.time -= seconds
        await spool.move_times(seconds)
        clock.time += seconds
    after = await spool.reader.queue(10)
    assert [one.due for one in after] == [one.due + seconds for one in before]
    assert [one.created for one in after] == [one.created + seconds for one in before]
    (claim, *_) = await spool.claim((), 10, clock.time + 10 * DAY, 60.0)
    assert claim.transfer.created == intakes[0].transfers[0].created + seconds
    await spool.close()


class Cut(Exception):
    """The process ends here."""


def _cut(*_: object) -> None:
    raise Cut


def _full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def _fill(directory: Path, clock: HandClock, shard: str = "0") -> Sequence[float]:
    """A closed spool with one transfer; when it is due."""
    spool = await SqliteSpool.open(directory, clock, shard=shard)
    await spool.commit(make_intake())
    due = [one.due for one in await spool.reader.queue(10)]
    await spool.close()
    return due


async def _see(directory: Path, clock: HandClock) -> tuple[Sequence[float], float]:
    spool = await SqliteSpool.open(directory, clock)
    due = [one.due for one in await spool.reader.queue(10)]
    await spool.close()
    return due, spool.moved


@pytest.mark.parametrize("seconds", [-DAY, 3 * DAY])
@pytest.mark.parametrize(
    ("where", "failure"),
    [
        ("gateway.spool.writer.move_at_start", _full),
        ("gateway.spool.times._move", _cut),
        ("gateway.spool.writer.sync_directory", _cut),
        ("gateway.spool.sqlite.sign_lock", _cut),
    ],
    ids=["no room to begin", "during the move", "after the commit", "before the look is noted"],
)
async def test_a_start_that_fails_moves_times_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, where: str, failure: Callable[..., None]
) -> None:
    clock = HandClock()
    due = await _fill(tmp_path, clock)
    clock.time += seconds
    expected = seconds if seconds < 0 else seconds - LONGEST_GAP
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(where, failure)
            with pytest.raises((Cut, SpoolUnusable)):
                await SqliteSpool.open(tmp_path, clock)
            gc.collect()
    after, moved = await _see(tmp_path, clock)
    assert after == [one + expected for one in due]
    assert moved == expected
    assert await _see(tmp_path, clock) == (after, 0.0), "the look is noted now"


async def test_a_move_that_is_cut_off_before_its_look_is_noted_is_not_made_again(tmp_path: Path) -> None:
    clock = HandClock()
    due = await _fill(tmp_path, clock)
    spool = await SqliteSpool.open(tmp_path, clock)
    await spool.begin_move(-DAY)
    await spool.close()
    clock.time -= DAY
    after, _ = await _see(tmp_path, clock)
    assert after == [one - DAY for one in due]


async def _open_two(directory: Path, clock: HandClock) -> tuple[ShardedSpool, Sequence[float]]:
    """A worker's own shard and one that it adopted, each with a transfer."""
    due = [*await _fill(directory, clock), *await _fill(directory, clock, "1")]
    return await ShardedSpool.open(directory, clock, 900.0, 0, 1), due


async def test_a_shard_that_was_moved_is_not_moved_again_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    spool, due = await _open_two(tmp_path, clock)
    own, adopted = spool.shards
    with monkeypatch.context() as patch:
        patch.setattr(own, "begin_move", AsyncMock(side_effect=SpoolFull("the disk is almost full")))
        for _ in range(3):
            with pytest.raises(SpoolFull):
                await spool.move_times(-DAY)
        assert [one.due for one in await adopted.reader.queue(10)] == [due[1] - DAY]
        assert not await adopted.claim((), 10, clock.time + DAY, 60.0), "nothing is too old by a clock that it has not"
        assert await own.claim((), 1, clock.time + DAY, 60.0), "what was not moved goes on"
    await spool.move_times(-DAY - 0.01)
    assert [one.due for one in await adopted.reader.queue(10)] == [due[1] - DAY]
    clock.time -= DAY
    await spool.move_times(DAY)
    assert [one.due for one in await adopted.reader.queue(10)] == [due[1]], "the next jump is a jump of its own"
    assert await adopted.claim((), 10, clock.time + 3 * DAY, 60.0)
    await spool.close()


async def test_a_clock_set_right_before_all_are_moved_takes_the_move_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    spool, due = await _open_two(tmp_path, clock)
    jumps, adopted, events = [-DAY, 0.0, 0.0], Mock(), Mock()
    turned = Mock(jump=lambda: jumps.pop(0), adopt=adopted)

    async def move(seconds: float, adopt: Callable[[], None]) -> None:
        await spool.move_times(seconds)
        adopt()

    watch = ClockWatch(turned, move, events)
    with monkeypatch.context() as patch:
        patch.setattr(spool.shards[0], "begin_move", AsyncMock(side_effect=SpoolFull("the disk is almost full")))
        await watch.look()
    await watch.look()
    await watch.look()
    assert adopted.call_count == 1
    assert [event.args[0].name for event in events.call_args_list] == ["error"]
    assert sorted(one.due for one in await spool.reader.queue(10)) == sorted(due)
    await spool.close()


@pytest.mark.parametrize("seconds", [-20 * DAY, 20 * DAY, -7200.0])
@pytest.mark.parametrize("adopted", [True, False], ids=["planned before", "while it is adopted"])
async def test_what_is_written_while_the_clock_is_set_goes_by_the_new_one(
    tmp_path: Path, seconds: float, adopted: bool
) -> None:
    """A reception, a settlement and a returned claim that were planned by the old clock, and written after the move."""
    clock = HandClock()
    spool = await SqliteSpool.open(tmp_path, clock)
    for _ in range(2):
        await spool.commit(make_intake())
    settled, released = await spool.claim((), 2, clock.time, 60.0)
    clock.time += 1
    planned = replace(make_intake(received=clock.time, due=clock.time), fingerprint=b"f" * 32)
    deferred = make_settlement(
        settled,
        remaining=settled.transfer.rcpts,
        due=clock.time + 300,
        started=clock.time,
        dsn=make_intake(due=clock.time),
    )
    await spool.begin_move(seconds)
    if adopted:
        spool.end_move(seconds)
        clock.time += seconds
    await spool.commit(planned)
    await spool.settle(deferred)
    await spool.release(released, clock.time)
    if not adopted:
        spool.end_move(seconds)
        clock.time += seconds
    queue = await spool.reader.queue(10)
    assert len(queue) == 4
    assert [entry for entry in queue if abs(entry.due - clock.time) > 600] == []
    assert [entry for entry in queue if abs(entry.created - clock.time) > 600] == []
    spool.note_answer(planned.trace.id, heard=False)
    assert await spool.find_unheard((b"f" * 32, b"n" * 32), clock.time) == planned.trace.id
    await spool.close()
