"""The configuration file: its mistakes together, each with its place."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from gateway.config.first import write_first
from gateway.config.load import load
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.config.policies import load_set
from gateway.model.decision import Action

GOOD = """\
[server]
hostname = "mx.own.example"

[[listener]]
address = "127.0.0.1:2525"

[[domain]]
name = "own.example"
backend = "google"

[backend.google]
preset = "google-workspace"
hosts = "smtp.google.com"

[backend.microsoft]
preset = "microsoft-365"
hosts = ["own-example.mail.protection.outlook.com"]
"""


def read(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file = directory / "waypost.toml"
    file.write_text(text, "utf-8")
    return load(file, environ or {})


def complaints(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(directory, text, environ)
    return [line.replace(f"{directory}/", "") for line in caught.value.format().split("\n")]


def test_a_small_file_and_its_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.server.hostname == "mx.own.example"
    assert config.listener[0].role == "mx"
    assert config.limits.message_size == 52_428_800
    assert config.policy.set == "enforce"
    assert config.backend["google"].hosts == ("smtp.google.com",)


def test_presets_fill_in_what_is_not_said(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    google, microsoft = config.backend["google"], config.backend["microsoft"]
    assert (google.tls, google.one_domain_per_transaction, google.address_family) == ("required", True, "any")
    assert (microsoft.tls, microsoft.one_domain_per_transaction, microsoft.address_family) == (
        "required",
        False,
        "ipv4",
    )
    own = read(tmp_path, GOOD.replace('hosts = "smtp', 'tls = "opportunistic"\nhosts = "smtp'))
    assert own.backend["google"].tls == "opportunistic"
    assert own.backend["google"].one_domain_per_transaction is True


HOST = '[[listener]]\nrole = "smarthost"\naddress = "127.0.0.1:2526"\n'
DOUBLED = {
    # A repeated name, together with a wrong setting in the second table.
    "a named sender": ('[[policy.sender]]\nname = "crm"\n{}', 'networks = ["198.51.100.7"]', 'networks = ["9.9"]'),
    "a forwarder": ('[[policy.forwarder]]\nname = "alumni"\n{}', 'dkim = "a.example"', "dkim = 7"),
    "a domain": ('[[domain]]\nname = "two.example"\n{}', 'backend = "google"', "mailboxes = 3"),
    "a block list": ('[[dnsbl]]\nzone = "list.example"\n{}', "", 'codes = "x"'),
    "a fetched map": (
        '[[routing.http]]\nname = "people"\n{}',
        'url = "https://h.example/a.csv"',
        'url = "gopher://h.example/b.csv"',
    ),
    "a sender of ours": (
        HOST.replace("{}", "") + '[[sender]]\nname = "shop"\nowns = "own.example"\n{}',
        'networks = "192.0.2.7"',
        'networks = ["9.9"]',
    ),
}


@pytest.mark.parametrize("case", DOUBLED)
def test_a_name_that_stands_twice_is_told_beside_what_else_is_wrong_there(tmp_path: Path, case: str) -> None:
    table, right, wrong = DOUBLED[case]
    second = table.replace(HOST, "")
    said = complaints(tmp_path, f"{GOOD}\n{table.format(right)}\n{second.format(wrong)}\n")
    doubled = [line for line in said if "is already" in line]
    assert len(doubled) == 1, said
    assert len(said) > 1, said
    # Each alone is reported, too.
    alone = complaints(tmp_path, f"{GOOD}\n{table.format(right)}\n{second.format(right)}\n")
    assert ["is already" in line for line in alone] == [True]


def test_the_result_is_frozen(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    with pytest.raises(ValidationError):
        config.server.hostname = "other.example"  # type: ignore[misc]


def test_names_become_a_labels(tmp_path: Path) -> None:
    text = GOOD.replace('name = "own.example"', 'name = "Bücher.Example."')
    config = read(tmp_path, text + '[policy]\nprotected_domains = "BANK.example"')
    assert config.domain[0].name == "xn--bcher-kva.example"
    assert config.policy.protected_domains == ("bank.example",)


def test_relative_paths_start_from_the_files_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zone").write_text("")
    monkeypatch.chdir("/")
    config = read(tmp_path, GOOD.replace("[[listener]]", 'spool = "spool"\n[[listener]]') + '[dns]\nzone = "zone"')
    assert config.server.spool == tmp_path / "spool"
    assert config.dns.zone == tmp_path / "zone"


def test_five_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = (
        GOOD.replace("hostname", "hostnam")
        .replace("127.0.0.1:2525", "127.0.0.1")
        .replace('backend = "google"', 'backend = "googel"')
        .replace('preset = "microsoft-365"', "connections = true\ntls = 5")
    )
    assert complaints(tmp_path, text + '[[own_hop]]\nname = "x"\naddresses = ["192.0.2.1/24"]') == [
        "waypost.toml:1: server.hostname: is not set; add it to [server]",
        'waypost.toml:2: server.hostnam: no such setting; did you mean "hostname"?',
        'waypost.toml:5: listener[0].address: "127.0.0.1" has no port; '
        'write an address of this machine and a port, as "0.0.0.0:25" or "[::]:25"',
        'waypost.toml:9: domain[0].backend: no backend named "googel"; did you mean "google"?',
        'waypost.toml:17: backend.microsoft.tls: 5 is not known; write "required", "opportunistic" or "off"',
        'waypost.toml:21: own_hop[0].addresses[0]: "192.0.2.1/24" has address bits outside its mask; '
        'write "192.0.2.0/24", or one address without a mask',
    ]


MISTAKES = {
    "unknown setting without a likeness": ("[zebra]\na = 1", "20: zebra: no such setting; remove it"),
    "wrong type": ('[limits]\nrecipients = "many"', '21: limits.recipients: "many" is the wrong type; '
                   "write a whole number"),
    "a fraction": ("[limits]\nrecipients = 1.5", "21: limits.recipients: 1.5 is the wrong type; write a whole number"),
    "zero": ("[limits]\nrecipients = 0", "21: limits.recipients: 0: should be greater than 0"),
    "not finite": ("[delivery]\nexpire = inf", "21: delivery.expire: inf: should be a finite number"),
    "a list item": ('[delivery]\nschedule = [\n 1,\n "x"]', '23: delivery.schedule[1]: "x" is the wrong type; '
                    "write a number"),
    "a table": ("limits = 1", "20: backend.microsoft.limits: no such setting; remove it"),
    "a string": ("[log]\nlevel = true", '21: log.level: true is not known; '
                 'write "debug", "info", "warning" or "alarm"'),
    "a domain twice": ('[[domain]]\nname = "OWN.example."\nbackend = "google"',
                       "21: domain[1].name: own.example is already domain[0]; remove one of the two"),
    "no domain name": ('[[domain]]\nname = "no name"\nbackend = "google"', '21: domain[1].name: "no name" is no '),
    "a listener's port": ('[[listener]]\naddress = "0.0.0.0:99999"', '21: listener[1].address: "0.0.0.0:99999" is no '),
    "a listener by name": ('[[listener]]\naddress = "mx.own.example:25"', "21: listener[1].address: "),
    "an address taken": ('[[listener]]\naddress = "127.0.0.1:2525"',
                         "21: listener[1].address: 127.0.0.1:2525 is already taken by listener[0]"),
    "the admin's address taken": ('[admin]\naddress = "127.0.0.1:2525"',
                                  "21: admin.address: 127.0.0.1:2525 is already taken by listener[0]"),
    "a bad network": ('[[own_hop]]\nname = "x"\naddresses = ["192.0.2.0/33"]',
                      '22: own_hop[0].addresses[0]: "192.0.2.0/33" is no IP network; write it as 192.0.2.0/24'),
    "one string for a list": ('[[own_hop]]\nname = "x"\naddresses = "nowhere"',
                              '22: own_hop[0].addresses: "nowhere" is no IP network'),
    "a relay of another kind": ('[[relay]]\nname = "x"\naddresses = "192.0.2.1"\nby = "mx"\nformat = "sendmail"',
                                '24: relay[0].format: "sendmail" is not known; write "postfix", "exim", "exchange", '),
    "a relay of any name": ('[[relay]]\nname = "x"\naddresses = "192.0.2.1"\nby = "*.corp.example"\nformat = "exim"',
                            '20: relay[0]: "*.corp.example" names no relay; write the very name'),
    "an answer of no block list": ('[[dnsbl]]\nzone = "list.example"\ncodes = ["127.0.0.2", "192.0.2.1"]',
                                   "20: dnsbl[0]: 192.0.2.1/32 is no answer of a block list; write codes from 127."),
    "a block list twice": ('[[dnsbl]]\nzone = "list.example"\n[[dnsbl]]\nzone = "List.example."\ncodes = "127.0.0.2"',
                           "23: dnsbl[1].zone: list.example is already dnsbl[0]; write its codes there"),
    "a block list of no name": ('[[dnsbl]]\nzone = "a list"', '21: dnsbl[0].zone: "a list" is no domain name'),
    "relay and own hop": ('[[relay]]\nname = "x"\naddresses = "192.0.2.1"\nby = "mx"\nformat = "postfix"\n'
                          '[[own_hop]]\nname = "y"\naddresses = "192.0.2.0/24"',
                          "27: own_hop[0].addresses: 192.0.2.0/24 is also a [[relay]]"),
    "an address of a stranger": ('[routing.addresses]\n"a@other.example" = "google"',
                                 '21: routing.addresses."a@other.example": other.example is no domain of ours'),
    "no address": ('[routing.addresses]\nalice = "google"', '21: routing.addresses.alice: "alice" is no mail address'),
    "an address on no backend": ('[routing.addresses]\n"a@own.example" = "gogle"',
                                 '21: routing.addresses."a@own.example": no backend named "gogle"; did you mean '),
    "a map that is not there": ('[routing]\nmaps = ["a.csv"]', "21: routing.maps[0]: no file a.csv"),
    "DSNs through no backend": ('[delivery]\ndsn_backend = "x"',
                                '21: delivery.dsn_backend: no backend named "x"; there are: google, microsoft'),
    "one hop as a single table": ('[own_hop]\nname = "x"', "20: own_hop: is written as another kind of table; write "
                                  "[[own_hop]]"),
    "one sender as a single table": ('[policy.sender]\nname = "x"', "20: policy.sender: is written as another kind of "
                                     "table; write [[policy.sender]]"),
    "a section as a list": ("[[limits]]\nrecipients = 5", "20: limits: is written as another kind of table; write "
                            "[limits]"),
    "no attempts": ("[delivery]\nschedule = []", "21: delivery.schedule: is empty; write at least one number"),
    "given up before the first retry": ("[delivery]\nexpire = 30", "20: delivery: expire (30) is shorter than the "),
    "a first try forgotten before its delay": ("[greylisting]\nretry = 60",
                                               "20: greylisting: retry (60) is not longer than delay (300)"),
    "an open webhook": ('[alarm]\nwebhook = "http://a.example/"',
                        '21: alarm.webhook: "http://a.example/" is not an https address; write "https://host/path"'),
    "help of two words": ('[policy]\nhelp = "call us"', '21: policy.help: "call us" does not fit here; write one '
                          "address or URL: at most 120 ASCII characters, without spaces"),
    "no hosts": ("[backend.x]\nhosts = []", '21: backend.x.hosts: names no host; write at least one host, or "mx"'),
    "mx and hosts": ('[backend.x]\nhosts = ["mx", "a.example"]', '21: backend.x.hosts: "mx" stands beside other hosts'),
    "no host": ('[backend.x]\nhosts = ["a.example:25", "a b"]', '21: backend.x.hosts[1]: "a b" is no host'),
    "a certificate name": ('[backend.x]\nhosts = "a.example"\ntls_names = "*.*.example"', "22: backend.x.tls_names: "),
    "authorities that are not there": ('[backend.x]\nhosts = "a.example"\nca_file = "ca.pem"',
                                       "22: backend.x.ca_file: no file ca.pem"),
    "a name server by name": ('[dns]\nnameservers = "ns.example"', '21: dns.nameservers: "ns.example" is no address'),
    "a zone that is not there": ('[dns]\nzone = "zone"', "21: dns.zone: no file zone; create it or fix its path"),
    "a rule set that is not there": ('[policy]\nset = "lax"', '21: policy.set: no rule set named "lax"'),
    "rules that are not there": ('[policy]\ndirectory = "mine"', "21: policy.directory: no directory mine"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(tmp_path: Path, name: str) -> None:
    added, expected = MISTAKES[name]
    lines = complaints(tmp_path, GOOD + "\n\n" + added)
    assert any(line.startswith(f"waypost.toml:{expected}") for line in lines), lines
    assert len(lines) == 1, lines


@pytest.mark.parametrize(
    ("network", "owner"),
    [
        ("40.92.0.0/15", "Microsoft 365"),
        ("40.107.3.4", "Microsoft 365"),
        ("52.100.0.0/16", "Microsoft 365"),
        ("2a01:111:f400::/48", "Microsoft 365"),
        ("209.85.128.0/17", "Google"),
        ("209.0.0.0/8", "Google"),
        ("2607:f8b0:4864:20::/64", "Google"),
    ],
)
@pytest.mark.parametrize("section", ["relay", "own_hop", "proxy_from"])
def test_what_a_providers_tenants_share_is_no_trusted_hop(
    tmp_path: Path, network: str, owner: str, section: str
) -> None:
    if section == "proxy_from":
        text = GOOD.replace('"127.0.0.1:2525"', f'"127.0.0.1:2525"\nproxy_from = ["192.0.2.1", "{network}"]')
        place = "waypost.toml:6: listener[0].proxy_from[1]"
    else:
        more = 'by = "mx"\nformat = "postfix"' if section == "relay" else ""
        text = GOOD + f'[[{section}]]\nname = "x"\naddresses = ["192.0.2.1", "{network}"]\n{more}'
        place = f"waypost.toml:20: {section}[0].addresses[1]"
    lines = complaints(tmp_path, text)
    assert len(lines) == 1
    assert lines[0].startswith(f"{place}: {ip_network(network)} ")
    assert f"all tenants of {owner} send from" in lines[0]


def test_trusted_hops_of_ones_own_are_fine(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD + '[[own_hop]]\nname = "x"\naddresses = ["10.0.0.0/8", "fd00::/8", "40.90.1.2"]')
    assert config.own_hop[0].addresses == tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "40.90.1.2")))


def test_a_file_that_cannot_be_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="is a directory; name a file in it"):
        load(tmp_path, {})
    with pytest.raises(ConfigErrors, match=r"name it with --config or WAYPOST_CONFIG \(the demo's is var/demo/gat"):
        load(tmp_path / "none.toml", {})


def test_a_syntax_error_has_line_and_column(tmp_path: Path) -> None:
    assert complaints(tmp_path, "[server]\nhostname = = 1\n") == ["waypost.toml:2:12: no TOML: Invalid value"]
    assert complaints(tmp_path, '[server]\nhostname = "x') == ["waypost.toml:2:14: no TOML: Unterminated string"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"nothing\.toml:1: cannot read it: No such file or directory; name it with"):
        load(tmp_path / "nothing.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigErrors, match=r"latin\.toml:2: is not UTF-8 text"):
        load(tmp_path / "latin.toml", {})
    with pytest.raises(ConfigErrors, match="nested too deeply"):
        read(tmp_path, "a = " + "[" * 5000)


def test_an_empty_file_lacks_what_has_no_default(tmp_path: Path) -> None:
    assert complaints(tmp_path, "") == [
        f"waypost.toml:1: {setting}: is not set; add it" for setting in ("server", "listener", "domain", "backend")
    ]
    lines = complaints(tmp_path, "domain = []\nlistener = []\n" + GOOD.replace("[[listener]]", "[x]"))
    assert "waypost.toml:2: listener: is empty; write at least one [[listener]]" in lines or "no TOML" in lines[0]


class TestReferences:
    def test_values_from_the_environment_and_from_files(self, tmp_path: Path) -> None:
        (tmp_path / "name").write_text("secret.example\n")
        text = GOOD.replace('"mx.own.example"', '"env:NAME"').replace('"smtp.google.com"', '["file:name", "env:HOST"]')
        text += '[limits]\nrecipients = "env:COUNT"'
        config = read(tmp_path, text, {"NAME": "mx.x.example", "HOST": "b.example", "COUNT": "7"})
        assert config.server.hostname == "mx.x.example"
        assert config.backend["google"].hosts == ("secret.example", "b.example")
        assert config.limits.recipients == 7

    def test_an_absolute_file(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("mx.y.example")
        assert (
            read(tmp_path, GOOD.replace("mx.own.example", f"file:{tmp_path}/secret")).server.hostname == "mx.y.example"
        )

    def test_what_leads_nowhere_is_told_once_with_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "binary").write_bytes(b"\xff")
        (tmp_path / "huge").write_bytes(b"x" * 70_000)
        text = (
            GOOD.replace("mx.own.example", "env:NAME")
            .replace("127.0.0.1:2525", "file:nothing")
            .replace('backend = "google"', 'backend = "file:binary"')
            .replace("smtp.google.com", "file:huge")
        )
        assert complaints(tmp_path, text) == [
            "waypost.toml:2: server.hostname: environment variable NAME is not set; set NAME",
            "waypost.toml:5: listener[0].address: cannot read nothing: No such file or directory; mount or create it",
            "waypost.toml:9: domain[0].backend: cannot read binary: not UTF-8 text; mount or create it",
            "waypost.toml:13: backend.google.hosts: cannot read huge: larger than 65536 octets; mount or create it",
        ]

    def test_what_a_reference_brings_is_checked_like_any_value(self, tmp_path: Path) -> None:
        lines = complaints(tmp_path, GOOD.replace("127.0.0.1:2525", "env:AT"), {"AT": "nowhere"})
        assert lines[0].startswith("waypost.toml:5: listener[0].address: env:AT is no address to listen on")

    def test_what_a_reference_brings_is_never_shown(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hidden\nwords\n")
        text = GOOD.replace('"smtp.google.com"', '["file:secret", "env:S"]') + '[log]\nlevel = "env:S"\n'
        text += '[limits]\nrecipients = "file:secret"\n[dns]\nnameservers = "env:S"\n[policy]\nset = "env:S"'
        lines = complaints(tmp_path, text.replace('backend = "google"', 'backend = "env:S"'), {"S": "hid den"})
        assert len(lines) == 7
        assert not any("hid" in line for line in lines), lines


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


class TestCertificates:
    def listen(self, certificate: str, key: str = "") -> str:
        more = f'certificate = "{certificate}"' + (f'\nkey = "{key}"' if key else "")
        return GOOD.replace('"127.0.0.1:2525"', f'"127.0.0.1:2525"\n{more}')

    def test_certificate_and_key_in_two_files_or_in_one(self, tmp_path: Path, authority: trustme.CA) -> None:
        leaf = authority.issue_cert("mx.own.example")
        leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
        leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        config = read(tmp_path, self.listen("cert.pem", "key.pem"))
        assert config.listener[0].certificate == tmp_path / "cert.pem"
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "both.pem")
        assert read(tmp_path, self.listen("both.pem")).listener[0].key is None

    def test_what_is_wrong_with_them(self, tmp_path: Path, authority: trustme.CA) -> None:
        leaf, other = authority.issue_cert("mx.own.example"), authority.issue_cert("x.example")
        leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        other.private_key_pem.write_to_path(tmp_path / "other.pem")
        (tmp_path / "junk.pem").write_text("junk")
        missing = "create it or fix its path"
        for text, expected in (
            (self.listen("no.pem"), f"6: listener[0].certificate: no file no.pem; {missing}"),
            (self.listen("cert.pem", "no.pem"), f"7: listener[0].key: no file no.pem; {missing}"),
            (self.listen("cert.pem"), "6: listener[0].certificate: has no key; set key"),
            (self.listen("cert.pem", "other.pem"), "7: listener[0].key: does not belong to the certificate"),
            (self.listen("junk.pem", "other.pem"), "6: listener[0].certificate: cannot be used: "),
            (GOOD.replace('2525"', '2525"\nkey = "other.pem"'), "6: listener[0].key: is set without a certificate"),
        ):
            lines = complaints(tmp_path, text)
            assert len(lines) == 1, lines
            assert lines[0].startswith(f"waypost.toml:{expected}"), lines


class TestMaps:
    TEXT = GOOD + '[routing]\nmaps = ["a.csv"]'

    def test_each_bad_line_is_told_with_file_and_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(
            "address,backend\n# people\nalice@own.example,google\n\nbob,google\ncarol@own.example\n"
            "dave@other.example,google\neve@own.example,gogle\nALICE@own.example,microsoft\nalice@own.example,google\n"
        )
        assert complaints(tmp_path, self.TEXT) == [
            'a.csv:5: "bob" is no mail address; write it as name@example.com',
            "a.csv:6: is not `address,backend`; write two cells",
            'a.csv:7: other.example is no domain of ours; add a [[domain]] with name = "other.example"',
            'a.csv:8: no backend named "gogle"; did you mean "google"?',
            "a.csv:9: ALICE@own.example is also on line 3, with another backend; remove one",
        ]

    def test_mistakes_of_both_files_come_together(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("bob,google")
        lines = complaints(tmp_path, self.TEXT.replace("mx.own.example", "no name"))
        assert [line.split(": ")[0] for line in lines] == ["waypost.toml:2", "a.csv:1"]

    def test_files_that_are_no_maps(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
        assert complaints(tmp_path, self.TEXT) == ["a.csv:1: is not UTF-8 text; save it as UTF-8"]
        (tmp_path / "a.csv").write_text("x\n" * 5000)
        assert len(complaints(tmp_path, self.TEXT)) == 1
        (tmp_path / "a.csv").write_text("".join(f"x{number},google\n" for number in range(5000)))
        assert len(complaints(tmp_path, self.TEXT)) == 101
        (tmp_path / "a.csv").write_text('a@own.example,"' + "x" * 200_000)
        assert complaints(tmp_path, self.TEXT)[0].startswith("a.csv:1: is no CSV: ")


def test_mistakes_across_sections_are_found_beside_those_of_single_settings(tmp_path: Path) -> None:
    """One broken element hides neither its siblings nor the faults of other sections, and causes no false ones."""
    text = GOOD + (
        '\n[[relay]]\nname = "one"\naddresses = "nonsense"\nby = "mx"\nformat = "postfix"\n'
        '[[relay]]\nname = "two"\naddresses = ["192.0.2.1", "40.92.0.0/16"]\nby = "mx"\nformat = "postfix"\n'
        '[[domain]]\nname = "more.example"\nbackend = "gogle"\n'
        '[[sender]]\nname = "ann"\nlogin = "ann"\nowns = "own.example"\nlimit = 3\n'
    )
    lines = complaints(tmp_path, text)
    assert [line.split(": ")[1] for line in lines] == [
        "relay[0].addresses",
        "relay[1].addresses[1]",
        "domain[1].backend",
        "sender[0]",
        "sender[0].limit",
    ]


def test_a_broken_domain_makes_no_address_a_strangers(tmp_path: Path) -> None:
    text = GOOD + '\n[[domain]]\nname = "more.example"\n[routing.addresses]\n"a@more.example" = "google"\n'
    lines = complaints(tmp_path, text)
    assert len(lines) == 1, lines
    assert "domain[1].backend: is not set" in lines[0]


def test_no_setting_shows_a_regular_expression() -> None:
    """A pattern of pydantic's would be printed as it is; `check_form` describes the form in words."""
    assert "pattern" not in re.findall(r'"(\w+)":', json.dumps(Config.model_json_schema()))


def test_the_first_file_says_what_the_rules_do() -> None:
    text = " ".join(write_first().replace("\n#", "").split())
    assert '"learn" for the first days: no rule refuses anything' in text
    assert not any(rule.action is Action.REJECT for stage in load_set("learn", None).rules.values() for rule in stage)
    assert '"published" rejects it where the policy of your DMARC record is reject, and marks it otherwise' in text
