"""The stand-in backends: they resemble the real ones in the important points, and record exactly the received
octets."""

from __future__ import annotations

import json
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.authority import DemoAuthority

NAME = "google.demo.example"


@dataclass
class StandIn:
    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    context: ssl.SSLContext

    def client(self, tls: bool = True) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.port, local_hostname="mx.demo.example", timeout=10)
        client.ehlo()
        if tls:
            client._host = NAME  # the name that smtplib checks the certificate against
            client.starttls(context=self.context)
            client.ehlo()
        return client

    def files(self, suffix: str) -> list[Path]:
        return sorted(self.directory.glob(f"*{suffix}"))


@pytest.fixture(params=["google", "microsoft"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def standin(kind: str, tmp_path: Path) -> Iterator[StandIn]:
    authority = DemoAuthority()
    authority.write(tmp_path / "ca.pem")
    authority.issue(tmp_path / "server.pem", tmp_path / "server.key", NAME)
    directory = tmp_path / "inbox"
    directory.mkdir()
    (directory / "killed.part").write_bytes(b"half a message")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gateway.demo.standin", "--kind", kind, "--port", str(port)]
    command += ["--directory", str(directory)]
    command += ["--certificate", str(tmp_path / "server.pem"), "--key", str(tmp_path / "server.key")]
    process = subprocess.Popen(command)
    try:
        wait_for(port, process)
        yield StandIn(process, port, directory, ssl.create_default_context(cafile=str(tmp_path / "ca.pem")))
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)


MESSAGE = (
    b"From: a@b.example\r\nSubject: =?utf-8?q?x?=\r\n\r\nGr\xc3\xbc\xc3\x9fe  \r\n.dot\r\n..dots\r\n.\r\n"
    + b"y" * 5000
    + b"\r\n"
)


def send(client: smtplib.SMTP, octets: bytes) -> tuple[int, bytes]:
    code, text = client.docmd("DATA")
    assert code == 354, text
    client.send(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return client.getreply()


def test_a_transaction_is_written_down_exactly(standin: StandIn, kind: str) -> None:
    with standin.client() as client:
        dsn = kind == "microsoft"
        assert client.mail("", ["BODY=8BITMIME", *(["RET=HDRS", "ENVID=abc"] if dsn else [])])[0] == 250
        assert client.rcpt("alice@demo.example", ["NOTIFY=FAILURE,DELAY"] if dsn else [])[0] == 250
        code, text = send(client, MESSAGE)
        assert code == 250, text
        [content] = standin.files(".eml")
        assert content.read_bytes() == MESSAGE
        facts = json.loads(content.with_suffix(".json").read_text())
        assert facts["mail_from"] == ""
        assert facts["rcpts"] == ["alice@demo.example"]
        assert facts["tls"]["version"] in ("TLSv1.2", "TLSv1.3")
        assert facts["params"]["body"] == "8BITMIME"
        assert facts["params"]["envid"] == ("abc" if dsn else None)
        assert facts["params"]["ret"] == ("HDRS" if dsn else None)
        assert facts["params"]["notify"] == [["FAILURE", "DELAY"] if dsn else []]
        assert len(list(standin.directory.iterdir())) == 2, "no part is left, not even that of a killed process"


def test_tls_is_demanded(standin: StandIn) -> None:
    with standin.client(tls=False) as client:
        code, text = client.mail("a@b.example")
        assert (code, text[:5]) == (530, b"5.7.0")


def test_ehlo_is_the_providers(standin: StandIn, kind: str) -> None:
    with standin.client() as client:
        features = set(client.esmtp_features)
        assert client.esmtp_features["size"] == "157286400"
        assert {"8bitmime", "chunking", "smtputf8", "pipelining", "enhancedstatuscodes"} <= features
        assert ("dsn" in features) == ("binarymime" in features) == (kind == "microsoft")
        assert ("google" if kind == "google" else "outlook") in client.ehlo_resp.decode().split("\n")[0]


def test_google_takes_one_recipient_domain(standin: StandIn, kind: str) -> None:
    with standin.client() as client:
        client.mail("a@b.example")
        assert client.rcpt("alice@demo.example")[0] == 250
        assert client.rcpt("carol@DEMO.example")[0] == 250
        code, text = client.rcpt("dave@other.example")
        if kind == "google":
            assert code == 451
            assert text.startswith(b"4.3.0 Multiple destination domains per transaction is unsupported")
        else:
            assert code == 250
        assert send(client, MESSAGE)[0] == 250
        [facts] = [json.loads(path.read_text()) for path in standin.files(".json")]
        assert len(facts["rcpts"]) == (2 if kind == "google" else 3)


def test_an_abandoned_transaction_leaves_nothing(standin: StandIn) -> None:
    with standin.client() as client:
        client.mail("a@b.example")
        client.rcpt("alice@demo.example")
        client.docmd("DATA")
        client.send(b"half")
        client.close()
        end = time.monotonic() + 5
        while list(standin.directory.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not list(standin.directory.iterdir())


def test_bdat_in_chunks(standin: StandIn) -> None:
    with standin.client() as client:
        client.mail("a@b.example")
        client.rcpt("alice@demo.example")
        for start in range(0, len(MESSAGE), 1000):
            chunk = MESSAGE[start : start + 1000]
            last = " LAST" if start + 1000 >= len(MESSAGE) else ""
            client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
            code, text = client.getreply()
            assert code == 250, text
        [content] = standin.files(".eml")
        assert content.read_bytes() == MESSAGE
        assert re.search(rb"OK|Queued", text)


def test_sigterm_ends_it_well(standin: StandIn) -> None:
    with standin.client() as client:
        standin.process.send_signal(signal.SIGTERM)
        assert standin.process.wait(10) == 0
        client.close()
