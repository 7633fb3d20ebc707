"""Two gateways in a row: A sends for its own people, machines and tenants; B receives, and judges A's mail."""

from __future__ import annotations

import smtplib
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher

from gateway.config.keyring import read_keyring
from gateway.tools.keys import make_keys, rotate, show_keys
from tests.support.gateway_process import Gateway, free_port
from tests.support.signing import key_record

OURS = "11111111-2222-3333-4444-555555555555"
THEIRS = "99999999-8888-7777-6666-555555555555"
SECRET = "a-secret-of-our-tenant"
DEVICE, MACHINE, BALANCER, STRANGER = "127.0.0.7", "127.0.0.8", "127.0.0.9", "127.0.0.66"
MICROSOFT, GOOGLE = "40.107.22.33", "209.85.220.41"
"""Addresses that all customers of these providers send from."""


class ProxiedSmtp(smtplib.SMTP):
    """A client behind a balancer that sends its address in a PROXY header."""

    def __init__(self, port: int, client: str) -> None:
        self._client = client
        super().__init__("127.0.0.1", port, "out.provider.example", 20, source_address=(BALANCER, 0))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made = socket.create_connection((host, port), timeout, self.source_address)
        made.sendall(f"PROXY TCP4 {self._client} 127.0.0.1 40000 25\r\n".encode())
        return made


@dataclass
class Pair:
    """A (`corp.example`, smarthost and MX) and B (`far.example`, MX)."""

    directory: Path
    settings: str = ""
    """Further lines of A's configuration."""
    route: str = ""
    """A's [outbound] route; B when empty."""
    submission: int = field(default_factory=free_port)
    smarthost: int = field(default_factory=free_port)
    proxied: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.keys = self.directory / "keys"
        make_keys(self.keys, "corp.example", time.time())
        rotate(self.keys, "corp.example", time.time(), 0)
        self.b = Gateway(self.directory / "b", hostname="mx.far.example", domain="far.example", zone=self.zone())
        self.a = Gateway(self.directory / "a", zone=self.zone())
        self.compose()

    def compose(self) -> None:
        """A's configuration, from the pair's current state."""
        users = self.directory / "users"
        hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
        users.write_text("".join(f"{name}:{hasher.hash('right')}\n" for name in ("ann", "guest", "zoe@corp.example")))
        pair = f'certificate = "{self.a.certificate}"\nkey = "{self.a.key}"'
        self.a.settings = f"""
[outbound]
route = "{self.route or "far"}"
keyring = "{self.keys}"
[backend.far]
hosts = ["127.0.0.1:{self.b.port}"]
[submission]
users = "{users}"
[[listener]]
name = "submission"
role = "submission"
address = "127.0.0.1:{self.submission}"
{pair}
[[listener]]
name = "smarthost"
role = "smarthost"
address = "127.0.0.1:{self.smarthost}"
{pair}
[[listener]]
name = "proxied"
role = "smarthost"
address = "127.0.0.1:{self.proxied}"
proxy_from = ["{BALANCER}"]
{pair}
[[sender]]
name = "ann"
login = "ann"
owns = ["ann@corp.example"]
[[sender]]
name = "scanner"
networks = ["{DEVICE}"]
owns = ["scan@corp.example"]
forced = "scan@corp.example"
[[sender]]
name = "shop"
networks = ["{MACHINE}"]
owns = ["corp.example"]
[[tenant]]
name = "m365"
provider = "microsoft-365"
domains = ["corp.example"]
backend = "microsoft"
tenant_id = "{OURS}"
[[tenant]]
name = "workspace"
provider = "google-workspace"
domains = ["corp.example"]
backend = "google"
dkim = true
secret_header = "X-Corp-Relay"
secret = "{SECRET}"
{self.settings}
"""

    def zone(self) -> dict[str, object]:
        """Both domains' names: A's address is allowed, its policy is to reject, and its keys are published."""
        records = {
            one.entry.record_name: {"TXT": [one.record]} for one in show_keys(self.keys, read_keyring(self.keys))
        }
        return {
            "corp.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.gateway.example"]},
            "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject; adkim=s; aspf=s"]},
            "far.example": {"MX": ["10 mx.far.example"]},
            "mx.far.example": {"A": ["127.0.0.61"]},
            "s._domainkey.list.example": {"TXT": [key_record()]},
            **records,
        }

    def start(self) -> None:
        self.b.start()
        try:
            self.a.start()
        except BaseException:
            self.b.stop()
            raise

    def stop(self) -> None:
        try:
            self.a.stop()
        finally:
            self.b.stop()

    def wait_for(self, event: str, seconds: float = 20.0) -> dict[str, object]:
        """The first event of this name in A's log."""
        end = time.monotonic() + seconds
        while True:
            found = [one for one in self.a.events() if one["event"] == event]
            if found:
                return found[0]
            assert time.monotonic() < end, self.a.log()
            time.sleep(0.1)

    def login(self, name: str = "ann") -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.submission, timeout=20)
        client.starttls(context=self.a.client_tls)
        client.login(name, "right")
        return client

    def machine(self, source: str) -> smtplib.SMTP:
        """A client at the smarthost listener, from its own address."""
        client = smtplib.SMTP("127.0.0.1", self.smarthost, "machine.corp.example", 20, (source, 0))
        client.ehlo()
        return client

    def provider(self, address: str) -> smtplib.SMTP:
        """A client whose address only a balancer knows."""
        client = ProxiedSmtp(self.proxied, address)
        client.ehlo()
        return client
