"""The users' file: its allowed contents."""

from __future__ import annotations

from pathlib import Path

from gateway.config.listeners import read_users

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + "A" * 43


def read(directory: Path, text: str) -> tuple[dict[str, str], list[str]]:
    file = directory / "users"
    file.write_text(text)
    users, problems = read_users(file)
    return users, [problem.problem.replace(str(file), "FILE") for problem in problems]


def test_lines_comments_and_blanks(tmp_path: Path) -> None:
    text = f"# people\n\nann@corp.example:{HASH}\n  böb:{HASH}  \n"
    assert read(tmp_path, text) == ({"ann@corp.example": HASH, "böb": HASH}, [])


def test_letter_case_alone_makes_no_second_login(tmp_path: Path) -> None:
    users, problems = read(tmp_path, f"ann:{HASH}\nAnn:{HASH}\n")
    assert (list(users), problems) == (["ann"], ['line 2 of FILE names "Ann" again'])


def test_every_mistake_is_told_and_no_hash_with_it(tmp_path: Path) -> None:
    text = f"ann\n:{HASH}\nbob:secret\nann:{HASH}\nann:{HASH}\ncy:{HASH.replace('m=8', 'm=4194304')}\n"
    users, problems = read(tmp_path, text)
    assert list(users) == ["ann"]
    assert problems == [
        "line 1 of FILE is no `name:hash` line",
        "line 2 of FILE has no name",
        "line 3 of FILE has no argon2 hash",
        'line 5 of FILE names "ann" again',
        "line 6 of FILE has a hash that costs too much to check",
    ]
    assert "secret" not in "".join(problems)
