"""SPF test suites of others as cases: the client, the claimed identities, the DNS data, and the expected result."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.corpora import corpus


@dataclass(frozen=True)
class Case:
    id: str
    ip: str
    helo: str
    sender: str
    expect: tuple[str, ...]
    zone: dict[str, Any] = field(repr=False)


def read_openspf() -> list[Case]:
    (path,) = corpus("spf/openspf").glob("*-tests.yml")
    return [case for scenario in yaml.safe_load_all(path.read_text()) for case in _openspf_scenario(scenario)]


def _openspf_scenario(scenario: dict[str, Any]) -> Iterator[Case]:
    zone = {name: _openspf_entry(records) for name, records in scenario["zonedata"].items()}
    for name, test in scenario["tests"].items():
        expect = test["result"]
        results = tuple(expect) if isinstance(expect, list) else (expect,)
        yield Case(
            f"{scenario['description']}/{name}",
            str(test["host"]),
            str(test["helo"] or ""),
            str(test["mailfrom"] or ""),
            results,
            zone,
        )


def _openspf_entry(records: list[Any]) -> Any:
    """A name's records in zone form. The text of SPF records is also TXT unless a TXT record is present; a TIMEOUT
    answers every type that is not listed."""
    entry: dict[str, Any] = {}
    times_out = "TIMEOUT" in records
    for record in records:
        for kind, value in record.items() if isinstance(record, dict) else ():
            if kind == "MX":
                value = f"{value[0]} {value[1]}."
            entry.setdefault(kind, []).append("".join(value) if isinstance(value, list) else value)
    policies = entry.pop("SPF", [])
    entry.setdefault("TXT", policies if not times_out else "TIMEOUT")
    entry["TXT"] = [] if entry["TXT"] == ["NONE"] else entry["TXT"]
    if times_out:
        for kind in ("A", "AAAA", "MX", "PTR"):
            entry.setdefault(kind, "TIMEOUT")
        if not entry["TXT"]:
            entry["TXT"] = "TIMEOUT"
    return entry


# --- the other suite: a line-based format of its own

_LINE = re.compile(r"\s*(?:- )?(\w+):\s*(.*?)\s*")


@dataclass
class _Scenario:
    name: str = ""
    zone: dict[str, Any] = field(default_factory=dict)
    helo: str = ""
    sender: str = ""
    ip: str = ""


def _mail_auth(path: Path) -> Iterator[Case]:
    for block in path.read_text().split("\n---"):
        scenario = _Scenario()
        for line in block.splitlines():
            mark = _LINE.fullmatch(line)
            if mark is not None and not line.startswith("#"):
                yield from _take_line(path.name, scenario, mark[1], mark[2])


def _take_line(file: str, scenario: _Scenario, key: str, value: str) -> Iterator[Case]:
    if key == "name":
        scenario.name = scenario.name or value
    elif key in ("domain", "sender", "ip"):
        setattr(scenario, "helo" if key == "domain" else key, value)
    elif key == "expect":
        id = f"{file}/{scenario.name}/{scenario.helo} {scenario.sender} {scenario.ip}"
        zone = dict(scenario.zone)
        if "_dns_error" in scenario.sender:
            zone[scenario.sender.rpartition("@")[2]] = "SERVFAIL"
        yield Case(id, scenario.ip, scenario.helo, scenario.sender, (value.split()[0],), zone)
    elif key not in ("records", "tests"):
        _add_record(scenario.zone, key, *value.partition(" ")[::2])
        # By the convention of the suite, lookups of names with this mark fail.
        for policy in re.findall(r"[\w.-]*_dns_error[\w.-]*", value):
            scenario.zone[policy] = "SERVFAIL"


def _add_record(zone: dict[str, Any], key: str, name: str, value: str) -> None:
    items = [item.strip() for item in value.split(",")]
    if key in ("spf", "exp"):
        zone[name] = {**zone.get(name, {}), "TXT": [value]}
    elif key in ("a", "aaaa"):
        zone[name] = {**zone.get(name, {}), key.upper(): items}
    elif key == "ptr":
        zone[ipaddress.ip_address(name).reverse_pointer] = {"PTR": items}
    elif key == "mx":
        hosts = [f"mx{number}.{name}" for number in range(len(items))]
        zone[name] = {**zone.get(name, {}), "MX": [f"10 {host}" for host in hosts]}
        for host, item in zip(hosts, items, strict=True):
            zone[host] = {"AAAA" if ":" in item else "A": [item]}
    else:
        raise AssertionError(f"unknown record {key}")


def read_mail_auth() -> list[Case]:
    return [case for path in sorted(corpus("spf/mail-auth").glob("*.yml")) for case in _mail_auth(path)]


DEVIATIONS = {
    "all.yml/All test/test.org sender@test.org 10.0.0.1": "permerror",
    "basic.yml/DNS Lookup Limits/ok.test.org sender@ok.test.org 172.168.0.1": "permerror",
    "basic.yml/DNS Lookup Limits/mx.test.org sender@mx.test.org 10.0.0.8": "permerror",
    "basic.yml/DNS Lookup Limits/ptr.test.org sender@ptr.test.org 10.0.0.11": "permerror",
    "basic.yml/HELO identity/mx.test.org sender@test.org 172.168.0.1": "pass",
    "exists.yml/Exists/ip6.test.org sender@ip6.test.org 167.1.2.3": "fail",
    "ip.yml/IPv6 match/test.org sender@test.org 10.1.2.3": "fail",
    "macro.yml/Macro expansion 2/mx.example.org strong-bad@email.example.com 2001:db8::cb01": "fail",
}
"""Deviations of that suite from RFC 7208 (its deviations.json gives the sections), with the RFC's result."""
