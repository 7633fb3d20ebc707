"""Commands that take somebody's name refuse one that nobody has, and work before the first start."""

from __future__ import annotations

import io
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.config.first import write_first
from tests.support.commands import type_command

SETTINGS = """
[[listener]]
role = "smarthost"
address = "127.0.0.1:2626"
[[sender]]
name = "printer"
networks = ["192.0.2.9"]
owns = ["printer@own.example"]
[outbound]
keyring = "keys"
[submission]
users = "users"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    text = write_first("mx.own.example", "own.example").replace("/var/lib/waypost", str(tmp_path / "spool"))
    file.write_text(text + SETTINGS)
    return file


def add(name: str, config: Path) -> tuple[int, str, str]:
    with patch("sys.stdin", io.StringIO("correct horse battery\n")):
        return type_command("user", "add", name, "--stdin", config=config)


def test_a_login_that_could_send_nothing_is_refused(config: Path) -> None:
    status, _, err = add("ann@own.exmple", config)
    assert status == 2
    assert 'did you mean "ann@own.example"?' in err
    assert not (config.parent / "users").exists()
    assert add("ann@own.example", config)[0] == 0
    status, _, err = type_command("user", "remove", "anne@own.example", config=config)
    assert (status, 'did you mean "ann@own.example"?' in err) == (1, True)
    with_login = config.read_text().replace('networks = ["192.0.2.9"]', 'login = "Printer-7"')
    config.write_text(with_login)
    status, _, err = add("printer-8", config)
    assert (status, 'did you mean "Printer-7"?' in err) == (2, True)
    assert add("printer-7", config)[0] == 0


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["prnter"], "printer"),
        (["anne@own.example"], "ann@own.example"),
        (["own.exmple", "--domain"], "own.example"),
    ],
)
def test_nobody_unknown_is_suspended(config: Path, words: list[str], near: str) -> None:
    assert add("ann@own.example", config)[0] == 0
    status, _, err = type_command("outbound", "suspend", *words, config=config)
    assert (status, f'did you mean "{near}"?' in err) == (2, True), err
    assert type_command("outbound", "suspended", config=config)[1] == "Everybody may send.\n"
    known = [near, *words[1:]]
    assert type_command("outbound", "suspend", *known, config=config)[0] == 0
    status, _, err = type_command("outbound", "resume", words[0], config=config)
    assert (status, f'did you mean "{near}"?' in err) == (1, True), err
    assert type_command("outbound", "resume", near, config=config)[0] == 0


def test_a_login_suspends_the_sender_that_it_belongs_to(config: Path) -> None:
    config.write_text(config.read_text().replace('networks = ["192.0.2.9"]', 'login = "Device"'))
    assert type_command("outbound", "suspend", "device", config=config)[0] == 0
    assert type_command("outbound", "suspended", config=config)[1].startswith("sender printer, since ")
    assert type_command("outbound", "resume", "DEVICE", config=config)[0] == 0


def test_keys_are_made_and_rotated_before_the_first_start(config: Path) -> None:
    assert type_command("key", "new", "own.example", config=config)[0] == 0
    status, out, err = type_command("key", "rotate", "own.example", "--unchecked", config=config)
    assert (status, "No gateway runs" in out) == (0, True), err
    # A key's file is lost: new ones are the way out, so they can be made all the same.
    for file in (config.parent / "keys").glob("own.example/*.pem"):
        file.unlink()
    status, _, err = type_command("key", "new", "own.example", config=config)
    assert (status, "warning: the configuration is broken" in err) == (0, True), err
    status, _, err = type_command("key", "rotate", "own.example", "--unchecked", config=config)
    assert status == 0, err
