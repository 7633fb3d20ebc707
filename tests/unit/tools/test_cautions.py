"""Each warning of `waypost check`, raised by its setting and by nothing else."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from gateway.config.text_file import TextUnfit, read_text
from gateway.tools.keys import make_keys, rotate
from tests.support.commands import type_command

BASE = """
[server]
hostname = "mx.own.example"
[[listener]]
address = "127.0.0.1:2525"
certificate = "server.pem"
key = "server.key"
[[listener]]
role = "submission"
address = "127.0.0.1:2587"
certificate = "server.pem"
key = "server.key"
[submission]
users = "users"
[[domain]]
name = "own.example"
backend = "google"
mailboxes = "listed"
[backend.google]
preset = "google-workspace"
hosts = ["smtp.google.com"]
[routing.addresses]
"ann@own.example" = "google"
"team@own.example" = ["ann@own.example", "guest@elsewhere.example"]
"copy@own.example" = ["copy@own.example", "ann@own.example"]
[[sender]]
name = "ann"
login = "Ann"
owns = ["ann@own.example"]
[outbound]
keyring = "keys"
[alarm]
mail = ["admin@own.example", "admin@elsewhere.example"]
webhook = "https://chat.example/hook"
"""
HASH = "$argon2id$v=19$m=19456,t=2,p=1$YWFhYWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_certificate(tmp_path, "mx.own.example")
    (tmp_path / "users").write_text(f"ann:{HASH}\nbob@own.example:{HASH}\n")
    make_keys(tmp_path / "keys", "own.example", time.time())
    rotate(tmp_path / "keys", "own.example", time.time(), 0)
    file = tmp_path / "gateway.toml"
    file.write_text(BASE)
    return file


def write_certificate(directory: Path, name: str, ends: datetime.datetime | None = None) -> None:
    issued = trustme.CA().issue_cert(name, not_after=ends)
    (directory / "server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(directory / "server.key"))


def warnings(config: Path) -> list[tuple[str, str]]:
    status, out, err = type_command("check", "--json", config=config)
    assert status == 0, out + err
    found = json.loads(out)["warnings"]
    assert all(one["fix"] for one in found)
    strict, said, _ = type_command("check", "--strict", config=config)
    assert strict == int(bool(found))
    assert said.count(": warning: ") == len(found)
    return [(one["place"], one["text"]) for one in found]


def test_a_sound_configuration_has_no_warning(config: Path) -> None:
    assert warnings(config) == []


@pytest.mark.parametrize(
    ("before", "after", "place", "said"),
    [
        ('5"\ncertificate = "server.pem"\nkey = "server.key"', '5"', "listener[0].certificate", "no STARTTLS"),
        ('keyring = "keys"', "", "sender[0].owns", "own.example leaves unsigned"),
        ('login = "Ann"', 'login = "cyd"', "sender[0].login", "cyd cannot log in"),
        ('"guest@elsewhere.example"', '"gone@own.example"', "routing", "team@own.example -> gone@own.example"),
        ('"ann@own.example" = "google"', '"ann@own.example" = "team@own.example"', "routing", "back to themselves"),
        (
            ', "admin@elsewhere.example"]\nwebhook = "https://chat.example/hook"',
            "]",
            "alarm.mail",
            "every alarm mailbox is behind",
        ),
    ],
)
def test_each_warning(config: Path, before: str, after: str, place: str, said: str) -> None:
    assert before in BASE
    config.write_text(BASE.replace(before, after, 1))
    found = warnings(config)
    assert any(where == place and said in text for where, text in found), found


def test_a_login_that_owns_nothing(config: Path) -> None:
    users = config.parent / "users"
    users.write_text(users.read_text() + f"stray:{HASH}\n")
    [(place, text)] = warnings(config)
    assert (place, "stray can log in, and can send nothing" in text) == ("submission.users", True)


def test_certificates_of_another_name_and_of_the_past(config: Path) -> None:
    write_certificate(config.parent, "other.example")
    assert all("it is not for mx.own.example" in text for _, text in warnings(config))
    write_certificate(config.parent, "mx.own.example", datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=9))
    found = warnings(config)
    assert len(found) == 2
    assert all("it ended 9 days ago" in text for _, text in found)


def test_a_mistake_on_each_row_is_told_once(config: Path) -> None:
    rows = "".join(f'"p{number}@own.example" = "gogle"\n' for number in range(30))
    config.write_text(BASE.replace("[[sender]]", rows + "[[sender]]", 1))
    err = type_command("check", config=config)[2]
    assert err.count("gogle") == 1
    assert "(and on 29 more lines)" in err
    people = config.parent / "people.csv"
    people.write_text("".join(f"q{number}@own.example,gogle\n" for number in range(500)) + "x,google\n")
    config.write_text(BASE.replace("[routing.addresses]", '[routing]\nmaps = ["people.csv"]\n[routing.addresses]'))
    err = type_command("check", config=config)[2]
    assert err.count("gogle") == 1
    assert "(and on 499 more lines)" in err
    assert 'people.csv:501: "x" is no mail address' in err


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_missing_right_names_the_file_and_the_user(tmp_path: Path, nobody: None) -> None:
    # The fixture's directory belongs to whoever made it: a file of /etc that only root may read.
    secret = Path("/etc/shadow")
    if not secret.exists():
        pytest.skip("no file here that only root may read")
    with pytest.raises(TextUnfit) as raised:
        read_text(secret)
    assert raised.value.problem == "cannot read /etc/shadow: Permission denied"
    assert "who runs this command, and the gateway's user read it" in raised.value.fix
