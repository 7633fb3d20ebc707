"""What 100,000 waiting messages cost: start, memory, reception's replies, and how fast they leave in the end.

    python -m bench.waiting [--count N]

The messages are committed to the spool as reception does it, without SMTP; then the gateway starts on it with a backend
that is dead, beside the same gateway on an empty spool.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from gateway.model.decision import Action, Decision
from gateway.model.delivery import Intake, Trace, Transfer
from gateway.model.envelope import Body, Envelope, Mailbox, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Content, Evidence, Message
from gateway.model.reply import REPLIES
from gateway.net.system import SystemClock
from gateway.spool.shards import shard_name
from gateway.spool.sqlite import SqliteSpool

WAYPOST = Path(sys.executable).with_name("waypost")
WORKERS = 2
AT_ONCE = 128
PROBES = 600
CONNECTIONS = 8
DRAIN_SECONDS = 45.0
OCTETS = b"From: a@sender.example\r\nTo: b@own.example\r\nSubject: waiting\r\n\r\n" + (b"x" * 70 + b"\r\n") * 55
CONFIG = """\
[server]
hostname = "mx.own.example"
spool = "{spool}"
workers = {workers}
[[listener]]
address = "127.0.0.1:{port}"
[[domain]]
name = "own.example"
backend = "corp"
[backend.corp]
hosts = "127.0.0.1:{sink}"
tls = "off"
[dns]
zone = "{zone}"
[admin]
address = "127.0.0.1:{admin}"
[log]
level = "alarm"
"""


def make_intake(clock: SystemClock, now: float) -> Intake:
    """One message as reception stores it."""
    id, header = clock.new_id(), OCTETS[: OCTETS.index(b"\r\n\r\n") + 2]
    sender, rcpt = (
        Mailbox("a", "sender.example", "sender.example"),
        Recipient(Mailbox("b", "own.example", "own.example")),
    )
    content = Content(len(OCTETS), hashlib.sha256(OCTETS).digest(), False, False, OCTETS)
    evidence = Evidence(header, (), len(OCTETS))
    trace = Trace(
        id=id,
        received=now,
        edge=EdgeIngress(ip_text("192.0.2.1"), ClientSource.PEER, "mail.sender.example", "mx", ip_text("192.0.2.1")),
        internal=None,
        envelope=Envelope(sender, (rcpt,)),
        evidence=evidence,
        content=Content(content.size, content.sha256, False, False),
        dropped=(),
        authentication=None,
        lookups=(),
        decision=Decision(Action.ACCEPT, "default", "enforce", REPLIES["accepted"]),
        routes=(("b@own.example", "corp"),),
        added=("Received: from mail.sender.example",),
    )
    transfer = Transfer(
        id=f"{id}-corp",
        message_id=id,
        backend="corp",
        mail_from=sender,
        rcpts=(rcpt,),
        prefix=b"Received: from mail.sender.example by mx.own.example\r\n",
        body=Body.SEVEN_BIT,
        smtputf8=False,
        ret=None,
        envid="",
        created=now,
        due=now,
    )
    return Intake(trace, Message(content, evidence), (transfer,), claimed=False)


async def fill(directory: Path, count: int) -> None:
    for worker in range(WORKERS):
        clock = SystemClock(worker)
        spool = await SqliteSpool.open(directory, clock, shard=shard_name(worker))
        try:
            for _ in range(0, count // WORKERS, AT_ONCE):
                now = clock.now()
                await asyncio.gather(*(spool.commit(make_intake(clock, now)) for _ in range(AT_ONCE)))
        finally:
            await spool.close()


class Trial:
    """A gateway on a spool of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.admin, self.sink = (free_port() for _ in range(3))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it takes mail."""
        zone, config = self.directory / "zone.json", self.directory / "gateway.toml"
        zone.write_text(json.dumps({"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}}))
        ports = {"port": self.port, "admin": self.admin, "sink": self.sink}
        config.write_text(CONFIG.format(spool=self.directory / "spool", workers=WORKERS, zone=zone, **ports))
        began = time.monotonic()
        self.process = subprocess.Popen([WAYPOST, "serve", "--config", config], start_new_session=True)
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > began + 60:
                raise RuntimeError("the gateway does not start")
            time.sleep(0.02)
        return time.monotonic() - began

    def _is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def resident(self) -> tuple[float, float]:
        """Megabytes: the memory of all processes together, shared pages once; and that of the largest one."""
        assert self.process is not None
        pids = [self.process.pid]
        pids += map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())
        return sum(_kilobytes(pid, "Pss") for pid in pids) / 1e3, max(_kilobytes(pid, "Rss") for pid in pids) / 1e3

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait()

    async def probe(self) -> float:
        """The 99th percentile of the reply to the final dot, in milliseconds."""
        times: list[float] = []
        await asyncio.gather(*(self._send(times, PROBES // CONNECTIONS) for _ in range(CONNECTIONS)))
        return statistics.quantiles(times, n=100)[98] * 1e3

    async def _send(self, times: list[float], count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await _reply(reader)
        commands = (b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@own.example>", b"DATA")
        writer.write(b"EHLO mail.sender.example\r\n")
        await _reply(reader)
        for _ in range(count):
            for command in commands:
                writer.write(command + b"\r\n")
                await _reply(reader)
            began = time.monotonic()
            writer.write(OCTETS + b".\r\n")
            if await _reply(reader) != 250:
                raise RuntimeError("a probe was refused")
            times.append(time.monotonic() - began)
        writer.close()

    def _hurry(self) -> None:
        """An admin's command ends the pause of a backend that was dead."""
        command = [str(WAYPOST), "queue", "retry", "nothing", "--config", str(self.directory / "gateway.toml")]
        subprocess.run(command, capture_output=True)

    async def drain(self) -> float:
        """Messages per second that arrive at a backend that is there again."""
        arrived: list[float] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError), closing(writer):
                writer.write(b"220 sink\r\n")
                while line := await reader.readuntil(b"\r\n"):
                    verb = line[:4].upper()
                    if verb == b"DATA":
                        writer.write(b"354 go\r\n")
                        await reader.readuntil(b"\r\n.\r\n")
                        arrived.append(time.monotonic())
                    writer.write(b"250-sink\r\n250 PIPELINING\r\n" if verb == b"EHLO" else b"250 ok\r\n")

        server = await asyncio.start_server(serve, "127.0.0.1", self.sink, limit=1 << 20)
        await asyncio.to_thread(self._hurry)
        await asyncio.sleep(DRAIN_SECONDS)
        server.close()
        return len(arrived) / (arrived[-1] - arrived[0]) if len(arrived) > 1 else 0.0


async def _reply(reader: asyncio.StreamReader) -> int:
    while (line := await reader.readuntil(b"\r\n"))[3:4] == b"-":
        pass
    return int(line[:3])


def _kilobytes(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1.024
    return 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def measure(directory: Path, count: int) -> dict[str, Any]:
    empty, full = Trial(directory / "empty"), Trial(directory / "full")
    for trial in (empty, full):
        trial.directory.mkdir()
    began = time.monotonic()
    await fill(full.directory / "spool", count)
    result: dict[str, Any] = {"waiting": count, "filled_s": round(time.monotonic() - began, 1)}
    try:
        result["start_empty_s"], result["start_s"] = round(empty.start(), 2), round(full.start(), 2)
        # Alternately, so that other load of the machine affects both.
        pairs = [(await empty.probe(), await full.probe()) for _ in range(5)]
        result["p99_empty_ms"] = [round(one, 1) for one, _ in pairs]
        result["p99_ms"] = [round(other, 1) for _, other in pairs]
        result["p99_ratio"] = round(statistics.median(other / one for one, other in pairs), 2)
        result["memory_empty_mb"] = [round(one, 1) for one in empty.resident()]
        result["memory_mb"] = [round(one, 1) for one in full.resident()]
        empty.stop()
        result["drain_per_s"] = round(await full.drain(), 1)
        result["memory_after_mb"] = [round(one, 1) for one in full.resident()]
    finally:
        empty.stop()
        full.stop()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="waypost-waiting-", dir=options.disk))
    try:
        print(json.dumps(asyncio.run(measure(directory, options.count)), indent=2))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
