"""`waypost simulate --batch` over many cases in one process, as an admin would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def run_batch(cases: Iterable[dict[str, Any]], directory: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Results by case id. Every case must have one, in order."""
    cases = list(cases)
    file = directory / "cases.jsonl"
    file.write_text("".join(json.dumps(case) + "\n" for case in cases))
    command = [sys.executable, "-m", "gateway.cli", "simulate", "--batch", str(file), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)
    results = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [result["index"] for result in results] == list(range(len(cases))), done.stderr.decode()
    assert [result["id"] for result in results] == [case["id"] for case in cases]
    assert done.returncode == int(any("error" in result for result in results))
    return {result["id"]: result for result in results}
