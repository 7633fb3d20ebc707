"""The image's recipe works in a clean Debian, and the gateway runs from it without root and on a read-only root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
def test_the_image_is_built_and_serves() -> None:
    if os.geteuid() != 0:
        pytest.skip("building a root needs root")
    for program in ("debootstrap", "unshare", "setpriv", "ip", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    proof = subprocess.run(
        [sys.executable, HERE / "prove.py"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900
    )
    assert proof.returncode == 0, proof.stdout + proof.stderr
    lines = proof.stdout.splitlines()
    assert any(line.startswith("healthy after ") for line in lines)
    assert any(line.startswith("port 25: 250 ") and "TLSv1" in line for line in lines)
    assert lines[-2].startswith("stopped with status 0")
    assert lines[-1] == "proven"
