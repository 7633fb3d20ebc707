"""The table of alarm kinds, the events that the code raises as alarms, and docs/alarms.md are the same list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gateway.service.alarm_kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent.parent
OF_AN_ATTEMPT = {"deferred", "failed", "role-mail-kept"}
"""Events whose level depends on an outcome: `plan/account.py`."""


def alarms(source: str) -> Iterator[str]:
    """The first argument of every call that has `Level.ALARM` among its arguments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(args=[ast.Constant(value=str(name)), *others]):
                if any(isinstance(other, ast.Attribute) and other.attr == "ALARM" for other in others):
                    yield name


def test_every_alarm_has_its_kind() -> None:
    raised = {name for path in (ROOT / "gateway").rglob("*.py") for name in alarms(path.read_text())}
    assert len(raised) > 10
    names = [kind.name for kind in KINDS]
    assert set(names) == raised | OF_AN_ATTEMPT
    assert len(names) == len(set(names))


def test_the_page_shows_the_table_of_the_code() -> None:
    page = (ROOT / "docs" / "alarms.md").read_text()
    shown = re.findall(r"^\| (`.*`) \| (.*) \| (.*) \| (.*) \|$", page, re.MULTILINE)
    made = [
        (f"`{kind.name}`", kind.means, kind.steps, ", ".join(f"`{name}`" for name in kind.cleared_by)) for kind in KINDS
    ]
    assert [row[:3] for row in shown] == [row[:3] for row in made]
    assert [row[3].strip() for row in shown] == [row[3] for row in made]


def test_what_ends_an_alarm_is_an_event_of_the_code() -> None:
    source = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    for kind in KINDS:
        for name in kind.cleared_by:
            assert re.search(rf'(Event|_describe)\("{name}"', source), f"nothing ends {kind.name}"


def test_calls_with_another_level_are_not_counted() -> None:
    source = 'f(Event("a", Level.ALARM))\nf(Event("b", Level.INFO))\nf(Event(name, Level.ALARM))'
    assert list(alarms(source)) == ["a"]
