"""mailauth as a second opinion: one node process, cases in, verdicts out.

`npm ci` in this directory installs it at the versions of package-lock.json; without it the tests skip visibly.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


def verify(cases: Iterable[Mapping[str, Any]], timeout: float = 120) -> dict[str, dict[str, Any]]:
    """Each case's answer by its id; verify.mjs says what both hold. `message` is bytes here."""
    if shutil.which("node") is None or not (HERE / "node_modules" / "mailauth").is_dir():
        pytest.skip("mailauth is not installed: run `npm ci` in tests/peers")
    lines = []
    for case in cases:
        message = case.get("message")
        encoded = {} if message is None else {"message": base64.b64encode(message).decode()}
        lines.append(json.dumps({**case, **encoded}))
    done = subprocess.run(
        ["node", HERE / "verify.mjs"], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(answers) == len(lines)
    return {answer["id"]: answer for answer in answers}
