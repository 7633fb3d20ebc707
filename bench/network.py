"""The network of a run: loopback, client addresses, and the DNS of the senders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import peers
from bench.group import Group

_DNS, _BEHIND = ("127.0.0.1", 53), ("127.0.0.1", 5353)


def make_network(work: Path) -> None:
    """Loopback, client addresses, and a resolver's configuration that names the DNS server."""
    for command in (["link", "set", "lo", "up"], ["addr", "add", "198.18.0.1/24", "dev", "lo"]):
        subprocess.run(["ip", *command], check=True)
    for name, text in (
        ("resolv.conf", "nameserver 127.0.0.1\n"),
        ("hosts", "127.0.0.1 localhost gw.example.net\n"),
    ):
        (work / name).write_text(text)
        subprocess.run(["mount", "--bind", work / name, f"/etc/{name}"], check=True)


class Dns:
    """An unbound with the zones; a slow one has a program before it that passes each answer on late."""

    def __init__(self, work: Path, zones: Sequence[Path]) -> None:
        self._work, self._zones = work, zones
        self._delay = 0.0
        self.group = self._start()

    def use(self, delay: float) -> Group:
        """Its group, with answers that are this many seconds late."""
        if delay != self._delay:
            self.stop()
            self._delay = delay
            self.group = self._start()
        return self.group

    def stop(self) -> None:
        self.group.stop()

    def _start(self) -> Group:
        """Raises NotReady."""
        address = _BEHIND if self._delay else _DNS
        includes = "\n".join(f'include: "{path}"' for path in self._zones)
        peers.fill("unbound.conf", self._work / "unbound.conf", INCLUDES=includes, PORT=address[1])
        group = Group("dns", self._work / "unbound.log")
        try:
            group.start(["unbound", "-d", "-c", self._work / "unbound.conf"])
            peers.wait_until(lambda: peers.answers(address), "unbound", group)
            if self._delay:
                group.start([sys.executable, "-m", "bench.slow_dns", str(self._delay)])
        except BaseException:
            group.stop()
            raise
        return group
