"""File systems that are really full, without inodes, or read-only: the gateway reports it, sends its mail, and recovers
by itself."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, free_port, send
from tests.support.smtp_sink import Sink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root"),
]

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}
MEGABYTE = 1_048_576


@pytest.fixture
def sink() -> Sink:
    """It is not listening yet, but already has an address."""
    return Sink(port=free_port())


@pytest.fixture
def gateway(tmp_path: Path, sink: Sink) -> Iterator[Gateway]:
    """Its spool is a file system of its own, of 60 MB and 200 inodes."""
    process = Gateway(tmp_path, zone=dict(ZONE), delivery="schedule = [1]\nsession_budget = 1", workers=2)
    process.settings = f"""
[[domain]]
name = "s.example"
backend = "sink"
[backend.sink]
hosts = ["127.0.0.1:{sink.port}"]
tls = "off"
"""
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m,nr_inodes=200,mode=700", "tmpfs", str(spool)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield process
    finally:
        process.stop()
        subprocess.run(["umount", "-l", str(spool)], check=True)


@pytest.fixture
async def returning(sink: Sink) -> AsyncIterator[Callable[[], object]]:
    """Call it: the backend is back."""
    try:
        yield sink.listen
    finally:
        await sink.shut()


def ready(gateway: Gateway) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def named(gateway: Gateway, name: str) -> list[dict[str, object]]:
    return [event for event in gateway.events() if event["event"] == name]


def message(number: int, octets: int) -> bytes:
    body = (f"{number} " + "x" * 70 + "\r\n").encode() * (octets // 75)
    return b"From: alice@sender.example\r\nSubject: " + str(number).encode() + b"\r\n\r\n" + body


def bring(gateway: Gateway, most: int, octets: int) -> list[int]:
    """The codes of messages sent until one is refused."""
    codes: list[int] = []
    with gateway.smtp(tls=False) as client:
        while len(codes) < most and (not codes or codes[-1] == 250):
            codes.append(send(client, "alice@sender.example", ["bob@s.example"], message(len(codes), octets))[0])
    return codes


def fill(directory: Path) -> int:
    """No octet is left; returns the size of the file."""
    taken = 0
    with (directory / "filler").open("wb", buffering=0) as filler:
        for size in (MEGABYTE, 4096, 1):
            while True:
                try:
                    taken += filler.write(bytes(size))
                except OSError:
                    break
    return taken


def start_anyhow(gateway: Gateway) -> None:
    """Start it; `ready` asserts more."""
    with (gateway.directory / "gateway.log").open("ab") as log:
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(gateway.config_path)]
        gateway.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def listens() -> bool:
        assert gateway.process is not None
        assert gateway.process.poll() is None, gateway.log()
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", gateway.admin)) == 0 and ready(gateway)[1] != '{"status":"draining"}'

    wait_until(listens, 60)


async def test_filled_by_an_outage_it_takes_mail_again_by_itself(
    gateway: Gateway, sink: Sink, returning: Callable[[], object]
) -> None:
    await asyncio.to_thread(gateway.start, False)
    assert await asyncio.to_thread(ready, gateway) == (200, '{"status":"ready"}')
    codes = await asyncio.to_thread(bring, gateway, 1000, 200_000)
    assert codes[-1] == 452
    # 28 MB for mail, of which two ballasts take 8, a log that is not emptied yet 11, and what is counted 1.
    assert len(codes) > 30
    await asyncio.to_thread(wait_until, lambda: ready(gateway) == (503, '{"status":"no-storage"}'))
    refused = named(gateway, "storage-refused")
    assert {event["level"] for event in refused} == {"alarm"}
    assert int(str(refused[0]["free"])) < int(str(refused[0]["reserve"]))

    await sink.listen()
    back = time.monotonic()
    await asyncio.to_thread(wait_until, lambda: ready(gateway)[0] == 200, 10.0)
    taken = 0
    while taken < 3:  # each worker has room in its own shard
        taken += (await asyncio.to_thread(bring, gateway, 1, 200_000)).count(250)
        assert time.monotonic() - back < 10.0
    # Each worker looks for itself: the one that answers may never have been full.
    left = back + 10.0 - time.monotonic()
    await asyncio.to_thread(
        wait_until, lambda: len(named(gateway, "storage-restored")) == len(named(gateway, "storage-refused")) > 0, left
    )
    await asyncio.to_thread(wait_until, lambda: len(sink.mails) == len(codes) - 1 + 3, 60.0)


async def test_it_starts_on_a_disk_with_no_octet_free_and_drains_it(
    gateway: Gateway, sink: Sink, returning: Callable[[], object]
) -> None:
    await asyncio.to_thread(gateway.start, False)
    assert await asyncio.to_thread(bring, gateway, 5, 1_500_000) == [250] * 5
    assert await asyncio.to_thread(bring, gateway, 5, 1_000) == [250] * 5
    await asyncio.sleep(3.0)  # room is set aside for worse times
    assert await asyncio.to_thread(gateway.terminate) == 0
    assert fill(gateway.directory / "spool") > MEGABYTE
    await asyncio.to_thread(start_anyhow, gateway)
    assert (await asyncio.to_thread(ready, gateway))[0] == 503
    assert (await asyncio.to_thread(bring, gateway, 1, 1_000)) == [452]
    await sink.listen()
    await asyncio.to_thread(wait_until, lambda: len(sink.mails) == 10, 30.0)
    (gateway.directory / "spool" / "filler").unlink()
    await asyncio.to_thread(wait_until, lambda: ready(gateway)[0] == 200, 10.0)
    assert await asyncio.to_thread(gateway.terminate) == 0


async def test_without_inodes_large_mail_is_refused_and_small_mail_is_not(
    gateway: Gateway, sink: Sink, returning: Callable[[], object]
) -> None:
    await asyncio.to_thread(gateway.start, False)
    fillers = []
    try:
        for number in range(1000):
            fillers.append(gateway.directory / "spool" / f"filler{number}")
            fillers[-1].touch()
    except OSError:
        fillers.pop()
    assert await asyncio.to_thread(bring, gateway, 1, 1_500_000) == [452]
    assert await asyncio.to_thread(bring, gateway, 1, 1_000) == [250]
    assert await asyncio.to_thread(gateway.terminate) == 0
    await asyncio.to_thread(start_anyhow, gateway)
    await sink.listen()
    await asyncio.to_thread(wait_until, lambda: len(sink.mails) == 1, 30.0)
    for filler in fillers:
        filler.unlink()
    assert await asyncio.to_thread(bring, gateway, 1, 1_500_000) == [250]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_read_only_spool_is_named(gateway: Gateway, workers: int) -> None:
    gateway.workers = workers
    gateway.start(False)
    assert gateway.terminate() == 0
    spool = gateway.directory / "spool"
    subprocess.run(["mount", "-o", "remount,ro", str(spool)], check=True)
    done = gateway.run("serve", "--config", str(gateway.config_path))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(spool) in done.stderr
    assert "read-only file system" in done.stderr.lower()
