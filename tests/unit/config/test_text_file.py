"""Files that are missing, endless, or only partly readable: each is reported with its place, and none is waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.listeners import read_users
from gateway.config.load import load
from gateway.config.maps import read_map
from gateway.config.mistakes import ConfigErrors
from gateway.config.policies import load_set
from gateway.config.rule_files import find_sets
from gateway.config.text_file import MOST_OCTETS, TextUnfit, read_octets, read_text
from gateway.policy.rules import RuleErrors

RULE = '[[rule]]\nid = "r"\nstage = "data"\nwhen = "message.hops > 20"\nthen = "quarantine"\n'


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_large(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(200_000_000)


def make_directory(path: Path) -> None:
    path.mkdir()


NONE = {"pipe": make_pipe, "endless": make_endless, "large": make_large, "directory": make_directory}


def as_config(path: Path) -> str:
    with pytest.raises(ConfigErrors) as raised:
        load(path, {})
    return raised.value.format()


def as_rules(path: Path) -> str:
    assert "mine" not in find_sets(path.parent)
    with pytest.raises(RuleErrors) as raised:
        load_set("enforce", path.parent)
    return raised.value.format()


def as_map(path: Path) -> str:
    return read_map(path, {"own.example"}, {"google"})[1][0].problem


def as_users(path: Path) -> str:
    with pytest.raises(TextUnfit) as raised:
        read_users(path)
    return str(raised.value)


READERS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "config": ("gateway.toml", as_config),
    "rules": ("mine.toml", as_rules),
    "map": ("map.csv", as_map),
    "TOML map": ("map.toml", as_map),
    "users": ("users", as_users),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, reader: str, kind: str) -> None:
    name, read = READERS[reader]
    NONE[kind](tmp_path / name)
    began = time.monotonic()
    said = read(tmp_path / name)
    assert "regular file" in said or "larger than" in said or "is a directory" in said
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("reader", ["config", "rules", "map", "TOML map"])
def test_a_lone_cr_is_told_with_its_line(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    (tmp_path / name).write_bytes(f"# one\r\n# two\r{RULE}".replace("\n[", "\n[").encode())
    assert "CR that ends no line" in read(tmp_path / name)
    if reader in ("config", "rules"):
        assert f"{tmp_path / name}:2:" in read(tmp_path / name)


def test_a_mark_at_the_start_hides_no_set_and_no_login(tmp_path: Path) -> None:
    for mark, ends in (("\ufeff", "\n"), ("\ufeff", "\r\n"), ("", "\r\n")):
        text = f'{mark}set = "mine"\n{RULE}'.replace("\n", ends)
        (tmp_path / "mine.toml").write_bytes(text.encode())
        assert "mine" in find_sets(tmp_path)
        assert [rule.id for rules in load_set("mine", tmp_path).rules.values() for rule in rules] == ["r"]
    hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + "A" * 43
    (tmp_path / "users").write_text(f"\ufeffann:{hash}\r\nbob:{hash}\n")
    assert list(read_users(tmp_path / "users")[0]) == ["ann", "bob"]


@pytest.mark.parametrize(
    "key", [".".join("a" * 20_000), " . ".join(["ab"] * 20_000), "x = 1\n[" + ".".join("a" * 20_000)]
)
def test_a_key_of_many_parts_is_told_at_once(tmp_path: Path, key: str) -> None:
    began = time.monotonic()
    (tmp_path / "gateway.toml").write_text(f"{key} = 1\n")
    assert "more than 64 parts" in as_config(tmp_path / "gateway.toml")
    (tmp_path / "mine.toml").write_text(f'set = "mine"\n{key} = 1\n')
    with pytest.raises(RuleErrors, match="more than 64 parts"):
        load_set("mine", tmp_path)
    assert time.monotonic() - began < 5


def test_twenty_thousand_keys_are_read_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    (tmp_path / "gateway.toml").write_text("".join(f"a{number}.b{number}.c = 1\n" for number in range(20_000)))
    assert "no such setting" in as_config(tmp_path / "gateway.toml")
    assert time.monotonic() - began < 20


def test_the_largest_file_that_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"#" * MOST_OCTETS)
    assert len(read_text(file)) == MOST_OCTETS
    assert len(read_octets(file, MOST_OCTETS)) == MOST_OCTETS
    file.write_bytes(b"#" * (MOST_OCTETS + 1))
    with pytest.raises(TextUnfit, match="larger than"):
        read_text(file)
