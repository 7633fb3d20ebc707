"""`waypost check --dns`: the questions to a real DNS server about the configuration's own domains, and the findings."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.dnsserver import DnsServer
from tests.support.samples import signing_key

KEY = signing_key()[1]
PORTAL = "selector1-corp-example._domainkey.contoso.onmicrosoft.com"
OWN = {"TXT": ["v=spf1 ip4:198.51.100.7 -all"]}
SIGNED = {
    "corp.example": OWN,
    "google._domainkey.corp.example": {"TXT": [KEY]},
    "selector1._domainkey.corp.example": {"CNAME": [PORTAL]},
    PORTAL: {"TXT": [KEY]},
    "tickets.example": {"A": ["192.0.2.5"]},
}
SHARED = {
    "corp.example": {"TXT": ["v=spf1 include:spf.protection.outlook.com include:sendgrid.net ~all"]},
    "spf.protection.outlook.com": {"TXT": ["v=spf1 ip4:40.92.0.0/15 -all"]},
    "sendgrid.net": {"TXT": ["v=spf1 ip4:203.0.113.0/24 ~all"]},
}
SETTINGS = """
[server]
hostname = "mx.corp.example"
spool = "spool"
[[listener]]
address = "127.0.0.1:0"
[[domain]]
name = "corp.example"
backend = "google"
[backend.google]
preset = "google-workspace"
hosts = "smtp.google.com"
[backend.microsoft]
preset = "microsoft-365"
hosts = "corp-example.mail.protection.outlook.com"
[routing.addresses]
"bob@corp.example" = "microsoft"
[dns]
query_seconds = 1
"""
TICKETS = '[[policy.sender]]\nname = "tickets"\ndkim = ["tickets.example"]\n'
GUARD = """
set = "guarded"
include = ["enforce.toml"]
[[rule]]
id    = "shared-spf"
first = true
stage = "data"
when  = "author.ours && spf.only && ingress.shared"
then  = "quarantine"
"""


async def ask(folder: Path, zone: dict[str, Any], *words: str, more: str = "") -> tuple[int, str, str]:
    """Exit status, standard output and error."""
    file = folder / "gateway.toml"
    async with DnsServer(zone) as server:
        named = f'nameservers = ["{server.address}"]\n'
        file.write_text(f"{SETTINGS}{named}{more}")
        command = (sys.executable, "-m", "gateway.cli", "check", "--dns", *words, "--config", str(file))
        process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
        said, wrong = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode(), wrong.decode()


async def findings(folder: Path, zone: dict[str, Any], more: str = "") -> tuple[int, str, dict[str, Any]]:
    status, said, wrong = await ask(folder, zone, "--json", more=more)
    assert wrong == ""
    answer = json.loads(said)
    assert set(answer) == {"state", "domain", "backend", "listener", "policy", "notes", "warnings", "dns"}
    assert all(set(one) == {"domain", "id", "state", "found", "fix"} for one in answer["dns"])
    # Each finding that is not well names the next step.
    assert all(bool(one["fix"]) == (one["state"] != "ok") for one in answer["dns"])
    return status, answer["state"], {one["id"]: one for one in answer["dns"]}


async def test_both_halves_sign_and_nobody_else_passes(tmp_path: Path) -> None:
    status, state, found = await findings(tmp_path, SIGNED, TICKETS)
    assert (status, state) == (0, "ok")
    assert list(found) == ["dkim.google", "dkim.microsoft", "spf.shared", "signer.missing"]


async def test_a_half_that_does_not_sign_is_told_with_the_way_to_switch_it_on(tmp_path: Path) -> None:
    status, state, found = await findings(tmp_path, {"corp.example": OWN})
    assert (status, state) == (1, "warning")
    assert "google._domainkey.corp.example: there is no such name" in found["dkim.google"]["found"]
    assert "Admin console" in found["dkim.google"]["fix"]
    assert "selector2._domainkey.corp.example" in found["dkim.microsoft"]["found"]
    assert "publish the two CNAME records" in found["dkim.microsoft"]["fix"]


async def test_the_onmicrosoft_side_is_looked_at(tmp_path: Path) -> None:
    alias = {"selector1._domainkey.corp.example": {"CNAME": [PORTAL]}}
    _, _, found = await findings(tmp_path, {**SIGNED, PORTAL: {"A": ["192.0.2.1"]}})
    assert "the CNAME is published" in found["dkim.microsoft"]["fix"]
    assert "contoso.onmicrosoft.com alone" in found["dkim.microsoft"]["fix"]
    alias["selector1._domainkey.corp.example"]["CNAME"] = ["selector1.elsewhere.example"]
    _, _, found = await findings(tmp_path, {"corp.example": OWN, **alias})
    assert "selector1.elsewhere.example, which is not Microsoft's" in found["dkim.microsoft"]["fix"]


async def test_a_key_that_nobody_can_use_is_none(tmp_path: Path) -> None:
    revoked = {**SIGNED, "google._domainkey.corp.example": {"TXT": ["v=DKIM1; p="]}}
    status, _, found = await findings(tmp_path, revoked)
    assert (status, found["dkim.google"]["state"]) == (1, "warning")


async def test_whom_the_spf_record_lets_pass_besides(tmp_path: Path) -> None:
    status, _, found = await findings(tmp_path, {**SIGNED, **SHARED})
    assert (status, found["spf.shared"]["state"]) == (1, "warning")
    assert "networks of Microsoft 365, SendGrid" in found["spf.shared"]["found"]
    assert found["spf.shared"]["fix"].startswith("Once all your mail is signed")
    unsigned = (await findings(tmp_path, SHARED))[2]
    assert unsigned["spf.shared"]["fix"].startswith("Have every service")
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "guarded.toml").write_text(GUARD)
    guarded = await findings(tmp_path, {**SIGNED, **SHARED}, '[policy]\nset = "guarded"\ndirectory = "rules"\n')
    assert guarded[0] == 0
    assert "A rule in force" in guarded[2]["spf.shared"]["found"]


@pytest.mark.parametrize("silence", ["SERVFAIL", "TIMEOUT"])
async def test_silence_is_neither_good_nor_bad(tmp_path: Path, silence: str) -> None:
    status, state, found = await findings(tmp_path, {**SIGNED, "google._domainkey.corp.example": silence})
    assert (status, state, found["dkim.google"]["state"]) == (1, "unknown", "unknown")
    assert "resolvers" in found["dkim.google"]["fix"]


async def test_a_record_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    _, _, found = await findings(tmp_path, {**SIGNED, "corp.example": {"TXT": ["v=spf1 ip4:1.2.3.999 -all"]}})
    assert "waypost spf check corp.example" in found["spf.record"]["fix"]
    _, _, found = await findings(tmp_path, {**SIGNED, "corp.example": {"A": ["192.0.2.1"]}})
    assert found["spf.record"]["found"].startswith("there is no SPF record")
    _, state, found = await findings(tmp_path, {**SIGNED, "corp.example": {"TXT": "SERVFAIL"}})
    assert (state, found["spf.record"]["state"]) == ("unknown", "unknown")


async def test_a_named_signer_that_does_not_exist_or_is_everybodys(tmp_path: Path) -> None:
    zone = {name: data for name, data in SIGNED.items() if name != "tickets.example"}
    status, _, found = await findings(tmp_path, zone, TICKETS)
    assert (status, found["signer.missing"]["state"]) == (1, "warning")
    status, _, wrong = await ask(tmp_path, SIGNED, more=TICKETS.replace("tickets.example", "sendgrid.net"))
    assert status == 2
    assert "signs for all customers of SendGrid" in wrong
    assert "Sender Authentication" in wrong


async def test_people_read_each_finding_with_its_next_step(tmp_path: Path) -> None:
    status, said, _ = await ask(tmp_path, SHARED)
    assert status == 1
    lines = said.splitlines()
    warnings = [at for at, line in enumerate(lines) if ": warning: " in line]
    assert len(warnings) == 4, "three of DNS, and the listener without STARTTLS"
    assert all(lines[at + 1].startswith("    next: ") for at in warnings)


async def test_a_domain_that_lives_with_one_provider_is_asked_about_that_one(tmp_path: Path) -> None:
    one = '[[domain]]\nname = "second.example"\nbackend = "microsoft"\n'
    _, said, _ = await ask(tmp_path, SIGNED, "--json", more=one)
    second = [row["id"] for row in json.loads(said)["dns"] if row["domain"] == "second.example"]
    assert second == ["dkim.microsoft", "spf.record"]
