"""One message, six recipients, a real Postfix and a real Exim: accept, 4yz and 5yz mixed, the connection cut before and
after the end of the content. Each recipient ends in one state, and gets the message once, or twice after a lost answer.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.mtas import Mta, missing, run_exim, run_postfix

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "can run")]

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}
SENDER = "alice@sender.example"
CUTS = ("never", "before", "after")
MIXTURES = list(itertools.product(CUTS, CUTS))
LATER, NO = "450 4.2.1 Busy mailbox", "550 5.1.1 No such user here"
POSTFIX_RULES = (
    "smtpd_recipient_restrictions = "
    "check_recipient_access regexp:{{ {{ /^later/ {later} }}, {{ /^no/ {no} }} }}, permit"
)
EXIM_RULES = """
  defer local_parts = later
        message = 450 4.2.1 Busy mailbox
  deny local_parts = no
       message = 550 5.1.1 No such user here
  accept
"""


class Cutter:
    """Stands before an MTA and cuts a connection once for each message that asks for it, by a field in its header:
    before the final dot has been passed on, or after, when the answer is there and is not passed on."""

    def __init__(self, field: bytes, port: int) -> None:
        self._field = field
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.cut: set[bytes] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._behind)) as server, suppress(OSError):
            answering = threading.Event()
            answering.set()
            back = threading.Thread(target=self._answer, args=(server, client, answering), daemon=True)
            back.start()
            seen = b""
            while octets := client.recv(65536):
                seen += octets
                if seen.endswith(b"\r\n.\r\n"):
                    mode = self._mode(seen)
                    if mode == b"before":
                        return
                    if mode == b"after":
                        answering.clear()
                        server.sendall(octets)
                        time.sleep(1.0)
                        return
                    seen = b""
                server.sendall(octets)

    def _answer(self, server: socket.socket, client: socket.socket, answering: threading.Event) -> None:
        with suppress(OSError):
            while octets := server.recv(65536):
                if answering.is_set():
                    client.sendall(octets)
            client.shutdown(socket.SHUT_WR)

    def _mode(self, seen: bytes) -> bytes:
        mark = seen.split(b"Subject: ")[1].split(b"\r\n")[0]
        if mark in self.cut:
            return b"never"
        self.cut.add(mark)
        return seen.split(self._field + b": ")[1].split(b"\r\n")[0]


@pytest.fixture
def postfix() -> Iterator[Mta]:
    with run_postfix(more=POSTFIX_RULES.format(later=LATER, no=NO)) as mta:
        yield mta


@pytest.fixture
def exim() -> Iterator[Mta]:
    with run_exim(acl=EXIM_RULES) as mta:
        yield mta


@pytest.fixture
def gateway(tmp_path: Path, postfix: Mta, exim: Mta) -> Iterator[Gateway]:
    cutters = Cutter(b"X-Cut-P", postfix.port), Cutter(b"X-Cut-X", exim.port)
    process = Gateway(tmp_path, zone=dict(ZONE))
    process.delivery = "schedule = [1, 2, 2]\nexpire = 12"
    process.settings = "".join(
        f"""
[[domain]]
name = "{domain}"
backend = "{name}"
[backend.{name}]
hosts = ["127.0.0.1:{cutter.port}"]
tls = "off"
"""
        for domain, name, cutter in zip(("p.example", "x.example"), ("postfix", "exim"), cutters, strict=True)
    )
    try:
        process.start(False)
        yield process
    finally:
        process.stop()
        for cutter in cutters:
            cutter.close()


def make_message(subject: str, cuts: tuple[str, str]) -> bytes:
    lines = (f"X-Cut-P: {cuts[0]}", f"X-Cut-X: {cuts[1]}", f"From: {SENDER}", f"Subject: {subject}", "", "Hello.", "")
    return "\r\n".join(lines).encode()


def received(mta: Mta) -> Counter[tuple[str, str]]:
    """(subject, recipient) of each copy."""
    found: Counter[tuple[str, str]] = Counter()
    for octets in mta.messages():
        message = message_from_bytes(octets)
        rcpt = message["Envelope-To"] or message["X-Original-To"] or message["Delivered-To"]
        found[(str(message["Subject"]), str(rcpt))] += 1
    return found


def endings(gateway: Gateway) -> Counter[tuple[str, str, str]]:
    """(id, recipient, state) of each recipient that is done, from the log."""
    found: Counter[tuple[str, str, str]] = Counter()
    for event in gateway.events():
        if event["event"] in ("delivered", "failed") and str(event["backend"]) in ("postfix", "exim"):
            state = "expired" if event.get("expired") else str(event["event"])
            found[(str(event["id"]), str(event["rcpt"]), state)] += 1
    return found


def test_every_mixture(gateway: Gateway, postfix: Mta, exim: Mta) -> None:
    rcpts = [f"{local}@{domain}" for domain in ("p.example", "x.example") for local in ("ok", "later", "no")]
    subjects: dict[str, tuple[tuple[str, str], list[str]]] = {}
    with gateway.smtp() as client:
        for number, cuts in enumerate(MIXTURES):
            for named, way in ((rcpts, "queue"), (rcpts[:3], "session-p"), (rcpts[3:], "session-x")):
                code, text = send(client, SENDER, named, make_message(f"{way}{number}", cuts))
                assert code == 250, text
                id = text.rpartition("(")[2].rstrip(")")
                subjects[id] = (cuts, named)
    wanted = sum(len(named) for _, named in subjects.values())
    end = time.monotonic() + 60
    while sum(endings(gateway).values()) < wanted and time.monotonic() < end:
        time.sleep(0.5)
    states = {"ok": "delivered", "later": "expired", "no": "failed"}
    expected = {(id, rcpt, states[rcpt.partition("@")[0]]): 1 for id, (_, named) in subjects.items() for rcpt in named}
    assert dict(endings(gateway)) == expected, "each recipient ends in exactly one state"
    time.sleep(1)
    copies = received(postfix) + received(exim)
    assert {rcpt for _, rcpt in copies} == {"ok@p.example", "ok@x.example"}
    for way, number in itertools.product(("queue", "session-p", "session-x"), range(len(MIXTURES))):
        for rcpt, cut in zip(("ok@p.example", "ok@x.example"), MIXTURES[number], strict=True):
            if way in ("queue", f"session-{rcpt[3]}"):
                count = copies[(f"{way}{number}", rcpt)]
                assert count == 1 or (cut == "after" and count == 2), (way, MIXTURES[number], rcpt, count)


def test_backend_s_own_words_in_session(gateway: Gateway) -> None:
    with gateway.smtp() as client:
        code, text = send(client, SENDER, ["no@p.example"], make_message("told", ("never", "never")))
        assert (code, "5.1.1" in text, "No such user here" in text) == (550, True, True)
        code, text = send(client, SENDER, ["no@x.example"], make_message("told", ("never", "never")))
        assert (code, "No such user here" in text) == (550, True)
    assert not [event for event in gateway.events() if event["event"] in ("dsn", "dsn-withheld")]
