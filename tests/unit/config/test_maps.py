"""The results of `app` for a configuration: the routing table, the runtime configuration, the first file."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.config.first import write_first
from gateway.config.load import load
from gateway.config.maps import map_files, routing_table
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.config.policies import fact_settings, load_rules
from gateway.config.rule_files import find_files, find_sets
from gateway.policy.rules import RuleErrors
from gateway.service.directory import write_copy
from tests.support.sealing import pem
from tests.support.signing import rsa_key
from tests.unit.policy.scenes import mailbox

TEXT = """\
[server]
hostname = "mx.own.example"
[[listener]]
address = "127.0.0.1:0"
[[domain]]
name = "own.example"
backend = "google"
[[domain]]
name = "bücher.example"
backend = "microsoft"
[backend.google]
preset = "google-workspace"
hosts = "smtp.google.com"
[backend.microsoft]
preset = "microsoft-365"
hosts = "own-example.mail.protection.outlook.com"
[[relay]]
name = "old"
addresses = "192.0.2.20"
by = ["MX-old.own.example", "mx2"]
format = "postfix"
[policy]
firewall = "reject"
protected_domains = ["bank.example"]
"""


def read(directory: Path, more: str = "") -> Config:
    file = directory / "waypost.toml"
    file.write_text(TEXT + more, "utf-8")
    return load(file, {})


def test_the_table_knows_defaults_addresses_and_maps(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "\ufeffbob@own.example, microsoft\ncarol@bücher.example,google\neve@own.example,google"
    )
    (tmp_path / "b.csv").write_text("bob@own.example,google\ndave@own.example,microsoft\n")
    table = routing_table(
        read(tmp_path, '[routing]\nmaps = ["a.csv", "b.csv"]\n[routing.addresses]\n"Eve@OWN.example" = "microsoft"')
    )
    assert table.single_domain == {"google"}
    assert {
        address: table.backend_for(mailbox(address))
        for address in (
            *("alice@own.example", "bob@own.example", "dave@own.example", "eve@own.example"),
            *("carol@xn--bcher-kva.example", "x@xn--bcher-kva.example", "x@stranger.example", "postmaster"),
        )
    } == {
        "alice@own.example": "google",
        "bob@own.example": "microsoft",  # the earlier map wins
        "dave@own.example": "microsoft",
        "eve@own.example": "microsoft",  # the configuration wins
        "carol@xn--bcher-kva.example": "google",
        "x@xn--bcher-kva.example": "microsoft",
        "x@stranger.example": None,
        "postmaster": "google",
    }


def test_a_map_that_became_unreadable_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    config = read(tmp_path, '[routing]\nmaps = ["a.csv"]')
    (tmp_path / "a.csv").unlink()
    with pytest.raises(ConfigErrors, match=r"a\.csv:1: cannot read it: No such file or directory"):
        routing_table(config)


def test_facts_know_us(tmp_path: Path) -> None:
    settings = fact_settings(read(tmp_path))
    assert settings.own == {"own.example", "xn--bcher-kva.example"}
    assert settings.protected == {"bank.example"}
    assert settings.firewall == "reject"
    assert settings.relays == {"mx-old.own.example", "mx2"}


def test_rules_come_from_the_checkout_or_a_directory_of_ones_own(tmp_path: Path) -> None:
    assert load_rules(read(tmp_path)).name == "enforce"
    assert find_files(None)["enforce.toml"].is_file()
    assert find_sets(None) == ["enforce", "learn", "strict"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "lax.toml").write_text('set = "lax"')
    config = read(tmp_path, 'directory = "mine"\nset = "lax"')
    assert load_rules(config).name == "lax"
    assert len(load_rules(config, "enforce").rules["data"]) > 5, "the shipped ones are still there"
    (mine / "learn.toml").write_text('set = "learn"')
    assert load_rules(config, "learn").rules["data"] == (), "and can be replaced"
    (mine / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(RuleErrors, match=r"bad\.toml:1: is not UTF-8 text"):
        load_rules(config)


def test_the_first_file_asks_for_its_blanks_and_for_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text(write_first(), "utf-8")
    with pytest.raises(ConfigErrors) as caught:
        load(file, {})
    assert [mistake.setting for mistake in caught.value.mistakes] == ["server.hostname", "domain[0].name"]
    lines = write_first().splitlines()
    assert [lines[mistake.line - 1] for mistake in caught.value.mistakes] == ['hostname = ""', 'name = ""']


def test_the_first_file_loads_once_filled(tmp_path: Path) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text(write_first("mx.own.example", "own.example"), "utf-8")
    config = load(file, {})
    assert config.domain[0].name == "own.example"
    assert config.backend["google"].tls == "required"


def test_what_the_first_file_shows_in_comments_is_right_too(tmp_path: Path) -> None:
    text = write_first("mx.example.com", "example.com")
    settings = [
        line for line in text.splitlines() if not line.startswith("# ") or "=" in line or line.startswith("# [")
    ]
    shown = [
        line.removeprefix("# ") for line in settings if not line.startswith("# Relays") and "[routing] maps" not in line
    ]
    file, key = tmp_path / "waypost.toml", tmp_path / "arc.pem"
    key.write_bytes(pem(rsa_key()))
    for stem in ("", "other-"):
        issued = trustme.CA().issue_cert("mx.example.com")
        issued.private_key_pem.write_to_path(str(tmp_path / f"{stem}key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{stem.removesuffix('-') or 'certificate'}.pem"))
    (tmp_path / "users").write_text("")
    file.write_text("\n".join(shown).replace("/etc/waypost/", f"{tmp_path}/"), "utf-8")
    config = load(file, {})
    assert (config.backend["google"].seal, config.backend["microsoft"].seal) == (False, True)
    assert [(one.role, one.tls) for one in config.listener] == [("mx", "starttls"), ("submission", "implicit")]
    assert config.policy.trusted_sealers == ("lists.example",)
    assert [one.name for one in (*config.policy.sender, *config.policy.forwarder)] == ["tickets", "alumni"]
    assert config.relay[0].format == "postfix"
    assert config.own_hop[0].name == "inner-forwarder"
    assert routing_table(config).backend_for(mailbox("bob@example.com")) == "microsoft"


def test_whatever_is_typed_stays_a_string(tmp_path: Path) -> None:
    file = tmp_path / "waypost.toml"
    file.write_text(write_first('x"\ny = 1\\', "own.example"), "utf-8")
    with pytest.raises(ConfigErrors, match=r"server\.hostname: "):
        load(file, {})


def test_a_map_may_be_toml_with_aliases_and_several_backends(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        '"bob@own.example" = "microsoft"\n"info@own.example" = "bob@own.example"\n'
        '"both@own.example" = ["google", "microsoft"]\n'
    )
    (tmp_path / "b.csv").write_text("team@own.example,bob@own.example google\n")
    table = routing_table(read(tmp_path, '[routing]\nmaps = ["a.toml", "b.csv"]\n'))
    assert table.maps[0] == {
        "bob@own.example": "microsoft",
        "info@own.example": "bob@own.example",
        "both@own.example": "google microsoft",
    }
    assert [one.backend for one in table.targets(mailbox("team@own.example"))] == ["microsoft", "google"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"x@stranger.example" = "google"', "a.toml:2: stranger.example is no domain of ours"),
        ('"bob@own.example" = 3', "a.toml:2: is not `address,backend`"),
        ('"bob@own.example" = ["google", "gogle"]', 'a.toml:2: no backend named "gogle"; did you mean "google"?'),
        ('"bob@own.example" = "not @ good"', 'a.toml:2: no backend named "not"'),
        ('"bob@own.example" = ', "a.toml:1: is no TOML"),
    ],
)
def test_a_wrong_line_of_a_toml_map_is_told(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(f"# people\n{line}\n")
    with pytest.raises(ConfigErrors) as raised:
        read(tmp_path, '[routing]\nmaps = ["a.toml"]\n')
    assert said in raised.value.format()


def test_the_last_good_copy_stands_in_for_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    more = '[routing]\nmaps = ["a.csv"]\n'
    text = TEXT.replace("[server]", '[server]\nspool = "spool"')
    (tmp_path / "waypost.toml").write_text(text + more)
    (tmp_path / "a.csv").write_text("bob@own.example,microsoft\n")
    config = load(tmp_path / "waypost.toml", {})
    (file,) = map_files(config)
    write_copy(file.path, file.copy)
    for broken in ("bob@own.example", "", "bob@own.example,nowhere"):
        (tmp_path / "a.csv").write_text(broken)
        config = load(tmp_path / "waypost.toml", {}, check_maps=False)
        assert routing_table(config, copies=True).maps == ({"bob@own.example": "microsoft"},)
    (tmp_path / "a.csv").unlink()
    assert routing_table(config, copies=True).maps == ({"bob@own.example": "microsoft"},)
    file.copy.unlink()
    with pytest.raises(ConfigErrors, match="cannot read it"):
        routing_table(config, copies=True)


def test_a_map_that_was_never_fetched_is_empty_and_stale(tmp_path: Path) -> None:
    more = '[[routing.http]]\nname = "hr"\nurl = "https://hr.example/people.csv"\n'
    table = routing_table(read(tmp_path, f"{more}[dns]\nquery_seconds = 1\n"))
    assert (table.maps, table.stale) == (({},), True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[[routing.http]]\nname = "../x"\nurl = "https://h/x"\n', '"../x" is no name for a file'),
        ('[[routing.http]]\nname = "x"\nurl = "file:///etc/passwd"\n', "is no URL to ask"),
        (
            '[[routing.http]]\nname = "x"\nurl = "https://h/x"\n[[routing.http]]\nname = "x"\nurl = "https://h/y"\n',
            "x is already http[0]; choose another",
        ),
        (
            '[[routing.ldap]]\nname = "x"\nurl = "ldaps://h"\nbase = "dc=x"\nbackend = "gogle"\n',
            'no backend named "gogle"; did you mean "google"?',
        ),
        (
            '[[routing.ldap]]\nname = "x"\nurl = "ldaps://h"\nbase = ""\nbackend = "google"\n'
            '[routing.ldap.backends]\n"cn=ms" = "ms"\n',
            'no backend named "ms"',
        ),
    ],
)
def test_mistakes_in_fetched_maps(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        read(tmp_path, more)
    assert said in raised.value.format()
