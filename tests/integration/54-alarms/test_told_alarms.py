"""Alarms reach the log, a webhook and a mailbox, once each, with their all-clear, from a gateway of two workers."""

from __future__ import annotations

import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.support.gateway_process import Gateway, send

pytestmark = pytest.mark.slow

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}
GATHERED = 8.0
"""Seconds within which an alarm that is told twice would have come again."""


class Chat:
    """Takes the POSTs of a webhook."""

    def __init__(self) -> None:
        self.names: list[str] = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                chat.names += [alarm["name"] for alarm in body["alarms"]]
                self.send_response(200)
                self.end_headers()

        self.authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def chat() -> Iterator[Chat]:
    found = Chat()
    yield found
    found.close()


@pytest.fixture
def gateway(tmp_path: Path, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """Its admin's mailbox lives at the backend `microsoft`."""
    authority = tmp_path / "authority.pem"
    chat.authority.cert_pem.write_to_path(str(authority))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    process = Gateway(tmp_path, zone=dict(ZONE), workers=2, delivery="schedule = [1]\nsession_budget = 1")
    process.settings = f"""
[alarm]
webhook = "https://127.0.0.1:{chat.server.server_port}/"
mail = ["bob@corp.example"]
silent_after = 3
"""
    try:
        yield process
    finally:
        process.stop()


def wait_until(holds: Callable[[], bool], seconds: float = 45.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def mailed(gateway: Gateway) -> bytes:
    return b"".join(octets for octets, _ in gateway.microsoft.received())


def logged(gateway: Gateway, name: str) -> int:
    return len([event for event in gateway.events() if event["event"] == name])


def test_a_route_that_takes_nothing_is_told_once_everywhere_and_cleared_once(gateway: Gateway, chat: Chat) -> None:
    gateway.microsoft.start()
    gateway.start(backends=False)
    for _ in range(4):
        with gateway.smtp(tls=False) as client:
            octets = b"From: ann@sender.example\r\nTo: alice@corp.example\r\nSubject: waits\r\n\r\nHello.\r\n"
            assert send(client, "ann@sender.example", ["alice@corp.example"], octets)[0] == 250
    wait_until(lambda: "route-silent" in chat.names and b"route-silent" in mailed(gateway))
    gateway.google.start()
    gateway.google.wait(4, 30.0)
    wait_until(lambda: "route-takes" in chat.names and b"route-takes" in mailed(gateway))
    time.sleep(GATHERED)
    for name in ("route-silent", "route-takes"):
        assert (chat.names.count(name), logged(gateway, name)) == (1, 1), (chat.names, gateway.log())
        assert len([1 for octets, _ in gateway.microsoft.received() if name.encode() in octets]) == 1


def test_a_dead_worker_is_told_by_one_that_lives(gateway: Gateway, chat: Chat) -> None:
    gateway.start()
    assert gateway.process is not None
    wait_until(lambda: logged(gateway, "listening") == 2)
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    wait_until(lambda: {"worker-died", "worker-restored"} <= set(chat.names))
    wait_until(lambda: b"worker-died" in mailed(gateway) and b"worker-restored" in mailed(gateway))
    time.sleep(GATHERED)
    assert (chat.names.count("worker-died"), chat.names.count("worker-restored")) == (1, 1)
    assert logged(gateway, "worker-died") == 1


def test_a_certificate_near_its_end_is_told_and_its_successor_clears_it(gateway: Gateway, chat: Chat) -> None:
    def issue(days: int) -> None:
        issued = trustme.CA().issue_cert(gateway.hostname, not_after=datetime.now(UTC) + timedelta(days=days))
        gateway.key.write_bytes(issued.private_key_pem.bytes())
        gateway.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))

    gateway.microsoft.start()
    issue(10)
    gateway.start(backends=False)
    wait_until(lambda: "certificate-ending" in chat.names)
    issue(90)
    wait_until(lambda: "certificate-good" in chat.names)
    time.sleep(GATHERED)
    assert (chat.names.count("certificate-ending"), chat.names.count("certificate-good")) == (1, 1)
    assert logged(gateway, "certificate-ending") == 1


def test_a_restart_tells_nothing_again_and_clears_what_is_over(gateway: Gateway, chat: Chat) -> None:
    """The first gateway is killed; the second finds the backend down still, the third finds it up."""
    gateway.microsoft.start()
    gateway.start(backends=False)
    with gateway.smtp(tls=False) as client:
        octets = b"From: ann@sender.example\r\nTo: alice@corp.example\r\nSubject: waits\r\n\r\nHello.\r\n"
        assert send(client, "ann@sender.example", ["alice@corp.example"], octets)[0] == 250
    wait_until(lambda: "route-silent" in chat.names and b"route-silent" in mailed(gateway))
    gateway.kill()
    gateway.start_gateway()
    wait_until(lambda: logged(gateway, "route-silent") == 2)
    assert "route-silent" in gateway.run("status", "--config", str(gateway.config_path)).stdout
    gateway.terminate()
    gateway.google.start()
    gateway.start_gateway()
    wait_until(lambda: "route-takes" in chat.names and b"route-takes" in mailed(gateway))
    time.sleep(GATHERED)
    for name in ("route-silent", "route-takes"):
        assert chat.names.count(name) == 1, (chat.names, gateway.log())
        assert len([1 for octets, _ in gateway.microsoft.received() if name.encode() in octets]) == 1
    assert "route-silent" not in gateway.run("status", "--config", str(gateway.config_path)).stdout
