"""The file of logins, as `waypost user` changes it."""

from __future__ import annotations

from pathlib import Path

from gateway.tools.users import find_twin


def test_a_name_in_other_letters_is_found(tmp_path: Path) -> None:
    file = tmp_path / "users"
    assert find_twin(file, "Ann") == ""
    file.write_text("# Ann:\nann:hash\nbob:hash\n")
    assert find_twin(file, "Ann") == "ann"
    assert find_twin(file, "ann") == ""
    assert find_twin(file, "cy") == ""
