"""All stored times move along with a clock that jumps, in one transaction."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.spool.sqlite import SqliteSpool
from gateway.spool.times import LONGEST_GAP, find_move
from tests.support.spooling import START, HandClock, make_intake

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
