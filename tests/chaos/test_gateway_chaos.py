"""kill -9 under load, a flaky backend, a full and a failing disk, a clock that jumps: lost 0, doubled within the bound
of promise P1."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.gateway_chaos import run_chaos
from tests.conftest import SOAK

pytestmark = pytest.mark.slow
KILLS = 1000 if SOAK else 50


async def test_nothing_is_lost_and_nothing_doubled_without_need(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for failing_disk.c")
    report = await run_chaos(tmp_path, KILLS, random.SystemRandom().randrange(1 << 30))
    record_property("chaos", report)
    assert report.good, report
    # It was a run under load, not a quiet one.
    assert report.kills >= KILLS
    assert report.acknowledged > KILLS
