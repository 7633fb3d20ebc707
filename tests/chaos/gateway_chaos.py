"""Chaos: a gateway under load with two backends, one of them flaky, is killed again and again, with a disk that fills
up or fails, a clock that jumps by days, rows that are damaged, and clients that send again what they were not told. One
command, with a report:

    python -m tests.chaos.gateway_chaos --kills 200 [--seed N] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.spool.view import ShardedView
from tests.chaos.chaos_client import ChaosClient
from tests.chaos.flaky_backend import ChaosBackend
from tests.chaos.ledger import Doubled, Ledger
from tests.support.gateway_process import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = 4
CONNECTIONS = 8
"""To each backend."""
WORKERS, MOST_WORKERS = 2, 3
MOST_OPEN = 2 * MOST_WORKERS * CONNECTIONS
"""Attempts under way, to both backends: while a reply is being recorded, its connection may have the next message."""
DAY = 86_400
FAULTS = ("none", "full", "eio", "clock", "worker", "supervisor", "stop", "reload", "term", "damage", "brim", "inodes")
_STANDSTILL = 60
"""Seconds without a delivery after which waiting mail counts as stuck."""

CONFIG = """\
[server]
hostname = "mx.own.example"
spool = "{spool}"
workers = {workers}
[[listener]]
address = "127.0.0.1:{port}"
[[domain]]
name = "own.example"
backend = "steady"
[routing.addresses]
"bob@own.example" = "flaky"
"gone-bob@own.example" = "flaky"
"dave@own.example" = "flaky"
[backend.steady]
hosts = "127.0.0.1:{steady}"
tls = "off"
connections = {connections}
[backend.flaky]
hosts = "127.0.0.1:{flaky}"
tls = "off"
connections = {connections}
final_seconds = 10
[delivery]
schedule = [0.3, 0.5, 1]
session_budget = 1
dsn_backend = "steady"
[dns]
zone = "{zone}"
[admin]
address = "127.0.0.1:{admin}"
[log]
level = "warning"
"""
ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}


@dataclass
class Report:
    """The figures of a run."""

    seed: int
    kills: int = 0
    seconds: float = 0.0
    acknowledged: int = 0
    """Messages whose client got 250."""
    recipients: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0
    retried: int = 0
    delivered: int = 0
    """Copies that the backends took."""
    failed: int = 0
    """Recipients that were refused permanently."""
    notices: int = 0
    """Messages whose sender got a DSN."""
    lost: list[str] = field(default_factory=list)
    doubled: Doubled = field(default_factory=Doubled)
    unfinished: int = 0
    died: list[str] = field(default_factory=list)
    """Workers that ended though nobody had killed them."""
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Check promise P1."""
        too_many = (
            self.doubled.after_nothing
            or self.doubled.after_retry
            or self.doubled.transactions_of_worst_kill > MOST_OPEN
        )
        return not (self.lost or self.unfinished or self.died or too_many)


class Chaos:
    """One run. `directory` holds all its files."""

    def __init__(self, directory: Path, seed: int, faults: Sequence[str] = FAULTS) -> None:
        self.directory = directory
        self.faults = faults
        self.chance = random.Random(seed)
        self.report = Report(seed)
        self.ledger = Ledger()
        self.steady = ChaosBackend(self.ledger, seed + 1, 0.0)
        self.flaky = ChaosBackend(self.ledger, seed + 2, 0.05)
        self.port, self.admin = free_port(), free_port()
        self.spool, self.config = directory / "spool", directory / "gateway.toml"
        self.offset = directory / "clock"
        self.process: subprocess.Popen[bytes] | None = None
        self.mounted = False
        """The spool is a file system of its own."""

    async def run(self, kills: int, tell: Callable[[str], None]) -> Report:
        began = time.monotonic()
        await self.steady.start()
        await self.flaky.start()
        self._prepare()
        senders = [ChaosClient(number, self.port, self.ledger, self.report.seed + number) for number in range(CLIENTS)]
        clients = [asyncio.create_task(sender.run()) for sender in senders]
        try:
            for _ in range(kills):
                await self._start()
                await self._disturb()
                self._kill()
                tell(f"{self.ledger.kills} kills, {len(self.ledger.acknowledged)} messages taken")
            for sender in senders:
                sender.stopping = True
            await asyncio.gather(*clients)
            await self._finish()
            await self._judge()
        finally:
            for client in clients:
                client.cancel()
            if self.process is not None:
                self._kill()
            await self.steady.stop()
            await self.flaky.stop()
            if self.mounted:
                await asyncio.to_thread(subprocess.run, ["umount", "-l", str(self.spool)], check=True)
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.report

    def _prepare(self) -> None:
        zone = self.directory / "zone.json"
        zone.write_text(json.dumps(ZONE))
        ports = {
            "port": self.port,
            "steady": self.steady.port,
            "flaky": self.flaky.port,
            "admin": self.admin,
            "connections": CONNECTIONS,
            "workers": "WORKERS",
        }
        self.settings = CONFIG.format(spool=self.spool, zone=zone, **ports)
        self.spool.mkdir(mode=0o700)
        options = "size=400m,nr_inodes=2000,mode=700"
        mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.spool)]
        self.mounted = os.geteuid() == 0 and not subprocess.run(mounting, capture_output=True).returncode
        self.offset.write_bytes(struct.pack("q", 0))
        for name in ("failing_disk", "clock_jump"):
            source, library = Path(__file__).with_name(f"{name}.c"), self.directory / f"{name}.so"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)

    def _spawn(self) -> None:
        libraries = " ".join(str(self.directory / f"{name}.so") for name in ("failing_disk", "clock_jump"))
        environment = {**os.environ, "LD_PRELOAD": libraries, "DISK_ROOT": str(self.spool)}
        environment |= {"CLOCK_OFFSET": str(self.offset), "PYTHONPATH": str(ROOT)}
        workers = self.chance.choice((1, WORKERS, WORKERS, MOST_WORKERS))
        self.config.write_text(self.settings.replace("WORKERS", str(workers)))
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.config)]
        with (self.directory / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    async def _start(self) -> None:
        self._spawn()
        end = time.monotonic() + 60
        while not await asyncio.to_thread(self._is_ready):
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "gateway.log").read_text()[-3000:]
            assert time.monotonic() < end, "the gateway does not start"
            await asyncio.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def _disturb(self) -> None:
        """A period of load, with a fault or two; it ends at any instant."""
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        fault = self.chance.choice(self.faults)
        self.report.faults[fault] = self.report.faults.get(fault, 0) + 1
        await self._begin(fault)
        await asyncio.sleep(self.chance.uniform(0.05, 0.4))
        self._end(fault)
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.uniform(0.0, 0.3))

    async def _begin(self, fault: str) -> None:
        assert self.process is not None
        if fault in ("full", "eio"):
            self._flag(fault).touch()
        elif fault == "clock":
            self._set_clock(self.chance.randint(-20 * DAY, 20 * DAY))
        elif fault == "worker":
            self._kill_one()
        elif fault == "supervisor":
            self.process.kill()
            self.ledger.kills += 1
        elif fault == "stop":
            os.killpg(self.process.pid, signal.SIGSTOP)
        elif fault == "reload":
            self.process.send_signal(signal.SIGHUP)
        elif fault == "term":
            await self._terminate()
        elif fault == "damage":
            await self._terminate(damage=True)
        elif fault == "brim":
            self._fill("filler", 1)
        elif fault == "inodes":
            self._fill("inode", 10_000)

    def _end(self, fault: str) -> None:
        self._flag(fault).unlink(missing_ok=True)
        if fault == "stop" and self.process is not None:
            os.killpg(self.process.pid, signal.SIGCONT)
        for name in ("filler", "inode"):
            for file in self.spool.glob(f"{name}*"):
                file.unlink()

    async def _terminate(self, damage: bool = False) -> None:
        """An orderly stop and another start; clients may only notice a wait."""
        assert self.process is not None
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, 90)
        self._mend()
        if damage:
            self._spoil()
        await self._start()

    def _spoil(self) -> None:
        """Some waiting rows are unreadable for a while."""
        for path in self.spool.glob("*/spool.db"):
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(
                    "UPDATE transfer SET body = CAST(x'7e' || body AS BLOB) "
                    "WHERE n % 3 = 0 AND hex(body) NOT LIKE '7E%'"
                )

    def _mend(self) -> None:
        for path in self.spool.glob("*/spool.db"):
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("UPDATE transfer SET body = substr(body, 2) WHERE substr(body, 1, 1) = x'7e'")

    def _fill(self, name: str, most: int) -> None:
        """The file system has no free octet, or no inode, if it is a file system of its own."""
        for number in range(most if self.mounted else 0):
            try:
                with (self.spool / f"{name}{number}").open("wb", buffering=0) as file:
                    while most == 1 and file.write(bytes(1_048_576)):
                        pass
            except OSError:
                return

    def _set_clock(self, seconds: int) -> None:
        """In place: for the processes that have the file mapped, a moment without content is fatal (SIGBUS)."""
        with self.offset.open("r+b") as file:
            file.write(struct.pack("q", seconds))

    def _flag(self, fault: str) -> Path:
        return Path(f"{self.spool}.{fault}")

    def _kill(self) -> None:
        """The supervisor and all its workers, at once."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.ledger.kills += 1
        self.process.wait(20)
        self.process = None

    def _kill_one(self) -> None:
        """One worker: the supervisor replaces it."""
        assert self.process is not None
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if listed:
            os.kill(int(self.chance.choice(listed)), signal.SIGKILL)
            self.ledger.kills += 1

    async def _finish(self) -> None:
        """All faults have ended, except the clock's: waiting mail is delivered without any help."""
        self.flaky.trouble = 0.0
        self._mend()
        await self._start()
        least, since = sys.maxsize, time.monotonic()
        while (waiting := await self._count()) and time.monotonic() - since < _STANDSTILL:
            if waiting < least:
                least, since = waiting, time.monotonic()
            await asyncio.sleep(1)
        self.report.unfinished = waiting

    async def _count(self) -> int:
        view = ShardedView(self.spool)
        try:
            return sum((await view.counts()).values())
        finally:
            await view.close()

    async def _judge(self) -> None:
        """Compare the promises with the results."""
        report, ledger = self.report, self.ledger
        view = ShardedView(self.spool)
        told = set()
        try:
            for token, (id, rcpts) in ledger.acknowledged.items():
                story = await view.story(id)
                ended: dict[str, list[str]] = {}
                for ending in story.endings if story else ():
                    ended.setdefault(str(ending.rcpt.mailbox), []).append(ending.state.value)
                for rcpt in rcpts:
                    states, copies = ended.get(rcpt, []), ledger.copies.get((token, rcpt), [])
                    good = states == ["delivered"] if copies else states in (["failed"], ["withheld"])
                    if not good:
                        report.lost.append(f"{token} {id} {rcpt}: {states}, {len(copies)} copies")
                    report.failed += states == ["failed"]
                    if states == ["failed"]:
                        told.add(token)
        finally:
            await view.close()
        report.lost += [f"{token}: failed, and nobody was told" for token in told if not ledger.notices[token]]
        ends = (line for line in (self.directory / "gateway.log").read_text().splitlines() if '"worker-died"' in line)
        report.died = [line for line in ends if '"status": -9' not in line]
        report.kills = ledger.kills
        report.acknowledged = len(ledger.acknowledged)
        report.recipients = sum(len(rcpts) for _, rcpts in ledger.acknowledged.values())
        report.refused, report.unanswered = dict(ledger.refused), ledger.unanswered
        report.retried = ledger.retried
        report.delivered = sum(map(len, ledger.copies.values()))
        report.notices = len(ledger.notices)
        report.doubled = ledger.doubled()


async def run_chaos(
    directory: Path,
    kills: int,
    seed: int,
    tell: Callable[[str], None] = lambda text: None,
    faults: Sequence[str] = FAULTS,
) -> Report:
    return await Chaos(directory, seed, faults).run(kills, tell)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.gateway_chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--directory", type=Path)
    chosen = parser.parse_args()
    directory = chosen.directory or Path(tempfile.mkdtemp(prefix="waypost-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    report = asyncio.run(run_chaos(directory, chosen.kills, chosen.seed, tell))
    tree: dict[str, Any] = asdict(report)
    print(json.dumps(tree, indent=2))
    if report.good and chosen.directory is None:
        shutil.rmtree(directory)
    else:
        print(f"everything is in {directory}", file=sys.stderr)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
