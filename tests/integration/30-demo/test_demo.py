"""`make run` as its user meets it: started, used, stopped, and started again over the old files."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Demo:
    """One `waypost demo`, started in a directory of its own."""

    directory: Path
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    said: list[str] = field(default_factory=list)

    def command(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        ports = {"WAYPOST_DEMO_PORT": str(self.port), "WAYPOST_DEMO_ADMIN_PORT": str(self.admin)}
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *arguments],
            cwd=self.directory,
            env={**os.environ, **ports, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        """Wait for the line that is just `ready`."""
        self.process = self.command("demo")
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line == "ready\n":
                return
        raise AssertionError(f"never ready: {self.said} {self.process.communicate()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        assert (out, err) == ("", ""), "nothing is said after ready"
        return self.process.returncode

    def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.command(*arguments, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def place(self) -> Path:
        return self.directory / "var" / "demo"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("clone"))
    try:
        demo.start()
        yield demo
    finally:
        demo.end()


def test_it_says_where_everything_is(running: Demo) -> None:
    assert running.said[-1] == "ready"
    text = "\n".join(running.said)
    for place in ("google", "microsoft", "ca.pem", "zone.json", "gateway.toml", "spool"):
        assert str(running.place / place) in text
        assert (running.place / place).exists()
    assert f"127.0.0.1:{running.port}" in text
    with urllib.request.urlopen(f"http://127.0.0.1:{running.admin}/metrics", timeout=5) as answer:
        assert b"waypost_" in answer.read()


def test_everything_stays_inside(running: Demo) -> None:
    assert [path.name for path in running.directory.iterdir()] == ["var"]
    assert [path.name for path in (running.directory / "var").iterdir()] == ["demo"]


def test_samples_end_as_they_should(running: Demo) -> None:
    status, out, err = running.run("send-sample")
    assert (status, err) == (0, ""), out
    assert out.count("\n  ok\n") == 3
    assert "550 5.7.1 Email rejected per DMARC policy for microsoft.com" in out
    assert out.count("identical below X-Waypost-Verdict, Authentication-Results, Received") == 3
    status, out, err = running.run("send-sample", "--kind", "all")
    assert (status, out.count("\n  ok\n")) == (0, 3)


@pytest.mark.parametrize("kind", ["signed", "spoof", "plain"])
def test_one_kind(running: Demo, kind: str) -> None:
    status, out, err = running.run("send-sample", "--kind", kind)
    assert (status, err, out.count("\n  ok\n")) == (0, "", 1)
    assert out.startswith(f"{kind}: from <")


def test_an_unknown_kind_is_a_usage_error(running: Demo) -> None:
    status, out, err = running.run("send-sample", "--kind", "ham")
    assert (status, out) == (2, "")
    assert "ham" in err


def test_a_message_to_both_arrives_in_one_transaction_each(running: Demo) -> None:
    before = {path for name in ("google", "microsoft") for path in (running.place / name).glob("*.eml")}
    message = b"From: hello@plain.example\r\nSubject: both\r\n\r\n.\r\n..x  \r\n"
    with smtplib.SMTP("127.0.0.1", running.port, local_hostname="mail.plain.example") as client:
        client.sendmail("hello@plain.example", ["alice@demo.example", "bob@demo.example"], message)
    for name, rcpt in (("google", "alice@demo.example"), ("microsoft", "bob@demo.example")):
        end = time.monotonic() + 15
        while not (new := set((running.place / name).glob("*.eml")) - before):
            assert time.monotonic() < end
            time.sleep(0.05)
        [content] = new
        assert content.read_bytes().endswith(message)
        facts = json.loads(content.with_suffix(".json").read_text())
        assert facts["rcpts"] == [rcpt]
        assert facts["mail_from"] == "hello@plain.example"
        assert facts["tls"]["version"]


def test_a_sample_that_ends_otherwise_is_a_failure(running: Demo) -> None:
    """Signed with a key that DNS does not have: accepted by SPF, but not with the expected result."""
    path = running.place / "dkim.key"
    right = path.read_bytes()
    wrong = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.write_bytes(wrong)
        status, out, _ = running.run("send-sample", "--kind", "signed")
    finally:
        path.write_bytes(right)
    assert status == 1
    assert "FAILED" in out


def test_a_busy_port_is_named(running: Demo, tmp_path: Path) -> None:
    status, out, err = Demo(tmp_path, running.port).run("demo")
    assert (status, out) == (1, "")
    assert str(running.port) in err
    assert "WAYPOST_DEMO_PORT" in err
    status, out, err = Demo(tmp_path, admin=running.admin).run("demo")
    assert (status, out) == (1, "")
    assert "WAYPOST_DEMO_ADMIN_PORT" in err
    assert running.run("send-sample", "--kind", "plain")[0] == 0


def test_a_second_one_in_the_same_directory_is_refused(running: Demo) -> None:
    status, out, err = Demo(running.directory).run("demo")
    assert (status, out) == (1, "")
    assert "another demo" in err
    assert running.run("send-sample", "--kind", "plain")[0] == 0


@pytest.mark.parametrize("text", ["http", "0", "70000", "²"])
def test_a_port_that_is_none(tmp_path: Path, text: str) -> None:
    status, out, err = Demo(tmp_path).run("demo", WAYPOST_DEMO_PORT=text)
    assert (status, out) == (2, "")
    assert "WAYPOST_DEMO_PORT" in err


def test_without_a_demo_there_is_nothing_to_send_to(tmp_path: Path) -> None:
    status, out, err = Demo(tmp_path).run("send-sample")
    assert (status, out) == (1, "")
    assert "make run" in err


def test_stopped_killed_and_started_again(tmp_path: Path) -> None:
    """Over the remains of an earlier demo, three times."""
    place = tmp_path / "var" / "demo"
    (place / "google").mkdir(parents=True)
    (place / "google" / "old.eml").write_bytes(b"from before")
    (place / "spool").write_text("a file where a directory should be")
    (place / "state.json").write_text('{"port": 1, "admin_port": 2}')
    (place / "gone").symlink_to(tmp_path / "nowhere")
    demo = Demo(tmp_path)
    try:
        demo.start()
        assert not list((place / "google").iterdir())
        assert demo.stop(signal.SIGINT) == 0
        assert not demo.listens()
        assert not (place / "state.json").exists()
        demo.start()
        assert demo.process is not None
        demo.process.kill()
        demo.process.communicate()
        end = time.monotonic() + 20
        while demo.listens():
            assert time.monotonic() < end, "the gateway outlives a killed supervisor"
            time.sleep(0.1)
        wait_until_admin_is_free(demo)
        demo.start()
        assert demo.run("send-sample", "--kind", "spoof")[0] == 0
        assert demo.stop(signal.SIGTERM) == 0
        assert not demo.listens()
    finally:
        demo.end()


def wait_until_admin_is_free(demo: Demo) -> None:
    end = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", demo.admin)) != 0:
                return
        assert time.monotonic() < end
        time.sleep(0.1)
