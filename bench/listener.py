"""The listener alone, beside stock aiosmtpd: both take messages and throw them away, in turns, in one run.

python -m bench.listener [--count 8000] [--size 10000] [--connections 10] [--rounds 3]

Ours runs on uvloop with a reception that says yes and keeps nothing; aiosmtpd 1.4.6 runs as it comes, on asyncio, with
a handler that does the same. `smtp-source` of Postfix sends to them over connections that it keeps. CPU is that of the
server's process; the comparison is in messages per CPU second, which does not depend on other load.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from aiosmtpd.smtp import SMTP

from gateway.config.edge import Limits
from gateway.model.envelope import Envelope, Mailbox, Recipient
from gateway.model.ingress import Tls
from gateway.model.reply import Reply
from gateway.ports import Connection, Conversation
from gateway.service.listener import ListenerSettings, serve

ROOT = Path(__file__).resolve().parent.parent
OURS, STOCK = "waypost, uvloop", "aiosmtpd, asyncio"
_OK = Reply(250, "0.0", "OK")
_GO = Reply(354, "", "Go on")
_TICKS = os.sysconf("SC_CLK_TCK")


class Nowhere:
    """A conversation that takes everything and keeps nothing."""

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        pass

    def login(self, name: str) -> None:
        pass

    def forced_sender(self) -> Mailbox | None:
        return None

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        return reply

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        return _OK

    async def rcpt(self, recipient: Recipient) -> Reply:
        return _OK

    async def begin(self) -> Reply:
        return _GO

    async def take(self, chunk: bytes) -> None:
        pass

    async def finish(self) -> Reply:
        return _OK

    def answered(self, heard: bool) -> None:
        pass

    def lost(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def close(self) -> None:
        pass


class NullReception:
    """Serves every client with `Nowhere`."""

    async def connect(self, connection: Connection) -> Conversation | Reply:
        return Nowhere()


class Discard:
    """The same for aiosmtpd."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 2.0.0 OK"


async def serve_ours(port: int) -> None:
    limits = Limits(commands=10**9, connections_per_address=1000)
    settings = ListenerSettings("bench", "mx.bench.example", f"127.0.0.1:{port}", limits=limits)
    await serve(settings, NullReception(), repr)
    await asyncio.Event().wait()


async def serve_stock(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: _make_stock(loop), "127.0.0.1", port)
    await asyncio.Event().wait()


def _make_stock(loop: asyncio.AbstractEventLoop) -> SMTP:
    return SMTP(Discard(), hostname="mx.bench.example", loop=loop)


@dataclass(frozen=True, slots=True)
class Measure:
    """One server under one load."""

    server: str
    messages: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.messages / self.cpu_seconds


def measure(server: str, count: int, size: int, connections: int) -> Measure:
    """Start the server, load it once to warm it up, and once to measure it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.listener", "--serve", server, "--port", str(port)], cwd=ROOT
    )
    try:
        _wait_for(port)
        _load(port, max(count // 10, connections), size, connections)
        cpu, began = _cpu_seconds(process.pid), time.monotonic()
        _load(port, count, size, connections)
        return Measure(server, count, time.monotonic() - began, _cpu_seconds(process.pid) - cpu)
    finally:
        process.kill()
        process.wait()


def compare(count: int, size: int, connections: int, rounds: int) -> tuple[list[Measure], float, float]:
    """All measures, and the medians over the rounds of two ratios to stock: per CPU second, and per second."""
    measures: list[Measure] = []
    per_cpu, per_second = [], []
    for _ in range(rounds):
        ours, stock = (measure(server, count, size, connections) for server in (OURS, STOCK))
        measures += [ours, stock]
        per_cpu.append(ours.per_cpu_second / stock.per_cpu_second)
        per_second.append(ours.per_second / stock.per_second)
    return measures, statistics.median(per_cpu), statistics.median(per_second)


def _load(port: int, count: int, size: int, connections: int) -> None:
    source = shutil.which("smtp-source", path="/usr/sbin:/usr/bin")
    if source is None:
        raise SystemExit("smtp-source is missing: install Postfix (make bench-setup)")
    command = [source, "-d", "-s", str(connections), "-m", str(count), "-l", str(size), "-f", "a@b.example"]
    subprocess.run([*command, "-t", "r@d.example", f"127.0.0.1:{port}"], check=True)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _wait_for(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _print(measures: list[Measure], per_cpu: float, per_second: float) -> None:
    print("| server | msg per CPU second | msg/s |\n|---|---|---|")
    for server in (OURS, STOCK):
        mine = [one for one in measures if one.server == server]
        cpu, wall = [one.per_cpu_second for one in mine], [one.per_second for one in mine]
        print(
            f"| {server} | {statistics.median(cpu):.0f} ({min(cpu):.0f}-{max(cpu):.0f}) "
            f"| {statistics.median(wall):.0f} ({min(wall):.0f}-{max(wall):.0f}) |"
        )
    print(f"| ratio, median over the rounds | {per_cpu:.2f} | {per_second:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="The listener alone, beside stock aiosmtpd.")
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=[OURS, STOCK], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == OURS:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_ours(options.port))
    elif options.serve == STOCK:
        asyncio.run(serve_stock(options.port))
    else:
        _print(*compare(options.count, options.size, options.connections, options.rounds))


if __name__ == "__main__":
    main()
