"""From a shadow to the set in force: asked beside the live set, replayed over yesterday's mail, then promoted."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from typing import Any

import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.samples import nested_multipart, plain, sign

pytestmark = pytest.mark.slow

SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")
FORWARDED = b"Received: from x (unknown [192.0.2.9]) by mx.forwarder.example; today\r\n" + plain("ceo@bank.example")


def run(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return gateway.run(*words, "--config", str(gateway.config_path))


def deliver(gateway: Gateway, mail_from: str, octets: bytes) -> tuple[int, str]:
    with gateway.smtp() as client:
        code, text = send(client, mail_from, ["alice@corp.example"], octets)
    found = re.search(r"\((\w+)\)$", text)
    assert found
    return code, found[1]


def replayed(gateway: Gateway, *words: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(run(gateway, "replay", "--json", *words).stdout)
    return tree


def test_shadow_replay_promote(gateway: Gateway) -> None:
    gateway.settings = '[policy]\nset = "enforce"\nshadow = "strict"\n'
    gateway.start()
    assert deliver(gateway, "author@sender.example", SIGNED)[0] == 250
    assert deliver(gateway, "x@other.example", plain("ceo@bank.example"))[0] == 550
    code, listed = deliver(gateway, "x@other.example", FORWARDED)
    assert code == 250, "the shadow changes no outcome"
    gateway.google.wait(2)

    story = json.loads(run(gateway, "explain", listed, "--json").stdout)
    assert story["decision"]["action"] == "quarantine"
    (aside,) = story["decision"]["shadow"]
    assert (aside["set"], aside["action"]) == ("strict", "reject")
    assert "strict: reject, by rule" in run(gateway, "explain", listed).stdout
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}/metrics", timeout=5).read().decode()
    assert 'waypost_events_total{detail="strict,reject,quarantine",name="shadow"} 1.0' in metrics
    (event,) = [one for one in gateway.events() if one["event"] == "shadow"]
    assert (event["id"], event["set"], event["action"], event["live"]) == (listed, "strict", "reject", "quarantine")

    # Content of delivered mail is deleted by now: only traces are replayed.
    assert json.loads(run(gateway, "explain", listed, "--json").stdout)["content"] == "purged"
    same = replayed(gateway)
    assert (same["set"], same["judged"], same["changed"]) == ("enforce", 3, [])
    other = replayed(gateway, "--policy", "strict")
    (change,) = other["changed"]
    assert (change["id"], change["then"]["action"], change["now"]["action"]) == (listed, "quarantine", "reject")
    assert replayed(gateway, "--policy", "strict", "--since", "0m")["judged"] == 0

    file = gateway.directory / "mine.toml"
    file.write_text('set = "mine"\ninclude = ["role-addresses.toml"]\n')
    assert {one["id"] for one in replayed(gateway, "--policy", str(file))["changed"]} >= {listed}

    before = gateway.config_path.read_text()
    asked = run(gateway, "promote", "strict")
    assert asked.returncode == 1
    assert "1 would change: 1 quarantine -> reject" in asked.stdout
    assert "--yes" in asked.stderr
    assert gateway.config_path.read_text() == before

    done = run(gateway, "promote", "strict", "--yes")
    assert done.returncode == 0, done.stderr
    assert "the running gateway judges by it" in done.stdout
    assert gateway.config_path.read_text() == before.replace('set = "enforce"', 'set = "strict"')
    assert deliver(gateway, "x@other.example", FORWARDED)[0] == 550
    assert "strict is in force already" in run(gateway, "promote", "strict").stdout


def test_promoted_while_the_gateway_is_down_it_holds_from_the_start(gateway: Gateway) -> None:
    gateway.start(backends=False)
    gateway.kill()
    done = run(gateway, "promote", "strict", "--yes")
    assert "in force from the next start on" in done.stdout
    gateway.start_gateway()
    assert deliver(gateway, "x@other.example", FORWARDED)[0] == 550


def test_what_cannot_be_put_in_force_changes_nothing(gateway: Gateway) -> None:
    gateway.start(backends=False)
    good = gateway.config_path.read_text()
    unknown = run(gateway, "promote", "strickt", "--yes")
    assert unknown.returncode == 2
    assert 'no rule set named "strickt"' in unknown.stderr
    # A backend that is new needs a restart, so the running gateway refuses to reload.
    broken = good.replace('"bob@corp.example" = "microsoft"', '"bob@corp.example" = "new"')
    broken = broken.replace("[routing.addresses]", '[backend.new]\nhosts = "mx"\n\n[routing.addresses]')
    gateway.config_path.write_text(broken)
    refused = run(gateway, "promote", "strict", "--yes")
    assert refused.returncode == 2
    assert "backend new is new" in refused.stderr
    assert "as it was" in refused.stderr
    assert gateway.config_path.read_text() == broken
    assert run(gateway, "replay", "--since", "week").returncode == 2
