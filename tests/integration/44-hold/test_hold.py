"""Held over real SMTP, shown, released, deleted: with the gateway running and while it is down."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import dkim
import pytest

from tests.support.gateway_process import ROOT, Gateway, send
from tests.support.samples import nested_multipart, sign, signing_key

pytestmark = pytest.mark.slow

SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")
RCPTS = ["alice@corp.example", "bob@corp.example"]


def hold(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return gateway.run("hold", *words, "--config", str(gateway.config_path))


def held(gateway: Gateway) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads(hold(gateway, "list", "--json").stdout)
    return entries


def explained(gateway: Gateway, id: str) -> dict[str, object]:
    tree: dict[str, object] = json.loads(
        gateway.run("explain", id, "--config", str(gateway.config_path), "--json").stdout
    )
    return tree


def send_signed(gateway: Gateway) -> str:
    with gateway.smtp() as client:
        code, text = send(client, "author@sender.example", RCPTS, SIGNED)
    assert code == 250, text
    found = re.search(r"\((\w+)\)$", text)
    assert found
    return found[1]


def states(tree: dict[str, object]) -> list[str]:
    recipients = tree["recipients"]
    assert isinstance(recipients, list)
    return [str(one["state"]) for one in recipients]


def test_released_both_backends_get_the_octets_received(gateway: Gateway) -> None:
    gateway.start()
    id = send_signed(gateway)
    (entry,) = held(gateway)
    assert (entry["id"], entry["domain"], entry["rcpts"]) == (id, "sender.example", RCPTS)
    assert entry["reason"] == "watched"
    assert states(explained(gateway, id)) == ["held", "held"]
    shown = hold(gateway, "show", id).stdout
    assert "Subject: Angebot für Sie" in shown
    assert "keep it here until an admin decides" in shown
    words = ("hold", "show", id, "--raw", "--config", str(gateway.config_path))
    assert subprocess.check_output([sys.executable, "-m", "gateway.cli", *words], cwd=ROOT) == SIGNED
    assert gateway.google.received() == gateway.microsoft.received() == []

    assert hold(gateway, "release", id).returncode == 0
    _, record = signing_key()
    for standin in (gateway.google, gateway.microsoft):
        [(octets, facts)] = standin.wait(1)
        assert octets.endswith(SIGNED)
        prefix = octets[: -len(SIGNED)]
        assert re.match(rb"X-Waypost-Verdict: action=released; dmarc=pass; rule=watched;\s+id=" + id.encode(), prefix)
        assert prefix.count(b"\r\nReceived: ") == 1
        assert facts["mail_from"] == "author@sender.example"
        assert dkim.verify(octets, dnsfunc=lambda name, timeout=5: record.encode())
    story = explained(gateway, id)
    assert states(story) == ["delivered", "delivered"]
    assert [act["what"] for act in story["acts"]] == ["released"]  # type: ignore[attr-defined]
    assert story["replayed"] == "same"
    again = hold(gateway, "release", id)
    assert (again.returncode, again.stderr) == (1, f"{id} is not held\n")
    assert held(gateway) == []


def test_decided_while_the_gateway_is_down(gateway: Gateway) -> None:
    gateway.start()
    released, deleted = send_signed(gateway), send_signed(gateway)
    gateway.kill()
    assert hold(gateway, "delete", deleted).stdout == f"{deleted} deleted\n"
    assert hold(gateway, "release", released).stdout == f"{released} released\n"
    assert held(gateway) == []
    assert states(explained(gateway, deleted)) == ["deleted", "deleted"]
    assert explained(gateway, deleted)["content"] == "purged"
    gateway.start_gateway()
    [(octets, _)] = gateway.google.wait(1)
    assert octets.endswith(SIGNED)
    assert len(gateway.microsoft.wait(1)) == 1
    assert states(explained(gateway, released)) == ["delivered", "delivered"]


def test_a_domain_is_decided_on_as_a_whole(gateway: Gateway) -> None:
    gateway.start(backends=False)
    ids = {send_signed(gateway) for _ in range(3)}
    assert {entry["id"] for entry in held(gateway)} == ids
    done = hold(gateway, "delete", "--domain", "sender.example")
    assert {line.partition(" ")[0] for line in done.stdout.splitlines()} == ids
    assert held(gateway) == []
    assert hold(gateway, "delete", "--domain", "sender.example").stdout == "Nothing is held of sender.example.\n"
    assert hold(gateway, "delete").stderr == "give ids, or --domain\n"
    assert hold(gateway, "show", "nothing").returncode == 1


def test_with_two_workers_each_shard_is_listed_and_decided_on(gateway: Gateway) -> None:
    gateway.workers = 2
    gateway.settings += "[hold]\ndomain_messages = 40\ndigest = false\n"
    gateway.start()
    ids: dict[str, str] = {}
    for _ in range(30):
        id = send_signed(gateway)
        ids[id[9]] = id
        if len(ids) == 2:
            break
    assert ids.keys() == {"0", "1"}, "both workers took some"
    listed = {str(entry["id"]) for entry in held(gateway)}
    assert set(ids.values()) <= listed
    for id in ids.values():
        assert hold(gateway, "release", id).stdout == f"{id} released\n"
    assert len(gateway.google.wait(2)) == 2
    for id in ids.values():
        assert [act["what"] for act in explained(gateway, id)["acts"]] == ["released"]  # type: ignore[attr-defined]
    assert {str(entry["id"]) for entry in held(gateway)} == listed - set(ids.values())
