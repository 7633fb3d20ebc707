"""docs/alarms.md lists every event that the code raises as an alarm, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OF_AN_ATTEMPT = {"deferred", "failed", "role-mail-kept"}
"""Those whose level depends on an outcome: `plan/account.py`."""


def alarms(source: str) -> Iterator[str]:
    """The first argument of every call that has `Level.ALARM` among its arguments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(args=[ast.Constant(value=str(name)), *others]):
                if any(isinstance(other, ast.Attribute) and other.attr == "ALARM" for other in others):
                    yield name


def test_every_alarm_is_on_the_page() -> None:
    raised = {name for path in (ROOT / "gateway").rglob("*.py") for name in alarms(path.read_text())}
    assert len(raised) > 10
    cells = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "alarms.md").read_text(), re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)}
    assert listed == raised | OF_AN_ATTEMPT


def test_calls_with_another_level_are_not_counted() -> None:
    source = 'f(Event("a", Level.ALARM))\nf(Event("b", Level.INFO))\nf(Event(name, Level.ALARM))'
    assert list(alarms(source)) == ["a"]
