"""Starts the real gateway as a process, as an admin would, with a configuration written for the test."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class StandIn:
    """A demo stand-in backend in a process of its own: requires TLS, writes received messages to files."""

    kind: str
    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    certificate: tuple[Path, Path] | None = None

    def start(self) -> None:
        assert self.certificate is not None
        certificate, key = self.certificate
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "gateway.demo.standin", "--kind", self.kind]
        command += ["--port", str(self.port), "--directory", str(self.directory)]
        command += ["--certificate", str(certificate), "--key", str(key)]
        self.process = subprocess.Popen(command, cwd=ROOT)
        wait_for_port(self.port)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def received(self) -> list[tuple[bytes, dict[str, object]]]:
        """Every transaction so far: (octets, facts)."""
        return [
            (path.read_bytes(), json.loads(path.with_suffix(".json").read_text()))
            for path in sorted(self.directory.glob("*.eml"))
        ]

    def wait(self, count: int, seconds: float = 15.0) -> list[tuple[bytes, dict[str, object]]]:
        """Wait until this many transactions have come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.received()
            if len(got) >= count:
                return got
            time.sleep(0.05)
        raise AssertionError(f"{self.kind}: {len(self.received())} transactions instead of {count}")


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@dataclass
class Gateway:
    """The gateway process and its surroundings."""

    directory: Path
    settings: str = ""
    """TOML lines appended to the configuration: further sections."""
    dns: str = ""
    """The [dns] section's lines; the zone file when empty."""
    zone: dict[str, object] = field(default_factory=dict)
    listener: str = ""
    """Further lines of the listener."""
    delivery: str = "schedule = [0.5, 1, 1, 1]"
    microsoft_lines: str = ""
    """Further lines of the backend `microsoft`."""
    workers: int = 1
    hostname: str = "mx.gateway.example"
    domain: str = "corp.example"
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca_file = self.directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        issued = authority.issue_cert(self.hostname, "google.backend.example", "microsoft.backend.example")
        self.certificate = self.directory / "server.pem"
        self.key = self.directory / "server.key"
        self.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.key))
        pair = (self.certificate, self.key)
        self.google = StandIn("google", self.directory / "google", free_port(), certificate=pair)
        self.microsoft = StandIn("microsoft", self.directory / "microsoft", free_port(), certificate=pair)
        self.client_tls = ssl.create_default_context(cafile=str(self.ca_file))
        self.client_tls.check_hostname = False

    @property
    def config_path(self) -> Path:
        return self.directory / "gateway.toml"

    def write_config(self) -> None:
        zone = self.directory / "zone.json"
        zone.write_text(json.dumps(self.zone))
        dns = self.dns or f'zone = "{zone}"'
        self.config_path.write_text(
            f"""
[server]
hostname = "{self.hostname}"
spool = "{self.directory / "spool"}"
drain_timeout = 5
workers = {self.workers}

[[listener]]
name = "mx"
address = "127.0.0.1:{self.port}"
certificate = "{self.certificate}"
key = "{self.key}"
{self.listener}

[[domain]]
name = "{self.domain}"
backend = "google"

[backend.google]
preset = "google-workspace"
hosts = ["127.0.0.1:{self.google.port}"]
tls_names = ["google.backend.example"]
ca_file = "{self.ca_file}"

[backend.microsoft]
preset = "microsoft-365"
hosts = ["127.0.0.1:{self.microsoft.port}"]
tls_names = ["microsoft.backend.example"]
ca_file = "{self.ca_file}"
{self.microsoft_lines}

[routing.addresses]
"bob@{self.domain}" = "microsoft"

[dns]
{dns}

[delivery]
{self.delivery}

[admin]
address = "127.0.0.1:{self.admin}"
{self.settings}
"""
        )

    def start(self, backends: bool = True) -> None:
        self.write_config()
        try:
            if backends:
                self.google.start()
                self.microsoft.start()
            self.start_gateway()
        except BaseException:
            # Nothing would stop the stand-ins of a gateway that failed to start: they would outlive the test.
            self.stop()
            raise

    def start_gateway(self) -> None:
        log = (self.directory / "gateway.log").open("ab")
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.config_path)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        self.wait_ready()

    def wait_ready(self, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                assert time.monotonic() < end, self.log()
                time.sleep(0.05)

    def kill(self) -> None:
        """kill -9: no clean shutdown."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def terminate(self, seconds: float = 30.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        self.process = None
        return status

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        self.google.stop()
        self.microsoft.stop()

    def log(self) -> str:
        path = self.directory / "gateway.log"
        return path.read_text() if path.exists() else ""

    def events(self) -> list[dict[str, object]]:
        """The log's lines."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def smtp(self, tls: bool = True, source: str = "127.0.0.1", helo: str = "client.sender.example") -> smtplib.SMTP:
        """A client session after EHLO."""
        client = smtplib.SMTP("127.0.0.1", self.port, local_hostname=helo, timeout=40, source_address=(source, 0))
        client.ehlo()
        if tls:
            client.starttls(context=self.client_tls)
            client.ehlo()
        return client

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `waypost` command."""
        command = [sys.executable, "-m", "gateway.cli", *arguments]
        environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1"}
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)


def send(client: smtplib.SMTP, mail_from: str, rcpts: list[str], octets: bytes) -> tuple[int, str]:
    """One transaction, octets unchanged except for dot-stuffing; returns the reply to the final dot, or the refusal."""
    code, text = client.mail(mail_from)
    if code != 250:
        client.rset()
        return code, text.decode()
    for rcpt in rcpts:
        code, text = client.rcpt(rcpt)
        if code != 250:
            client.rset()
            return code, text.decode()
    code, text = client.docmd("DATA")
    if code != 354:
        return code, text.decode()
    stuffed = (b"." if octets.startswith(b".") else b"") + octets.replace(b"\r\n.", b"\r\n..")
    client.send(stuffed + (b"" if octets.endswith(b"\r\n") else b"\r\n") + b".\r\n")
    code, text = client.getreply()
    return code, text.decode()
