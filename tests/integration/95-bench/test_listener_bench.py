"""The listener alone takes messages at least twice as fast as stock aiosmtpd, both throwing them away, in one run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WANTED = 2.0


@pytest.mark.slow
def test_twice_as_fast() -> None:
    if shutil.which("smtp-source", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("smtp-source (Postfix) is not installed")
    command = [sys.executable, "-m", "bench.listener", "--count", "1000", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = re.search(r"ratio[^|]*\| ([0-9.]+) \| ([0-9.]+) \|", done.stdout)
    assert found, done.stdout
    assert float(found[1]) >= WANTED, done.stdout
