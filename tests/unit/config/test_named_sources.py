"""Named senders, forwarders and networks, and the sets of single domains: refusals, and results."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.config.policies import fact_settings, load_domain_rules, load_rules
from gateway.policy.grounds import Source
from gateway.policy.rules import RuleErrors

BASE = """
[server]
hostname = "mx.gw.example"
[[listener]]
address = "127.0.0.1:25"
[[domain]]
name = "own.example"
backend = "one"
[[domain]]
name = "severe.example"
backend = "one"
policy = "{policy}"
[backend.one]
hosts = "mx"
[policy]
directory = "."
"""


def read(tmp_path: Path, more: str, policy: str = "strict") -> Config:
    file = tmp_path / "gateway.toml"
    file.write_text(BASE.format(policy=policy) + more)
    (tmp_path / "rules").mkdir(exist_ok=True)
    file.write_text(file.read_text().replace('directory = "."', 'directory = "rules"'))
    return load(file, {})


def complaints(tmp_path: Path, more: str, policy: str = "strict") -> str:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, more, policy)
    return caught.value.format()


def test_what_the_facts_get(tmp_path: Path) -> None:
    settings = fact_settings(
        read(
            tmp_path,
            'listed = "reject"\n[policy.networks]\npartners = ["192.0.2.0/24", "2001:db8::/32"]\n'
            '[[policy.sender]]\nname = "crm"\ndkim = ["CRM.example"]\ndomains = "own.example"\n'
            '[[policy.forwarder]]\nname = "alumni"\nnetworks = "198.51.100.7"\n'
            '[[dnsbl]]\nzone = "list.example"\n',
        )
    )
    assert settings.senders == (Source("crm", frozenset({"crm.example"}), (), frozenset({"own.example"})),)
    assert settings.forwarders == (Source("alumni", frozenset(), (ip_network("198.51.100.7"),)),)
    assert settings.networks == {"partners": (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))}
    assert settings.listed == "reject"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('[[policy.sender]]\nname = "crm"\n', 'nothing proves that mail is from "crm"; write dkim, networks, or both'),
        ('[[policy.forwarder]]\nname = "x y"\ndkim = "a.example"\n', "policy.forwarder[0].name"),
        (
            '[[policy.sender]]\nname = "crm"\nnetworks = ["192.0.2.1", "40.92.1.0/24"]\n',
            "policy.sender[0].networks[1]: 40.92.1.0/24 reaches into 40.92.0.0/15, which all tenants of Microsoft 365",
        ),
        (
            '[[policy.forwarder]]\nname = "g"\nnetworks = "209.85.128.0/17"\n',
            "that all tenants of Google send from; name it by its DKIM d= instead",
        ),
        (
            '[[policy.sender]]\nname = "crm"\ndkim = "a.example"\n' * 2,
            "policy.sender[1].name: crm is already sender[0]; write both in one",
        ),
        ('listed = "drop"\n', "policy.listed"),
        ('listed = "reject"\n', "policy.listed: is reject, and no block list is asked; add a [[dnsbl]], or remove it"),
        (
            '[[policy.sender]]\nname = "x"\ndkim = "a.example"\ndomains = ["own.example", "other.example"]\n',
            "policy.sender[0].domains[1]: other.example is not one of your domains, nor protected; name whoever",
        ),
        (
            '[[policy.forwarder]]\nname = "x"\ndkim = "gmail.com"\n',
            "gmail.com signs for all customers of Gmail, so each of them could write as anyone; name the forwarder by",
        ),
        (
            '[[policy.sender]]\nname = "x"\ndkim = "sendgrid.net"\n',
            "could write as you; in SendGrid, open Sender Authentication and choose Authenticate Your Domain",
        ),
        (
            '[[policy.sender]]\nname = "crm"\nnetworks = "40.107.0.0/16"\n',
            "40.107.0.0/16 is a network that all tenants of Microsoft 365 send from; name it by its DKIM d= instead",
        ),
        (
            '[[policy.forwarder]]\nname = "f"\ndkim = "a.example"\ndomains = "own.example"\n',
            "policy.forwarder[0].domains",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, more: str, expected: str) -> None:
    assert expected in complaints(tmp_path, more)


def test_a_sender_may_write_below_our_domains_and_as_a_protected_one(tmp_path: Path) -> None:
    more = 'protected_domains = "bank.example"\n[[policy.sender]]\nname = "x"\ndkim = "a.example"\n'
    config = read(tmp_path, f'{more}domains = ["news.own.example", "bank.example"]\n')
    assert config.policy.sender[0].domains == ("news.own.example", "bank.example")


def test_a_set_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    said = complaints(tmp_path, "", policy="strickt")
    assert 'gateway.toml:12: domain[1].policy: no rule set named "strickt"; there are: enforce, learn, strict' in said


def test_a_domain_has_its_own_set(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert {name: one.name for name, one in load_domain_rules(config, load_rules(config)).items()} == {
        "severe.example": "strict"
    }


EARLY = '[[rule]]\nid = "early"\nstage = "mail"\nwhen = "envelope.null_sender"\nthen = "defer"\nreply = "not-now"\n'


def test_rules_that_a_domains_set_is_never_asked_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "common.toml").write_text(EARLY)
    (tmp_path / "rules" / "mine.toml").write_text(f'set = "mine"\n{EARLY}')
    config = read(tmp_path, "", policy="mine")
    with pytest.raises(RuleErrors, match=r"mine\.toml:2: rule early: stage: mail is before a recipient is named"):
        load_domain_rules(config, load_rules(config))
    (tmp_path / "rules" / "mine.toml").write_text('set = "mine"\ninclude = ["common.toml"]')
    (tmp_path / "rules" / "all.toml").write_text('set = "all"\ninclude = ["common.toml"]')
    config = read(tmp_path, 'set = "all"\n', policy="mine")
    assert set(load_domain_rules(config, load_rules(config))) == {"severe.example"}, "the general set has it too"
