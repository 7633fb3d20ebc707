"""The client behind a relay of ours, its name in DNS and the lists that it is on: from the wire to the rule, the
fields, the trace, and the same again from `simulate`."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.samples import plain

CLIENT, RELAY = "203.0.113.7", "127.0.0.9"
LINE = (
    f"Received: from [{CLIENT}] (port=43210 helo=[198.51.100.66])\r\n"
    "\tby relay.corp.example with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384\r\n\t(Exim 4.96)\r\n"
    "\t(envelope-from <author@sender.example>)\r\n\tid 1xUto3-0005ts-0K\r\n\tfor alice@corp.example;\r\n"
    "\tSat, 21 Nov 2026 22:43:39 +0000\r\n"
).encode()
RULES = """
set = "own"

[[rule]]
id    = "listed"
stage = "data"
when  = '"list.example" in dnsbl.listed && !("dead.example" in dnsbl.errors) && iprev.result == "pass"'
then  = "quarantine"
"""


@pytest.fixture
def ready(gateway: Gateway) -> Gateway:
    """Facts on, one block list that works, one that does not, and a relay that is an Exim."""
    rules = gateway.directory / "rules"
    rules.mkdir()
    (rules / "own.toml").write_text(RULES)
    gateway.zone |= {
        "sender.example": {"TXT": [f"v=spf1 ip4:{CLIENT} -all"]},
        "7.113.0.203.in-addr.arpa": {"PTR": ["out.sender.example"]},
        "out.sender.example": {"A": [CLIENT]},
        "2.0.0.127.list.example": {"A": ["127.0.0.2"]},
        "7.113.0.203.list.example": {"A": ["127.0.0.4"]},
    }
    gateway.settings = f"""
[policy]
set = "own"
directory = "{rules}"
fcrdns = true

[[dnsbl]]
zone = "list.example"
codes = ["127.0.0.2", "127.0.0.4/30"]

[[dnsbl]]
zone = "dead.example"

[[relay]]
name = "old-exim"
addresses = ["{RELAY}"]
by = ["relay.corp.example"]
format = "exim"
"""
    gateway.start()
    return gateway


def test_a_client_behind_a_relay(ready: Gateway, tmp_path: Path) -> None:
    [alarm] = [event for event in ready.events() if event["event"] == "dnsbl-ignored"]
    assert (alarm["level"], alarm["zone"]) == ("alarm", "dead.example")
    octets = LINE + plain("author@sender.example")
    with ready.smtp(tls=False, source=RELAY, helo="relay.corp.example") as client:
        code, text = send(client, "author@sender.example", ["alice@corp.example"], octets)
    assert code == 250, text
    [(delivered, _)] = ready.google.wait(1)
    own, _, rest = delivered.partition(LINE)
    assert rest, "the relay's line and what follows are untouched"
    assert f"(out.sender.example [{CLIENT}])".encode() in own
    assert f"iprev=pass (out.sender.example) policy.iprev={CLIENT}".encode() in b" ".join(own.split())
    assert b"action=quarantine" in own

    found = re.search(r"\((\w+)\)$", text)
    assert found
    told = ready.run("explain", found[1], "--config", str(ready.config_path), "--json")
    story = json.loads(told.stdout)
    assert story["ingress"]["client"] == CLIENT
    assert story["ingress"]["via"] == ["old-exim"]
    assert story["ingress"]["proof"] == "our relay old-exim recorded the address in its Received line"
    assert story["results"]["iprev"] == {"result": "pass", "name": "out.sender.example", "reason": ""}
    assert story["results"]["dnsbl"] == {
        "asked": ["list.example"],
        "listed": ["list.example"],
        "errors": [],
        "codes": [["127.0.0.2/32", "127.0.0.4/30"]],
    }
    assert story["results"]["spf"]["result"] == "pass"
    assert story["replayed"] == "same"
    shown = ready.run("explain", found[1], "--config", str(ready.config_path)).stdout
    assert "our relay old-exim recorded the address" in shown
    assert "the client is on list.example of list.example" in " ".join(shown.split())

    file = tmp_path / "message.eml"
    file.write_bytes(octets)
    arguments = ["--ip", RELAY, "--helo", "relay.corp.example", "--mail-from", "author@sender.example"]
    arguments += ["--rcpt", "alice@corp.example", "--config", str(ready.config_path), "--json"]
    simulated = json.loads(ready.run("simulate", str(file), *arguments).stdout)
    assert simulated["decision"] == story["decision"]
    assert simulated["spf"] == story["results"]["spf"]
    assert unfolded(simulated["added"], "simulated") == unfolded(story["added"], found[1])


def unfolded(added: list[str], id: str) -> list[str]:
    """The fields without each message's own values: its id, and its time."""
    fields = [" ".join(field.split()).replace(id, "ID") for field in added]
    return [field.rpartition(";")[0] if field.startswith("Received:") else field for field in fields]


def test_role_addresses_are_exempt(ready: Gateway) -> None:
    with ready.smtp(tls=False, source=RELAY, helo="relay.corp.example") as client:
        code, text = send(
            client, "author@sender.example", ["abuse@corp.example"], LINE + plain("author@sender.example")
        )
    assert code == 250, text
    [(delivered, _)] = ready.google.wait(1)
    assert b"action=accept" in delivered


def test_a_relay_that_writes_another_layout_names_nobody(ready: Gateway) -> None:
    forged = LINE.replace(CLIENT.encode(), b"198.51.100.66").replace(b"(Exim 4.96)", b"(Exim 4.96 [198.51.100.66])")
    with ready.smtp(tls=False, source=RELAY, helo="relay.corp.example") as client:
        code, text = send(
            client, "author@sender.example", ["alice@corp.example"], forged + LINE + plain("author@sender.example")
        )
    assert code == 250, text
    found = re.search(r"\((\w+)\)$", text)
    assert found
    story = json.loads(ready.run("explain", found[1], "--config", str(ready.config_path), "--json").stdout)
    assert story["ingress"]["client"] is None
    assert story["ingress"]["proof"] == "the Received line of relay old-exim is not as it writes it"
    assert (story["results"]["spf"]["result"], story["results"]["dmarc"]["result"]) == ("none", "none")
    assert story["results"]["iprev"]["result"] == "none"


def test_a_list_that_failed_its_test_is_not_asked_after_a_reload_either(ready: Gateway) -> None:
    assert ready.process is not None
    ready.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 15
    while "reloaded" not in {event["event"] for event in ready.events()}:
        assert time.monotonic() < end, ready.log()
        time.sleep(0.05)
    with ready.smtp(tls=False, source=RELAY, helo="relay.corp.example") as client:
        octets = LINE + plain("author@sender.example")
        code, text = send(client, "author@sender.example", ["alice@corp.example"], octets)
    assert code == 250, text
    found = re.search(r"\((\w+)\)$", text)
    assert found
    story = json.loads(ready.run("explain", found[1], "--config", str(ready.config_path), "--json").stdout)
    assert story["results"]["dnsbl"]["asked"] == ["list.example"]
