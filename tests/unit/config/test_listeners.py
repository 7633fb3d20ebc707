"""The checks of listeners: certificates, logins, trusted peers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.config.load import load
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config

HEAD = """\
[server]
hostname = "mx.own.example"
[[domain]]
name = "own.example"
backend = "google"
[backend.google]
hosts = "smtp.google.com"
"""
LISTENER = '[[listener]]\naddress = "127.0.0.1:2525"\n'
PAIR = 'certificate = "cert.pem"\nkey = "cert.key"\n'
USERS = '[submission]\nusers = "users"\n'
HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + "A" * 43


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("config")
    authority = trustme.CA()
    for stem in ("cert", "more"):
        issued = authority.issue_cert(f"{stem}.own.example")
        issued.private_key_pem.write_to_path(str(made / f"{stem}.key"))
        (made / f"{stem}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(str(made / "ca.pem"))
    (made / "users").write_text(f"ann:{HASH}\n")
    (made / "bad-users").write_text("ann:secret\n")
    (made / "empty").write_text("")
    return made


def read(directory: Path, text: str) -> Config:
    file = directory / "waypost.toml"
    file.write_text(HEAD + text)
    return load(file, {})


def test_submission_on_both_ports(directory: Path) -> None:
    text = LISTENER + PAIR + 'role = "submission"\ntls = "implicit"\nsession_tickets = false\nclient_ca = "ca.pem"\n'
    text += 'certificates = [{ certificate = "more.pem", key = "more.key" }]\ngreet_pause = 2\n'
    listener = read(directory, text + 'xclient_from = "192.0.2.9"\n' + USERS).listener[0]
    assert (listener.role, listener.tls, listener.session_tickets) == ("submission", "implicit", False)
    assert listener.certificates[0].key == directory / "more.key"
    assert listener.greet_pause == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LISTENER + 'role = "submission"\n' + USERS, 'is not set, and role = "submission" needs it'),
        (LISTENER + 'tls = "implicit"\n', 'is not set, and tls = "implicit" needs it'),
        (LISTENER + 'client_ca = "ca.pem"\n', "is not set, and client_ca needs it"),
        (LISTENER + PAIR + 'role = "submission"\n', "is submission, and nobody can log in"),
        (LISTENER + PAIR + 'role = "relay"\n', 'is not known; write "mx", "submission" or "smarthost"'),
        (LISTENER + PAIR + 'client_ca = "empty"\n', "has no certificate"),
        (LISTENER + PAIR + 'client_ca = "nowhere.pem"\n', "no file"),
        (LISTENER + '[submission]\nusers = "nowhere"\n', "cannot read"),
        (LISTENER + '[submission]\nusers = "bad-users"\n', "has no argon2 hash"),
        (LISTENER + 'xclient_from = "40.92.0.0/24"\n', "which all tenants of Microsoft 365 send from"),
        (
            LISTENER + PAIR + 'certificates = [{ certificate = "more.pem", key = "cert.key" }]\n',
            "certificates[0].key: does not belong to the certificate",
        ),
        (LISTENER + PAIR + "greet_pause = 61\n", "greet_pause"),
    ],
)
def test_mistakes(directory: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(directory, text)
    lines = caught.value.format().split("\n")
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert "secret" not in lines[0]
