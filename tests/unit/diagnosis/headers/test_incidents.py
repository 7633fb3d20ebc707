"""The header blocks of incidents 2, 3 and 5: the text for an admin, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from gateway.diagnosis.headers import find_all, headers_json, read_headers, render_headers
from gateway.tools.results import read_lines

CASES = Path(__file__).parent / "incidents"
NAMES = sorted(path.stem for path in CASES.glob("*.eml"))


def show(name: str) -> str:
    octets, newlines = read_lines((CASES / f"{name}.eml").read_bytes(), raw=False)
    reading = read_headers(octets)
    console = Console(highlight=False, soft_wrap=True, width=100, color_system=None)
    with console.capture() as shown:
        console.print(render_headers(reading, find_all(reading), newlines))
    return shown.get()


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    assert show(name) == (CASES / f"{name}.txt").read_text()


def test_all_three_are_there() -> None:
    assert [name[0] for name in NAMES] == ["2", "3", "5"]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("2-hybrid-relay", ["second-spf-check"]),
        ("3-oreject", ["policy-overridden"]),
        ("5-second-check", ["second-spf-check"]),
    ],
)
def test_the_problem_is_named(name: str, kinds: list[str]) -> None:
    octets, newlines = read_lines((CASES / f"{name}.eml").read_bytes(), raw=False)
    reading = read_headers(octets)
    findings = find_all(reading)
    assert [finding.kind for finding in findings if finding.weight == "problem"] == kinds
    tree = headers_json(reading, findings, newlines)
    assert tree["newlines"] == "converted"
