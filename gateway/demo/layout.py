"""The paths of the demo. All of them stay below `var/demo` of the directory in which it was started."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.model.value import Value

DOMAIN = "demo.example"
HOSTNAME = "mx.demo.example"
BACKEND_NAMES = {"google": "google.demo.example", "microsoft": "microsoft.demo.example"}
"""The names in the stand-ins' certificates, by backend."""
MAILBOXES = {"alice@demo.example": "google", "bob@demo.example": "microsoft"}
PORT = 2525
ADMIN_PORT = 8025
PORT_VARIABLE = "WAYPOST_DEMO_PORT"
ADMIN_PORT_VARIABLE = "WAYPOST_DEMO_ADMIN_PORT"


class Layout(Value):
    """Paths below `var/demo`."""

    root: Path
    """The clone."""

    @property
    def directory(self) -> Path:
        return self.root / "var" / "demo"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def zone(self) -> Path:
        return self.directory / "zone.json"

    @property
    def signing_key(self) -> Path:
        return self.directory / "dkim.key"

    @property
    def config(self) -> Path:
        return self.directory / "gateway.toml"

    @property
    def state(self) -> Path:
        """Ports of the running demo; the file exists only while the demo is ready."""
        return self.directory / "state.json"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    def certificate(self, name: str) -> Path:
        """Certificate of `gateway` or of a backend, without the CA's own."""
        return self.directory / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def inbox(self, backend: str) -> Path:
        """The directory in which a stand-in writes its messages."""
        return self.directory / backend


class NotRunning(Exception):
    """No demo is ready in this directory."""


class State(Value):
    """The facts about the running demo that send-sample needs."""

    port: int
    admin_port: int

    def write(self, layout: Layout) -> None:
        """Record that the demo is ready."""
        part = layout.state.with_suffix(".part")
        part.write_text(json.dumps({"port": self.port, "admin_port": self.admin_port}) + "\n")
        part.rename(layout.state)

    @classmethod
    def read(cls, layout: Layout) -> State:
        """Raises NotRunning."""
        try:
            tree = json.loads(layout.state.read_text())
            return cls(int(tree["port"]), int(tree["admin_port"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise NotRunning(f"no demo runs in {layout.directory}: start it with `make run`") from None
