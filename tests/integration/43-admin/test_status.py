"""`waypost status` over two workers, from the outside: what it says while all is well, and of each kind of trouble."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.gateway_process import Gateway, free_port, send

pytestmark = pytest.mark.slow

KEYS = {
    "state", "sentence", "version", "node", "routes", "queue", "hour", "storage", "certificates", "maps",
    "pending_restart", "suspended", "alarms", "workers", "control",
}  # fmt: skip


def status(gateway: Gateway) -> tuple[int, dict[str, Any]]:
    done = gateway.run("status", "--json", "--config", str(gateway.config_path))
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def route(tree: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in tree["routes"] if one["name"] == name)


def wait_for(gateway: Gateway, holds: Callable[[dict[str, Any]], bool], seconds: float = 30.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        tree = status(gateway)[1]
        if holds(tree):
            return tree
        assert time.monotonic() < end, tree
        time.sleep(0.2)


def mail(gateway: Gateway, rcpt: str = "alice@corp.example") -> tuple[int, str]:
    octets = f"From: ann@sender.example\r\nTo: {rcpt}\r\nSubject: status\r\n\r\nHello.\r\n".encode()
    with gateway.smtp(tls=False) as client:
        return send(client, "ann@sender.example", [rcpt], octets)


def test_all_is_well(gateway: Gateway) -> None:
    gateway.workers = 2
    gateway.start()
    assert mail(gateway)[0] == 250
    wait_for(gateway, lambda tree: len(tree["workers"]) == 2)
    code, tree = status(gateway)
    assert set(tree) == KEYS
    assert (code, tree["state"]) == (0, "ok"), tree
    assert tree["sentence"] == "Mail is taken and delivered by 2 workers; 0 transfers wait."
    assert tree["node"] == "mx.gateway.example"
    assert [(one["number"], one["restarts"]) for one in tree["workers"]] == [(0, 0), (1, 0)]
    assert (tree["hour"]["accepted"], tree["hour"]["refused"]) == (1, 0)
    assert set(tree["control"]) >= {"pid", "since", "state"}
    assert tree["control"]["state"] in ("starting", "ready", "catching-up")
    assert set(route(tree, "google")) == {
        "name", "state", "until", "reason", "waiting", "oldest_seconds", "connections", "window",
    }  # fmt: skip
    assert tree["certificates"][0]["state"] == "good"
    shown = gateway.run("status", "--config", str(gateway.config_path)).stdout
    assert shown.splitlines()[0] == tree["sentence"]


def test_a_backend_that_is_down_is_told_with_reason_waiting_and_oldest(gateway: Gateway) -> None:
    gateway.workers, gateway.delivery = 2, "schedule = [600]\nsession_budget = 1"
    gateway.start(backends=False)
    for _ in range(4):
        assert mail(gateway)[0] == 250
    tree = wait_for(gateway, lambda tree: route(tree, "google")["state"] == "paused")
    google = route(tree, "google")
    assert google["waiting"] == 4
    assert google["oldest_seconds"] >= 0
    assert "refused" in google["reason"].lower()
    assert google["until"] > datetime.now(UTC).isoformat()[:10]
    assert route(tree, "microsoft")["state"] == "idle"
    assert (status(gateway)[0], tree["state"], tree["queue"]["waiting"]) == (1, "warning", 4)
    assert tree["sentence"].startswith("The route google is paused until ")
    # Without the gateway, the spool alone is asked.
    gateway.terminate()
    code, tree = status(gateway)
    assert (code, tree["state"], tree["workers"]) == (1, "error", [])
    assert tree["sentence"].startswith("No gateway runs on ")
    assert route(tree, "google")["waiting"] == 4
    assert route(tree, "google")["connections"] is None


def test_a_worker_that_died_is_seen_and_counted(gateway: Gateway) -> None:
    gateway.workers = 2
    gateway.start()
    before = wait_for(gateway, lambda tree: len(tree["workers"]) == 2)
    os.kill(before["workers"][1]["pid"], signal.SIGKILL)
    tree = wait_for(gateway, lambda tree: [one["restarts"] for one in tree["workers"]] == [0, 1])
    assert tree["workers"][0]["pid"] == before["workers"][0]["pid"]
    assert tree["workers"][1]["pid"] != before["workers"][1]["pid"]


def test_certificate_suspension_and_pending_settings(gateway: Gateway) -> None:
    gateway.workers = 2
    gateway.settings = f"""
[[listener]]
address = "127.0.0.1:{free_port()}"
role = "smarthost"
[[sender]]
name = "printer"
networks = ["192.0.2.9"]
owns = ["printer@corp.example"]
"""
    ending = trustme.CA().issue_cert(gateway.hostname, not_after=datetime.now(UTC) + timedelta(days=10))
    gateway.certificate.write_bytes(b"".join(part.bytes() for part in ending.cert_chain_pems))
    ending.private_key_pem.write_to_path(str(gateway.key))
    gateway.start()
    wait_for(gateway, lambda tree: len(tree["workers"]) == 2)
    done = gateway.run("outbound", "suspend", "printer", "--config", str(gateway.config_path))
    assert done.returncode == 0, done.stderr
    gateway.settings += "[limits]\nconnections = 77\n"
    gateway.write_config()
    assert gateway.run("reload", "--config", str(gateway.config_path)).returncode == 0
    code, tree = status(gateway)
    assert (code, tree["state"]) == (1, "warning")
    assert [(one["where"], one["state"], one["days"]) for one in tree["certificates"]] == [("listener mx", "soon", 9)]
    assert tree["suspended"] == ["sender printer"]
    assert tree["pending_restart"] == ["limits"]
    assert tree["sentence"].startswith("The certificate of listener mx needs a look: it ends in 10 days. ")


def test_it_works_while_the_configuration_is_broken(gateway: Gateway) -> None:
    gateway.workers = 2
    gateway.start()
    wait_for(gateway, lambda tree: len(tree["workers"]) == 2)
    gateway.config_path.write_text(gateway.config_path.read_text() + "\n[nonsense]\nx = 1\n")
    code, tree = status(gateway)
    assert (code, tree["state"], len(tree["workers"])) == (1, "error", 2)
    assert tree["sentence"].startswith("The configuration has mistakes")
    assert {"google", "microsoft"} <= {one["name"] for one in tree["routes"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_full_disk(gateway: Gateway, tmp_path: Path) -> None:
    gateway.workers = 2
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(spool)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        gateway.start()
        # So small a disk is low from the beginning.
        wait_for(gateway, lambda tree: [one["kind"] for one in tree["alarms"]] == ["storage-low"])
        fill = spool / "fill"
        fill.write_bytes(b"x" * 50_000_000)
        tree = wait_for(gateway, lambda tree: tree["storage"]["refusing"] and len(tree["alarms"]) == 2)
        assert tree["state"] == "error"
        assert tree["sentence"].startswith("New mail is refused for lack of room: ")
        assert "storage-refused" in {one["kind"] for one in tree["alarms"]}
        fill.unlink()
        tree = wait_for(gateway, lambda tree: not tree["storage"]["refusing"] and len(tree["alarms"]) == 1)
        assert (tree["state"], tree["alarms"][0]["kind"]) == ("warning", "storage-low")
    finally:
        gateway.stop()
        subprocess.run(["umount", "-l", str(spool)], check=True)
