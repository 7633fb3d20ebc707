"""The structure keeps its figures: no name twice, no circle, no import upward, few fragments, a short walk.

The numbers are a ratchet: lower them, never raise them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.architecture.house import (
    REASONS,
    find_cycles,
    find_fragments,
    find_twice,
    find_upward,
    read_floors,
    read_house,
)
from tests.architecture.walk import count

MOST_FRAGMENTS = 6
MOST_MODULES, MOST_SWITCHES = 90, 610
"""Of one small message, from its connection to the reply to its final dot."""


def test_the_structure_of_the_package() -> None:
    house = read_house()
    assert len(house.paths) > 100
    assert find_twice(house) == {}
    assert find_cycles(house) == []
    assert find_upward(house, read_floors()) == []
    fragments = find_fragments(house)
    assert len(fragments) <= MOST_FRAGMENTS
    assert fragments.keys() <= REASONS.keys(), "a fragment that stays has its reason"


def test_breaches_are_noticed(tmp_path: Path) -> None:
    files = {
        "model/one.py": "from gateway.mail.two import Noun\n\nclass Noun: ...\n",
        "mail/two.py": "from gateway.model import one\n\nclass Noun: ...\n",
        "mail/three.py": "def help() -> None:\n    from gateway.model.lone import x\n",
        "model/lone.py": "x = 1\n",
    }
    for name, source in files.items():
        path = tmp_path / "gateway" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    house = read_house(tmp_path)
    assert find_twice(house) == {"Noun": ["gateway.mail.two", "gateway.model.one"]}
    assert [sorted(circle) for circle in find_cycles(house)] == [["gateway.mail.two", "gateway.model.one"]]
    assert find_upward(house, read_floors()) == [("gateway.model.one", "gateway.mail.two")]
    assert find_fragments(house)["gateway.model.lone"] == "gateway.mail.three"


def test_a_message_walks_through_few_modules() -> None:
    found = asyncio.run(count(in_session=False))
    assert 20 < found["modules"] <= MOST_MODULES
    assert 100 < found["switches"] <= MOST_SWITCHES
