"""The control plane beside a real gateway: its death and its hang touch no mail, and it comes back by itself."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import Gateway, send

pytestmark = pytest.mark.slow

RCPT = "alice@corp.example"


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gw", workers=request.param)
    yield made
    made.stop()


def control_of(gateway: Gateway) -> dict[str, Any] | None:
    done = gateway.run("status", "--config", str(gateway.config_path), "--json")
    control: dict[str, Any] | None = json.loads(done.stdout)["control"]
    return control


def wait_for(gateway: Gateway, holds: Callable[[dict[str, Any]], bool], seconds: float = 40.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        control = control_of(gateway)
        if control is not None and holds(control):
            return control
        assert time.monotonic() < end, (control, gateway.log())
        time.sleep(0.2)


def is_ready(control: dict[str, Any]) -> bool:
    return bool(control["state"] == "ready")


def mail(gateway: Gateway) -> None:
    octets = f"From: ann@sender.example\r\nTo: {RCPT}\r\nSubject: x\r\n\r\nHello.\r\n".encode()
    with gateway.smtp(tls=False) as client:
        began = time.monotonic()
        assert send(client, "ann@sender.example", [RCPT], octets)[0] == 250
        assert time.monotonic() - began < 10


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_killed_it_is_started_again_and_mail_goes_on(gateway: Gateway) -> None:
    gateway.start()
    before = wait_for(gateway, is_ready)
    assert set(before) == {
        "pid", "since", "state", "memory_octets", "memory_limit_octets", "cpu_seconds", "index",
    }  # fmt: skip
    # It gives way, and its memory is bounded.
    assert os.getpriority(os.PRIO_PROCESS, before["pid"]) == os.getpriority(os.PRIO_PROCESS, 0) + 10
    limits = Path(f"/proc/{before['pid']}/limits").read_text()
    assert "Max data size             536870912" in limits
    assert 0 < before["memory_octets"] < before["memory_limit_octets"] == 536_870_912
    os.kill(before["pid"], signal.SIGKILL)
    mail(gateway)
    after = wait_for(gateway, lambda control: is_ready(control) and control["pid"] != before["pid"])
    died = [event for event in gateway.events() if event["event"] == "control-died"]
    assert [(event["status"], event["level"], event["hung"]) for event in died] == [(-9, "alarm", False)]
    assert not [event for event in gateway.events() if event["event"] == "worker-died"]
    # Once more: the pause grows.
    os.kill(after["pid"], signal.SIGKILL)
    wait_for(gateway, lambda control: is_ready(control) and control["pid"] not in (before["pid"], after["pid"]))
    pauses = [event["next_in"] for event in gateway.events() if event["event"] == "control-died"]
    assert pauses == [1.0, 2.0]
    mail(gateway)
    assert len(gateway.google.wait(2)) == 2
    pid = wait_for(gateway, is_ready)["pid"]
    assert gateway.terminate() == 0
    assert is_gone(pid)


def test_stopped_it_is_killed_and_started_again(gateway: Gateway) -> None:
    gateway.start()
    before = wait_for(gateway, is_ready)
    os.kill(before["pid"], signal.SIGSTOP)
    for _ in range(3):
        mail(gateway)
    assert len(gateway.google.wait(3)) == 3
    done = gateway.run("status", "--config", str(gateway.config_path), "--json")
    assert json.loads(done.stdout)["control"]["state"] in ("silent", "starting")
    after = wait_for(gateway, lambda control: is_ready(control) and control["pid"] != before["pid"], 90)
    assert is_gone(before["pid"])
    died = [event for event in gateway.events() if event["event"] == "control-died"]
    assert [(event["status"], event["hung"]) for event in died] == [(-9, True)]
    assert after["index"]["messages"] == 3 or wait_for(gateway, lambda one: one["index"]["messages"] == 3, 90)


def test_it_ends_with_the_gateway_and_its_files_are_private(gateway: Gateway) -> None:
    gateway.start()
    pid = wait_for(gateway, is_ready)["pid"]
    home = gateway.directory / "spool" / "control"
    for file in home.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    assert stat.S_IMODE((home / "index.db").stat().st_mode) == 0o600
    gateway.kill()
    end = time.monotonic() + 15
    while not is_gone(pid):
        assert time.monotonic() < end
        time.sleep(0.05)
    # The next start finds its place free.
    gateway.start_gateway()
    wait_for(gateway, is_ready)
    assert gateway.terminate() == 0
