"""Second opinions: mailauth's verdicts, and the authors that libraries of JavaScript read. One node process each.

`npm ci` in this directory installs it at the versions of package-lock.json; without it the tests skip visibly.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

HERE = Path(__file__).resolve().parent


def verify(cases: Iterable[Mapping[str, Any]], timeout: float = 120) -> dict[str, dict[str, Any]]:
    """Each case's answer by its id; verify.mjs describes both. `message` is bytes here."""
    _require("mailauth")
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


class Readers:
    """The authors that JavaScript's libraries read; one node process, asked header by header."""

    def __init__(self) -> None:
        _require("mailparser")
        self._node = subprocess.Popen(
            ["node", HERE / "readers.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._node.kill()
        self._node.communicate()

    def read(self, header: bytes) -> list[tuple[str, str]]:
        """Library and address, for each address in From."""
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps({"header": base64.b64encode(header).decode()}) + "\n")
        self._node.stdin.flush()
        answer: dict[str, list[str]] = json.loads(self._node.stdout.readline())
        assert "error" not in answer, (answer, header)
        return [(name, address) for name, addresses in answer.items() for address in addresses]


def _require(package: str) -> None:
    if shutil.which("node") is None or not (HERE / "node_modules" / package).is_dir():
        pytest.skip(f"{package} is not installed: run `npm ci` in tests/peers")
