"""One cell: a peer under one load, and its cost."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.group import Cpu, Group
from bench.peers import LISTEN, SINK

TICKS = os.sysconf("SC_CLK_TCK")
SOURCES = ",".join(f"198.18.0.{10 + number}" for number in range(20))
"""Client addresses: not loopback, which peers exempt from SPF (RFC 2544 appendix C.2.2 sets the range aside)."""


@dataclass(frozen=True, slots=True)
class Load:
    """The messages to send: files, and the way of sending."""

    size: str
    concurrency: int
    count: int
    """At most so many messages."""
    seconds: float
    """Stop sending after so long; accepted mail is still waited for."""
    per_connection: int = 10
    recipients: int = 1
    rate: float = 0.0
    """Messages a second; 0: as fast as the peer takes them."""
    tls: bool = False
    """Every connection starts TLS."""
    backend_delay: float = 0.0
    """Seconds that the backend waits before it replies to the final dot."""


class Sampler(threading.Thread):
    """The peak of a group's memory and processes while it runs."""

    def __init__(self, group: Group) -> None:
        super().__init__(daemon=True)
        self._group = group
        self._over = threading.Event()
        self.anonymous = self.processes = 0

    def run(self) -> None:
        while not self._over.wait(0.1):
            self.anonymous = max(self.anonymous, self._group.anonymous_bytes())
            self.processes = max(self.processes, len(self._group.pids()))

    def finish(self) -> None:
        self._over.set()
        self.join()


class Bench:
    """The generator, its messages, the disk that the peers queue on, and the DNS server's group."""

    def __init__(self, program: Path, corpus: Path, queues: Path, dns: Group, strangers: Path | None = None) -> None:
        self._program, self._corpus, self._queues, self._dns = program, corpus, queues, dns
        self._strangers = strangers

    def change_dns(self, dns: Group) -> None:
        """The group of the DNS server that is used from now on."""
        self._dns = dns

    def messages(self, name: str) -> list[str]:
        """The generator's words for a set of messages."""
        if self._strangers and (listed := self._strangers / f"{name}.list").exists():
            return ["--messages", str(listed)]
        return [str(path) for path in sorted((self._corpus / name).glob("*.eml"))]

    def send(self, load: Load, *options: str, sink: bool = True) -> dict[str, Any]:
        """Run the generator with its sink; returns its output."""
        command = [
            *(str(self._program), "--target", f"{LISTEN[0]}:{LISTEN[1]}", "--sources", SOURCES),
            *(["--sink", f"{SINK[0]}:{SINK[1]}"] if sink else []),
            *("--concurrency", str(load.concurrency), "--per-connection", str(load.per_connection)),
            *("--count", str(load.count), "--seconds", str(load.seconds), "--recipients", str(load.recipients)),
            *("--timeout", str(max(120.0, 2 * load.seconds))),
            *("--rate", str(load.rate), "--tls", str(int(load.tls)), "--sink-delay", str(load.backend_delay)),
            *options,
        ]
        result: dict[str, Any] = json.loads(subprocess.check_output([*command, *self.messages(load.size)]))
        return result

    def receive(self, size: str, count: int, expect: int) -> subprocess.Popen[str]:
        """The sink alone, until it has seen `expect` different messages."""
        command = [str(self._program), "--sink", f"{SINK[0]}:{SINK[1]}", "--count", str(count), "--expect", str(expect)]
        command += ["--timeout", "600"]
        return subprocess.Popen([*command, *self.messages(size)], stdout=subprocess.PIPE, text=True)

    def cell(
        self, peer: str, group: Group, load: Load, round_number: int, dump: Path | None = None, name: str = ""
    ) -> dict[str, Any]:
        """Measure one cell. CPU and memory are the peer's whole group; the DNS server's and the host's stand beside.

        `name` is the workload's, if it has one; otherwise the table says its size.
        Under `dump` the first messages that the backend got are kept, in a directory for each peer.
        """
        keep: list[str] = []
        if dump is not None:
            (dump / peer).mkdir(parents=True, exist_ok=True)
            keep = ["--dump", str(dump / peer), "--dump-count", "5"]
        wait_for_quiet(5)
        cpu, dns, host, flushes = group.cpu(), self._dns.cpu(), host_busy(), disk_flushes(self._queues)
        began = time.monotonic()
        sampler = Sampler(group)
        sampler.start()
        result = self.send(load, *keep)
        time.sleep(0.3)  # work of the peer after the last arrival belongs to the cell
        sampler.finish()
        spent, dns_spent = group.cpu().since(cpu), self._dns.cpu().since(dns)
        messages = max(1, result["delivered"])
        others = host_busy() - host - spent.total - dns_spent.total - result["own_cpu_s"]
        return {
            "peer": peer,
            "round": round_number,
            "size": name or load.size,
            "concurrency": load.concurrency,
            "recipients": load.recipients,
            **per_message("cpu", spent, messages),
            "dns_cpu_ms": round(dns_spent.total / messages * 1e3, 4),
            "anonymous_mb": round(sampler.anonymous / 1e6, 1),
            "processes": sampler.processes,
            "flushes_per_message": round((disk_flushes(self._queues) - flushes) / messages, 2),
            "others_cpu_share": round(max(0.0, others) / (time.monotonic() - began) / (os.cpu_count() or 1), 3),
            **result,
        }


def per_message(name: str, cpu: Cpu, messages: int) -> dict[str, float]:
    """Milliseconds for each message."""
    parts = {f"{name}_ms": cpu.total, f"{name}_user_ms": cpu.user, f"{name}_system_ms": cpu.system}
    return {part: round(seconds / messages * 1e3, 4) for part, seconds in parts.items()}


def host_busy() -> float:
    """Seconds of CPU that all processes of this machine have used."""
    fields = [int(word) / TICKS for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return user + nice + system + irq + softirq


def disk_flushes(path: Path) -> int:
    """Cache flushes of the disk that holds `path`, by anyone."""
    device = os.stat(path).st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)) and len(fields) > 18:
            return int(fields[18])
    return 0


def wait_for_quiet(limit: float) -> None:
    """Wait, at most `limit` seconds, for half a second in which the machine does next to nothing."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        before = host_busy()
        time.sleep(0.5)
        if host_busy() - before < 0.075:
            return
