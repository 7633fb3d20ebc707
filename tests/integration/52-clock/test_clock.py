"""A wall clock that is set while mail waits, while the gateway runs or between two runs: no message waits longer
because of it, and none expires."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT, Gateway, free_port, send
from tests.support.smtp_sink import Sink

pytestmark = pytest.mark.slow

DAY = 86_400
ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}
TEXT = b"From: alice@sender.example\r\nSubject: late\r\n\r\nHello.\r\n"
IN_1970 = 50_000
"""Epoch seconds."""


class Clocked:
    """A gateway whose wall clock the test sets, and a backend that is not there yet."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sink = Sink(port=free_port())
        self.gateway = Gateway(directory, zone=dict(ZONE), delivery="schedule = [2]\nsession_budget = 1", workers=2)
        self.gateway.settings = f"""
[[domain]]
name = "s.example"
backend = "sink"
[backend.sink]
hosts = ["127.0.0.1:{self.sink.port}"]
tls = "off"
"""
        self._offset, library = directory / "offset", directory / "clock_jump.so"
        self._offset.write_bytes(struct.pack("q", 0))
        source = ROOT / "tests" / "chaos" / "clock_jump.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
        monkeypatch.setenv("CLOCK_OFFSET", str(self._offset))
        self._preload = lambda: monkeypatch.setenv("LD_PRELOAD", str(library))
        self._unload = lambda: monkeypatch.delenv("LD_PRELOAD")

    def set(self, seconds: int) -> None:
        """Difference to the right time."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("q", seconds))

    def start(self) -> None:
        self.gateway.write_config()
        self._preload()
        self.gateway.start_gateway()
        self._unload()

    def restart(self) -> None:
        assert self.gateway.terminate() == 0
        self.start()

    def take(self) -> None:
        """A message comes, and waits after its first attempt."""
        with self.gateway.smtp(tls=False) as client:
            assert send(client, "alice@sender.example", ["bob@s.example"], TEXT)[0] == 250
        time.sleep(1.0)

    async def expect_delivery(self, seconds: float = 12.0) -> None:
        """Once the backend is there the message comes soon, and its sender gets no DSN."""
        await self.sink.listen()
        end = time.monotonic() + seconds
        while not self.sink.mails:
            assert time.monotonic() < end, self.gateway.log()[-3000:]
            await asyncio.sleep(0.1)
        assert len(self.sink.mails) == 1
        assert not {event["event"] for event in self.gateway.events()} & {"dsn", "dsn-withheld", "failed", "expired"}

    def jumps(self) -> list[int]:
        return [int(str(event["seconds"])) for event in self.gateway.events() if event["event"] == "clock-jumped"]


@pytest.fixture
def clocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocked]:
    made = Clocked(tmp_path, monkeypatch)
    try:
        yield made
    finally:
        made.gateway.stop()


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "between two runs"])
@pytest.mark.parametrize("days", [-1, -300, 20])
async def test_mail_waits_no_longer_and_is_not_given_up(clocked: Clocked, running: bool, days: int) -> None:
    await asyncio.to_thread(clocked.start)
    await asyncio.to_thread(clocked.take)
    clocked.set(days * DAY)
    if running:
        await asyncio.sleep(2.0)
    else:
        await asyncio.to_thread(clocked.restart)
    await clocked.expect_delivery()
    if running or days < 0:
        assert all(abs(jump - days * DAY) < 70 for jump in clocked.jumps())
        assert len(clocked.jumps()) == 2, "each worker says it"
    await clocked.sink.shut()


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "between two runs"])
async def test_a_clock_in_1970_when_the_mail_came(clocked: Clocked, running: bool) -> None:
    clocked.set(IN_1970 - int(time.time()))
    await asyncio.to_thread(clocked.start)
    await asyncio.to_thread(clocked.take)
    clocked.set(0)
    if running:
        await asyncio.sleep(2.0)
    else:
        await asyncio.to_thread(clocked.restart)
    await clocked.expect_delivery()
    await clocked.sink.shut()


async def test_to_and_fro(clocked: Clocked) -> None:
    await asyncio.to_thread(clocked.start)
    await asyncio.to_thread(clocked.take)
    wrong: list[Callable[[], None]] = [lambda days=days: clocked.set(days * DAY) for days in (5, -400, 30, 0)]  # type: ignore[misc]
    for set_wrong in wrong:
        set_wrong()
        await asyncio.sleep(1.2)
        await asyncio.to_thread(clocked.restart)
    await clocked.expect_delivery()
    await clocked.sink.shut()
