"""The findings of `waypost check` about senders, tenants and the outgoing route."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.mistakes import ConfigErrors
from gateway.tools.keys import make_keys, rotate

BASE = """\
[server]
hostname = "mx.own.example"
[[listener]]
address = "127.0.0.1:2525"
[[domain]]
name = "own.example"
backend = "one"
[backend.one]
hosts = ["127.0.0.1:26"]
"""
SMARTHOST = '[[listener]]\nrole = "smarthost"\naddress = "127.0.0.2:2525"\n'
TENANT = '[[tenant]]\nname = "m365"\nprovider = "microsoft-365"\ndomains = ["own.example"]\n'
GOOGLE = '[[tenant]]\nname = "google"\nprovider = "google-workspace"\ndomains = ["own.example"]\n'
ID = 'tenant_id = "11111111-2222-3333-4444-555555555555"\n'
MACHINE = '[[sender]]\nname = "shop"\nnetworks = ["192.0.2.7"]\nowns = ["own.example"]\n'


def said(tmp_path: Path, more: str) -> str:
    file = tmp_path / "gateway.toml"
    file.write_text(BASE + more)
    with pytest.raises(ConfigErrors) as raised:
        load(file, {})
    return raised.value.format()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (SMARTHOST + TENANT, ["nothing proves this tenant", "relay for all of them", "set tenant_id"]),
        (SMARTHOST + TENANT + 'certificates = ["mail.protection.outlook.com"]\n', ["nothing proves this tenant"]),
        (
            SMARTHOST + TENANT + ID + 'certificates = ["mail.protection.outlook.com"]\n',
            ["no listener of role smarthost asks for certificates", "client_ca"],
        ),
        (SMARTHOST + TENANT + 'networks = ["40.107.0.0/16"]\n', ["nothing proves this tenant"]),
        (SMARTHOST + GOOGLE + ID, ["tenant_id is Microsoft's", "dkim = true"]),
        (SMARTHOST + GOOGLE + 'secret_header = "X-A"\n', ["secret_header and secret go together"]),
        (SMARTHOST + GOOGLE + 'secret_header = "X-Aaa"\nsecret = "short"\n', ["short enough to be guessed"]),
        (SMARTHOST + GOOGLE + 'secret_header = "X: A"\nsecret = "long-enough-for-this"\n', ["secret_header"]),
        (SMARTHOST + TENANT + 'tenant_id = "own.onmicrosoft.com"\n', ["tenant_id"]),
        (SMARTHOST + TENANT.replace("own.example", "far.example") + ID, ["far.example is no domain of ours"]),
        (SMARTHOST + TENANT + ID + 'backend = "microsoft"\n', ['no backend named "microsoft"', "there are: one"]),
        (SMARTHOST + TENANT + ID + MACHINE.replace('"shop"', '"m365"'), ['"m365" is already sender[0]']),
        (
            SMARTHOST + MACHINE.replace("192.0.2.7", "40.107.22.0/24"),
            ["reaches into 40.107.0.0/16", "relay for every one", "[[tenant]] with a proof"],
        ),
        (SMARTHOST + MACHINE.replace("192.0.2.7", "0.0.0.0/0"), ["we would relay"]),
        (SMARTHOST + TENANT + ID + 'networks = ["209.85.128.0/17"]\n', ["is Google's", "could write"]),
        (SMARTHOST + TENANT + ID + 'networks = ["0.0.0.0/0"]\n', ["is wider than", "could write"]),
        (SMARTHOST + TENANT + ID + 'networks = ["40.0.0.0/8"]\n', ["is wider than 40.92.0.0/15", "could write"]),
        (SMARTHOST + MACHINE.replace("own.example", "far.example"), ["far.example is no domain of ours"]),
        (SMARTHOST + MACHINE.replace('"own.example"', '"@own"'), ["is neither an address nor a domain"]),
        (SMARTHOST + MACHINE + 'forced = "nobody"\n', ["is no mail address"]),
        (SMARTHOST + MACHINE + 'forced = "x@far.example"\n', ["far.example is no domain of ours"]),
        (
            MACHINE.replace('networks = ["192.0.2.7"]', 'login = "Ann"')
            + MACHINE.replace('networks = ["192.0.2.7"]', 'login = "ann"').replace('"shop"', '"other"'),
            ['"ann" is already sender[0]'],
        ),
        (SMARTHOST + MACHINE + 'login = "shop"\n', ["neither or both of login and networks"]),
        (SMARTHOST + '[[sender]]\nname = "x"\nowns = []\n', ["neither or both of login and networks"]),
        (SMARTHOST, ["is smarthost, and nobody may send through it"]),
        (MACHINE, ["no listener has role smarthost, so it cannot send"]),
        (TENANT + ID, ["no listener has role smarthost, so it cannot send"]),
        (MACHINE.replace('networks = ["192.0.2.7"]', 'login = "shop"'), ["no listener has role submission"]),
        ('[outbound]\nroute = "nowhere"\n', ['no backend named "nowhere"']),
        ('[outbound]\nroute = "on"\n', ['did you mean "one"?']),
        ('[backend.two]\nhosts = "mx"\nlogin = "x"\n', ["login and password go together"]),
        ('[backend.two]\nhosts = "mx"\nlogin = "x"\npassword = "y"\n', ["told to whoever answers", 'tls = "required"']),
    ],
)
def test_mistakes_name_the_setting_and_the_fix(tmp_path: Path, more: str, words: list[str]) -> None:
    text = said(tmp_path, more)
    assert [word for word in words if word not in text] == [], text
    assert "gateway.toml:" in text


def test_a_keyring_that_is_not_whole(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    lines = '[outbound]\nkeyring = "keys"\n'
    made = make_keys(keys, "own.example", time.time())
    (tmp_path / "gateway.toml").write_text(BASE + lines)
    assert load(tmp_path / "gateway.toml", {}).outbound.keyring == keys
    rotate(keys, "own.example", time.time(), 0)
    (keys / made[0].file).unlink()
    assert "put the key's file back" in said(tmp_path, lines)
    (keys / made[0].file).write_text("no key")
    assert "holds no private key" in said(tmp_path, lines)
    (keys / "keyring.toml").write_text("[[key]]\n")
    assert "has an entry that cannot be read" in said(tmp_path, lines)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    secret = "hunter2-hunter2-hunter2"
    text = said(tmp_path, SMARTHOST + GOOGLE + f'secret_header = "X-Own"\nsecret = "{secret}"\nnonsense = 1\n')
    assert secret not in text
