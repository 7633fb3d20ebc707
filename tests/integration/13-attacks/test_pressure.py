"""All places of a gateway are taken by clients that bring nothing, or all room by content that hardly moves: newcomers
from other addresses are served meanwhile."""

from __future__ import annotations

import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT, Gateway, send

pytestmark = pytest.mark.slow

ZONE = {
    "b.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
    "good.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
}
NEWCOMERS = 30
MOST_SECONDS = 3.0
"""For all that a newcomer does. A client that takes a place has two seconds of rest, ten within a transaction."""
CONTENT = b"From: a@good.example\r\n\r\nfrom a newcomer\r\n"


@contextmanager
def attack(kind: str, port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """The attacker's process, from the moment on that it has taken all it wants."""
    command = [sys.executable, "-m", "tests.support.attackers", kind, str(port), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def bring_mail(port: int, number: int) -> float:
    """Bring a message as a client of a network of its own; returns the seconds."""
    began = time.monotonic()
    client = smtplib.SMTP("127.0.0.1", port, "good.example", timeout=30, source_address=(f"127.8.{number}.1", 0))
    client.ehlo()
    code, text = send(client, "a@good.example", ["alice@corp.example"], CONTENT)
    assert code == 250, text
    client.quit()
    return time.monotonic() - began


@pytest.mark.parametrize("kind", ["silent", "no_handshake", "chatty", "in_mail", "in_rcpt"])
def test_newcomers_get_the_places_of_those_who_bring_nothing(tmp_path: Path, kind: str) -> None:
    """1,000 connections from twenty addresses; they answer every wish but a message."""
    gateway = Gateway(tmp_path, zone=ZONE)
    gateway.start()
    try:
        with attack(f"hold_{kind}", gateway.port, 1000) as attacker:
            waits = [bring_mail(gateway.port, number) for number in range(NEWCOMERS)]
            assert attacker.poll() is None
        print(f"{kind}: slowest of {NEWCOMERS} newcomers {max(waits):.2f} s, middle {sorted(waits)[15]:.3f} s")
        assert max(waits) < MOST_SECONDS
    finally:
        gateway.stop()


def test_content_that_hardly_moves_leaves_room(tmp_path: Path) -> None:
    """Five addresses fill the octets in flight, each as much as it may, and go on with an octet a second."""
    limits = "[limits]\nbytes_in_flight = 67_108_864\nbytes_in_flight_per_client = 16_777_216\n"
    gateway = Gateway(tmp_path, limits + "message_size = 8_388_608\n", zone=ZONE)
    gateway.start()
    try:
        with attack("hold_octets", gateway.port, 100) as attacker:
            waits = [bring_mail(gateway.port, number) for number in range(NEWCOMERS)]
            assert attacker.poll() is None
        print(f"octets: slowest of {NEWCOMERS} newcomers {max(waits):.2f} s")
        assert max(waits) < MOST_SECONDS
    finally:
        gateway.stop()
