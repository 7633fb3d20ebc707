"""`waypost spool check|backup|drain`, beside the running gateway and while it is down."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, send

pytestmark = pytest.mark.slow

SMALL = b"From: a@sender.example\r\nSubject: one\r\n\r\nHello.\r\n"
LARGE = SMALL + (b"x" * 70 + b"\r\n") * 20_000
RCPTS = ["alice@corp.example", "bob@corp.example"]


def queue_some(gateway: Gateway) -> None:
    with gateway.smtp() as client:
        for octets in (SMALL, LARGE, SMALL):
            assert send(client, "a@sender.example", RCPTS, octets)[0] == 250


def check(gateway: Gateway, config: Path | None = None) -> tuple[int, dict[str, object]]:
    ran = gateway.run("spool", "check", "--json", "--config", str(config or gateway.config_path))
    return ran.returncode, json.loads(ran.stdout)


def test_check_finds_what_is_wrong_and_nothing_else(gateway: Gateway) -> None:
    gateway.delivery = "schedule = [3600]"
    gateway.start(backends=False)
    queue_some(gateway)
    status, found = check(gateway)
    assert (status, found["problems"], found["messages"], found["waiting"]) == (0, [], 3, 6)
    assert int(str(found["octets"])) == 2 * len(SMALL) + len(LARGE)
    gateway.terminate()

    shards = list((gateway.directory / "spool").glob("*/spool.db"))
    files = [path for shard in shards for path in (shard.parent / "content").iterdir()]
    assert len(files) == 1
    files[0].write_bytes(LARGE.replace(b"Hello", b"Jello"))
    (shards[0].parent / "content" / "nobodys").write_bytes(b"x")
    damaged = 0
    for shard in shards:
        with sqlite3.connect(shard) as database:
            damaged += database.execute(
                "UPDATE transfer SET body = x'07' WHERE n = (SELECT max(n) FROM transfer)"
            ).rowcount
            damaged += database.execute("DELETE FROM message WHERE n = (SELECT min(n) FROM message)").rowcount
        database.close()
    status, found = check(gateway)
    problems = "\n".join(map(str, found["problems"]))  # type: ignore[call-overload]
    assert status == 1
    assert problems.count("unreadable: stored in an unknown form") >= 1
    assert problems.count("its message is gone") >= 2
    assert "content is not what was received" in problems or damaged == 4
    assert found["unclaimed_files"] in (1, 2)


def test_a_backup_beside_the_running_gateway_is_a_spool(gateway: Gateway, tmp_path: Path) -> None:
    gateway.delivery = "schedule = [3600]"
    gateway.start(backends=False)
    queue_some(gateway)
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            with gateway.smtp() as client:
                send(client, "a@sender.example", RCPTS, SMALL)

    traffic = threading.Thread(target=go_on)
    traffic.start()
    copy = tmp_path / "copy"
    ran = gateway.run("spool", "backup", str(copy), "--config", str(gateway.config_path))
    stop.set()
    traffic.join()
    assert ran.returncode == 0, ran.stderr
    assert "1 content files" in ran.stdout
    again = gateway.run("spool", "backup", str(copy), "--config", str(gateway.config_path))
    assert (again.returncode, "exists" in again.stderr) == (2, True)
    gateway.kill()

    shutil.rmtree(gateway.directory / "spool")
    shutil.move(copy, gateway.directory / "spool")
    status, found = check(gateway)
    assert (status, found["problems"]) == (0, [])
    assert int(str(found["messages"])) >= 3
    gateway.google.start()
    gateway.microsoft.start()
    gateway.start_gateway()
    gateway.run("queue", "retry", "--all", "--config", str(gateway.config_path))
    received = gateway.google.wait(int(str(found["messages"])))
    assert sum(octets.endswith(LARGE) for octets, _ in received) == 1


def test_drain_sends_what_waits_and_lets_nobody_in(gateway: Gateway) -> None:
    gateway.delivery = "schedule = [3600]"
    gateway.start(backends=False)
    queue_some(gateway)
    early = gateway.run("spool", "drain", "--timeout", "1", "--config", str(gateway.config_path))
    assert early.returncode == 1
    assert "Still waiting: 3 for google, 3 for microsoft." in early.stdout
    with pytest.raises(OSError, match="421"):
        gateway.smtp()
    gateway.google.start()
    gateway.microsoft.start()
    drained = gateway.run("spool", "drain", "--timeout", "30", "--config", str(gateway.config_path))
    assert (drained.returncode, drained.stdout) == (0, "Nothing waits any more.\n"), drained.stderr
    assert (len(gateway.google.received()), len(gateway.microsoft.received())) == (3, 3)
    gateway.terminate()
    down = gateway.run("spool", "drain", "--config", str(gateway.config_path))
    assert (down.returncode, down.stderr) == (2, "`drain` is for a gateway that runs, and none does\n")
    gateway.start_gateway()
    with gateway.smtp() as client:
        assert send(client, "a@sender.example", RCPTS, SMALL)[0] == 250
