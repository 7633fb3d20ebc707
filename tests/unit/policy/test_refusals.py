"""Every kind of mistake in a rule file, with the text for the admin: `refusals/NAME.toml` is refused as in `NAME.txt`,
by file, line, expression and caret."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.load import load
from gateway.policy.rules import RuleErrors

HERE = Path(__file__).parent / "refusals"
FILES = {file.name: file.read_text("utf-8") for file in HERE.glob("*.toml")}


def refusal(name: str) -> str:
    with pytest.raises(RuleErrors) as caught:
        load(name, FILES)
    return caught.value.format() + "\n"


@pytest.mark.parametrize("name", sorted(file.stem for file in HERE.glob("*.toml")))
def test_each_refusal_reads_as_it_should(name: str) -> None:
    assert refusal(name) == (HERE / f"{name}.txt").read_text("utf-8")


def test_no_refusal_is_left_without_its_rule_file() -> None:
    assert {file.stem for file in HERE.glob("*.txt")} == {file.stem for file in HERE.glob("*.toml")}


@pytest.mark.parametrize("name", sorted({file.stem for file in HERE.glob("*.toml")} - {"several"}))
def test_each_one_points_at_the_place(name: str) -> None:
    said = refusal(name).splitlines()
    for place, excerpt, caret in zip(said[0::3], said[1::3], said[2::3], strict=True):
        file, line, _ = place.split(":", 2)
        assert excerpt.strip() in FILES[file].splitlines()[int(line) - 1]
        assert caret.strip() == "^"
        assert caret.index("^") <= len(excerpt)
