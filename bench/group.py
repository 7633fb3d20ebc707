"""Processes of one role, accounted together: CPU and memory of everything they start."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU so far."""

    total: float
    user: float
    system: float

    def since(self, earlier: Cpu) -> Cpu:
        return Cpu(self.total - earlier.total, self.user - earlier.user, self.system - earlier.system)


class Group:
    """A cgroup (version 1 or 2) of its own; every process started here, and its children, count."""

    def __init__(self, name: str, log: Path) -> None:
        self._log = log
        self._started: list[subprocess.Popen[bytes]] = []
        self._v2 = (CGROUPS / "cgroup.controllers").exists()
        roots = [CGROUPS] if self._v2 else [CGROUPS / "cpuacct", CGROUPS / "memory"]
        # Process ids repeat in the namespace that a run lives in; the time does not.
        self._directories = [root / f"bench-{time.time_ns()}-{name}" for root in roots]
        for directory in self._directories:
            directory.mkdir()

    def _join(self) -> None:
        os.setsid()
        for directory in self._directories:
            (directory / "cgroup.procs").write_text("0")

    def start(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._join)
        self._started.append(process)
        return process

    def pids(self) -> list[int]:
        return [int(word) for word in (self._directories[0] / "cgroup.procs").read_text().split()]

    def cpu(self) -> Cpu:
        if self._v2:
            lines = (self._directories[0] / "cpu.stat").read_text().splitlines()
            stat = {name: int(value) / 1e6 for name, value in (line.split() for line in lines)}
            return Cpu(stat["usage_usec"], stat["user_usec"], stat["system_usec"])
        names = ("cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys")
        return Cpu(*(int((self._directories[0] / name).read_text()) / 1e9 for name in names))

    def anonymous_bytes(self) -> int:
        """Memory without a file behind it: the joint cost of the processes."""
        stat = self._directories[-1] / "memory.stat"
        if stat.exists():
            found = re.search(r"^(?:total_rss|anon) (\d+)", stat.read_text(), re.MULTILINE)
            return int(found[1]) if found else 0
        return sum(_anonymous(pid) for pid in self.pids())

    def stop(self) -> None:
        """Ask all to end, then make them; the cgroup goes too."""
        deadline = time.monotonic() + 10
        while pids := self.pids():
            patience = time.monotonic() < deadline
            for pid in pids:
                _signal(pid, signal.SIGTERM if patience else signal.SIGKILL)
            time.sleep(0.3)
            self._reap()
        for directory in self._directories:
            directory.rmdir()

    def _reap(self) -> None:
        for process in self._started:
            process.poll()
        if os.getpid() == 1:  # init of the namespace: daemons that lost their parent are ours
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _anonymous(pid: int) -> int:
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
