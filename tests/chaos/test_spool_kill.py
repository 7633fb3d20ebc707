"""kill -9 at any instant: acknowledged writes are there, and no write is there by half (promise P1)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.chaos.spool_checks import Log, check, run_and_kill

_KILLS_PER_SPOOL = 20
"""A check reads every message ever begun, so a spool is discarded after this many."""


async def test_kill_at_any_instant(tmp_path: Path, full_count: Callable[[int], int]) -> None:
    chance, kills = random.Random(), full_count(6)
    for start in range(0, kills, _KILLS_PER_SPOOL):
        spool, log, rounds = tmp_path / f"spool{start}", Log(), min(_KILLS_PER_SPOOL, kills - start)
        for round in range(rounds):
            path = tmp_path / f"log{start + round}"
            run_and_kill(spool, path, chance.randrange(1 << 30), chance.uniform(0.0, 0.5))
            log.read(path)
            await check(spool, log)
        # On a busy machine a victim may be killed before it did much; all of them together did something.
        assert len(log.acknowledged) > rounds
        assert len(log.settled) > rounds
