"""Every dialogue of the scripts beside this file, against a real listener and a real reception."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialogues.script import Dialogue, Surroundings, hold, read_script

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))
DIALOGUES = [dialogue for file in SCRIPTS for dialogue in read_script(file.read_text("utf-8"), file.name)]


@pytest.mark.parametrize("dialogue", [pytest.param(one, id=f"{one.place}-{one.name}") for one in DIALOGUES])
async def test_dialogue(dialogue: Dialogue, around: Surroundings) -> None:
    await hold(dialogue, around)


def test_there_are_enough_of_them() -> None:
    assert len(DIALOGUES) >= 150
    assert len({dialogue.name for dialogue in DIALOGUES}) == len(DIALOGUES)
    assert all(any(verb == "S:" or verb.startswith("@") for _, verb, _ in dialogue.steps) for dialogue in DIALOGUES)
