"""50 MB by DATA and by BDAT to two backends: memory at most one and a half times the message, nobody kept waiting."""

from __future__ import annotations

import asyncio
import hashlib
import re
import smtplib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from gateway.config.edge import Limits
from gateway.net.system import SystemClock
from gateway.service.listener import ListenerSettings, serve
from gateway.spool.sqlite import SqliteSpool
from tests.support.gateway_process import Gateway
from tests.support.listening import Client
from tests.support.receiving import make_reception

pytestmark = pytest.mark.slow

SIZE = 50 * 1_048_576
STALL = 0.05
TRIES = 3
ZONE = {"b.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}}
LINE = b"0123456789 abcdefghij ABCDEFGHIJ +/=. 0123456789 abcdefghij ABCDEFGHIJ +/\r\n"
HEAD = b"From: a@b.example\r\nSubject: large\r\n"
SIGNED = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=b.example; s=x; h=from:subject;\r\n bh=AA==; b=AA==\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=b.example; s=y; h=from; bh=AA==; b=AA==\r\n"
)
"""The body is hashed twice while it arrives: the most expensive request of a message."""


def large(signed: bool = True) -> bytes:
    head = HEAD + (SIGNED if signed else b"") + b"\r\n.stuffed\r\n"
    return head + LINE * ((SIZE - len(head)) // len(LINE))


def memory(pid: int, key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    process = Gateway(tmp_path, "[limits]\nmessage_size = 60_000_000\n", zone=ZONE)
    process.start()
    try:
        yield process
    finally:
        process.stop()


class Bystander(threading.Thread):
    """A client that repeats NOOP, and the time of each reply."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway
        self._done = threading.Event()
        self.waits: list[float] = []

    def run(self) -> None:
        while not self._done.is_set():
            with smtplib.SMTP("127.0.0.1", self._gateway.port, "n.example", timeout=30) as client:
                for _ in range(1000):
                    began = time.monotonic()
                    client.noop()
                    self.waits.append(time.monotonic() - began)
                    if self._done.wait(0.004):
                        return

    def finish(self) -> float:
        self._done.set()
        self.join(30)
        return sorted(self.waits)[int(len(self.waits) * 0.99)]


def send_data(client: smtplib.SMTP, content: bytes) -> tuple[int, bytes]:
    assert client.docmd("DATA")[0] == 354
    client.sock.sendall(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")  # type: ignore[union-attr]
    return client.getreply()


def send_bdat(client: smtplib.SMTP, content: bytes) -> tuple[int, bytes]:
    size = 8 * 1_048_576
    for at in range(0, len(content), size):
        part = content[at : at + size]
        last = b" LAST" if at + size >= len(content) else b""
        client.sock.sendall(b"BDAT %d%s\r\n" % (len(part), last) + part)  # type: ignore[union-attr]
        reply = client.getreply()
    return reply


@pytest.mark.parametrize("way", [send_data, send_bdat])
def test_two_backends(gateway: Gateway, way: object) -> None:
    assert callable(way)
    assert gateway.process is not None
    pid = gateway.process.pid
    content = large()
    wanted = hashlib.sha256(content).digest()
    with smtplib.SMTP("127.0.0.1", gateway.port, "b.example", timeout=60) as warm:
        warm.sendmail("a@b.example", ["alice@corp.example", "bob@corp.example"], HEAD + b"\r\nwarm\r\n")
    gateway.google.wait(1)
    gateway.microsoft.wait(1)
    before = memory(pid, "VmRSS")
    waits = []
    for number in range(1, TRIES + 1):
        bystander = Bystander(gateway)
        bystander.start()
        client = smtplib.SMTP("127.0.0.1", gateway.port, "b.example", timeout=120)
        client.ehlo()
        for command in ("MAIL FROM:<a@b.example>", "RCPT TO:<alice@corp.example>", "RCPT TO:<bob@corp.example>"):
            assert client.docmd(command)[0] == 250
        code, text = way(client, content)
        assert code == 250, text
        client.quit()
        backends = (gateway.google, gateway.microsoft)
        received = [backend.wait(1 + number, 60)[-1][0] for backend in backends]
        waits.append(bystander.finish())
        newest = [max(backend.received(), key=lambda one: len(one[0]))[0] for backend in backends]
        assert all(hashlib.sha256(octets[-len(content) :]).digest() == wanted for octets in newest), len(received)
        if waits[-1] <= STALL:
            break
    peak = memory(pid, "VmHWM") - before
    print(f"{way.__name__}: p99 {min(waits) * 1000:.1f} ms, memory +{peak / SIZE:.2f} x the message")
    assert peak <= 1.5 * SIZE
    assert min(waits) <= STALL


async def probe(gaps: list[float], stop: asyncio.Event) -> None:
    """The longest time between two rounds of the loop."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        began = loop.time()
        await asyncio.sleep(0.001)
        gaps.append(loop.time() - began - 0.001)


async def receive(directory: Path, stream: bytes) -> list[float]:
    """Take a stream of commands and content into a real spool; the gaps in the loop meanwhile."""
    clock = SystemClock()
    spool = await SqliteSpool.open(directory, clock)
    errors: list[BaseException] = []
    limits = {"message_size": 60_000_000}
    settings = ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0", limits=Limits(**limits))
    reception = make_reception(spool, limits)
    listener = await serve(settings, reception, lambda error: str(errors.append(error)))
    client = await Client.connect(listener.address)
    for command in ("EHLO b.example", "MAIL FROM:<a@b.example>", "RCPT TO:<r@d.example>", "RCPT TO:<s@e.example>"):
        assert await client.say(command) == 250
    gaps: list[float] = []
    stop = asyncio.Event()
    probing = asyncio.create_task(probe(gaps, stop))
    for at in range(0, len(stream), 1_048_576):
        await client.send(stream[at : at + 1_048_576])
    replies = 2 if stream.startswith(b"DATA") else 1
    for _ in range(replies):
        async with asyncio.timeout(60):
            line = await client.reader.readline()
    assert line.startswith(b"250 2.0.0 Queued"), line
    stop.set()
    await probing
    await client.close()
    await listener.close()
    await spool.close()
    assert errors == []
    return gaps


def streams() -> list[tuple[str, bytes]]:
    content = large()
    return [
        ("DATA", b"DATA\r\n" + content.replace(b"\r\n.", b"\r\n..") + b".\r\n"),
        ("BDAT", b"BDAT %d LAST\r\n" % len(content) + content),
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_the_loop_never_stalls(tmp_path: Path, number: int) -> None:
    name, stream = streams()[number]
    worst = []
    for attempt in range(TRIES):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            gaps = runner.run(receive(tmp_path / str(attempt), stream))
        assert len(gaps) > 20
        worst.append(max(gaps))
        if worst[-1] <= STALL:
            break
    print(f"{name}: longest gap {min(worst) * 1000:.1f} ms")
    assert min(worst) <= STALL
