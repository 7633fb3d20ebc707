"""Several workers are one gateway: to clients, to backends, to the admin, and when one of them dies."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import smtplib
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, send

pytestmark = pytest.mark.slow

RCPT = "alice@corp.example"


def message(number: int) -> bytes:
    return f"From: ann@sender.example\r\nTo: {RCPT}\r\nSubject: {number}\r\n\r\nHello.\r\n".encode()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways of two workers; all end with the test."""
    with ExitStack() as stack:

        def start(backends: bool = True, workers: int = 2, **settings: object) -> Gateway:
            gateway = Gateway(tmp_path / "gw", workers=workers, **settings)  # type: ignore[arg-type]
            stack.callback(gateway.stop)
            gateway.start(backends)
            wait_until(lambda: len(event_workers(gateway, "listening")) == workers)
            return gateway

        yield start


def workers_of(gateway: Gateway) -> list[int]:
    assert gateway.process is not None
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
    # The control plane is a program of its own.
    return [
        int(word) for word in children.split() if b"control_plane" not in Path(f"/proc/{word}/cmdline").read_bytes()
    ]


def fetch(gateway: Gateway, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def counted(gateway: Gateway, name: str) -> float:
    found = re.findall(rf'^waypost_events_total\{{.*name="{name}"\}} (\S+)', fetch(gateway, "/metrics"), re.MULTILINE)
    return sum(float(value) for value in found)


def wait_until(there: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def event_workers(gateway: Gateway, name: str) -> set[object]:
    return {event.get("worker") for event in gateway.events() if event["event"] == name}


def id_of(text: str) -> str:
    found = re.search(r"[0-9a-z]{15}", text)
    assert found is not None
    return found[0]


def test_sessions_are_spread_and_everything_is_seen_as_one(make: Callable[..., Gateway]) -> None:
    gateway = make()
    with ExitStack() as stack:
        clients = [stack.enter_context(gateway.smtp(tls=False)) for _ in range(6)]
        replies = [send(client, "ann@sender.example", [RCPT], message(at)) for at, client in enumerate(clients)]
    assert {code for code, _ in replies} == {250}
    ids = [id_of(text) for _, text in replies]
    # No worker has more than half, and each names its shard.
    assert sorted(id[9] for id in ids) == ["0"] * 3 + ["1"] * 3
    assert event_workers(gateway, "delivered") == {0, 1}
    # Any worker shows all of it.
    for _ in range(8):
        assert counted(gateway, "delivered") == 6
    for id in ids:
        assert json.loads(gateway.run("explain", "--config", str(gateway.config_path), "--json", id).stdout)
    assert gateway.terminate() == 0
    assert not [event for event in gateway.events() if event["level"] == "alarm"]


def test_limits_hold_over_all_workers(make: Callable[..., Gateway]) -> None:
    gateway = make(settings="[limits]\nconnections = 5\nconnections_per_address = 3")
    with ExitStack() as stack:

        def connect(source: str) -> smtplib.SMTP:
            return stack.enter_context(gateway.smtp(tls=False, source=source))

        clients = [connect("127.0.0.1") for _ in range(3)]
        for _ in range(4):
            with pytest.raises(smtplib.SMTPConnectError, match="421"):
                connect("127.0.0.1")
        clients += [connect("127.0.0.2") for _ in range(2)]
        with pytest.raises(smtplib.SMTPConnectError, match="421"):
            connect("127.0.0.3")
        clients.pop(0).quit()
        wait_until(lambda: _connects(gateway, "127.0.0.1"))


def _connects(gateway: Gateway, source: str) -> bool:
    with suppress(smtplib.SMTPConnectError):
        gateway.smtp(tls=False, source=source).quit()
        return True
    return False


def test_dead_worker_is_replaced_and_its_mail_delivered(make: Callable[..., Gateway]) -> None:
    gateway = make(backends=False, delivery="in_session = false\nschedule = [1, 1]")
    ids = []
    with ExitStack() as stack:
        clients = [stack.enter_context(gateway.smtp(tls=False)) for _ in range(4)]
        for at, client in enumerate(clients):
            ids.append(id_of(send(client, "ann@sender.example", [RCPT], message(at))[1]))
        queue = json.loads(gateway.run("queue", "list", "--config", str(gateway.config_path), "--json").stdout)
        assert sorted(entry["message"] for entry in queue) == sorted(ids)
        before = counted(gateway, "accepted")
        assert before == 4
        victims = workers_of(gateway)
        assert len(victims) == 2
        os.kill(victims[0], signal.SIGKILL)
        wait_until(lambda: len(workers_of(gateway)) == 2 and victims[0] not in workers_of(gateway))
    wait_until(lambda: len([e for e in gateway.events() if e["event"] == "listening"]) == 3)
    assert [event["status"] for event in gateway.events() if event["event"] == "worker-died"] == [-9]
    # The counts of the dead worker still count, and its places are free.
    assert counted(gateway, "accepted") == before
    gateway.google.start()
    got = gateway.google.wait(4)
    assert sorted(re.search(rb"Subject: (\d)", octets)[1] for octets, _ in got) == [b"0", b"1", b"2", b"3"]  # type: ignore[index]
    assert event_workers(gateway, "delivered") == {0, 1}


def test_fewer_workers_adopt_what_the_others_left(make: Callable[..., Gateway]) -> None:
    gateway = make(backends=False, workers=3, delivery="in_session = false\nschedule = [1, 1]")
    with ExitStack() as stack:
        for at, client in enumerate([stack.enter_context(gateway.smtp(tls=False)) for _ in range(6)]):
            assert send(client, "ann@sender.example", [RCPT], message(at))[0] == 250
    assert gateway.terminate() == 0
    gateway.workers = 1
    gateway.google.start()
    gateway.write_config()
    gateway.start_gateway()
    gateway.google.wait(6)
    wait_until(lambda: "waypost_queue_transfers{" not in fetch(gateway, "/metrics"))
    assert gateway.terminate() == 0


def test_hangup_reaches_all_and_a_late_worker_has_the_new_law(make: Callable[..., Gateway]) -> None:
    gateway = make()
    assert gateway.process is not None
    new = gateway.config_path.read_text().replace('"bob@corp.example"', '"new@other.example"')
    gateway.config_path.write_text(new + '\n[[domain]]\nname = "other.example"\nbackend = "google"\n')
    os.kill(gateway.process.pid, signal.SIGHUP)
    wait_until(lambda: event_workers(gateway, "reloaded") == {0, 1})
    os.kill(workers_of(gateway)[0], signal.SIGKILL)
    wait_until(lambda: len([e for e in gateway.events() if e["event"] == "reloaded"]) == 3)
    with ExitStack() as stack:
        for client in [stack.enter_context(gateway.smtp(tls=False)) for _ in range(6)]:
            assert send(client, "ann@sender.example", ["x@other.example"], message(1))[0] == 250


def test_drain_lets_a_transaction_end_and_nobody_new_in(make: Callable[..., Gateway]) -> None:
    gateway = make()
    with ExitStack() as stack:
        clients = [gateway.smtp(tls=False) for _ in range(4)]
        for client in clients:
            stack.callback(client.close)
            client.mail("ann@sender.example")
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: event_workers(gateway, "draining") == {0, 1})
        with pytest.raises(OSError):  # noqa: PT011
            gateway.smtp(tls=False)
        for client in clients:
            assert client.rcpt(RCPT)[0] == 250
            client.docmd("DATA")
            client.send(message(7) + b".\r\n")
            assert client.getreply()[0] == 250
    assert gateway.process.wait(15) == 0
    assert len(gateway.google.wait(4)) == 4


def test_workers_end_when_their_supervisor_is_killed(make: Callable[..., Gateway]) -> None:
    gateway = make()
    left = workers_of(gateway)
    gateway.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
    gateway.start_gateway()
    assert gateway.terminate() == 0


def test_what_keeps_one_worker_from_starting_ends_all(make: Callable[..., Gateway]) -> None:
    gateway = make()
    assert gateway.terminate() == 0
    with (gateway.directory / "spool" / "1" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = gateway.run("serve", "--config", str(gateway.config_path))
    assert done.returncode == 2
    assert "spool/1 is in use" in done.stderr
    assert "Traceback" not in done.stderr
