"""A full gateway over real sockets: the slow lose their place first, the idlest make room, newcomers are served."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.gateway_process import Gateway, send

pytestmark = pytest.mark.slow

ZONE: dict[str, object] = {"good.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]}}
SETTINGS = "[limits]\nconnections = 60\n"
SOON = 0.25
OPEN = b"EHLO slow.example\r\nMAIL FROM:<a@good.example>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    process = Gateway(tmp_path_factory.mktemp("pressure"), SETTINGS, zone=ZONE)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def open_client(gateway: Gateway, source: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", gateway.port), 20, source_address=(source, 0))
    assert client.recv(999).startswith(b"220 ")
    return client


def begin_content(client: socket.socket) -> None:
    client.sendall(OPEN)
    said = b""
    while b"\r\n354 " not in said:
        said += client.recv(999)
    client.sendall(b"From: a@good.example\r\n\r\n")


def test_newcomers_are_served_while_slow_and_idle_clients_give_way(gateway: Gateway) -> None:
    slow = [open_client(gateway, f"127.1.{number}.1") for number in range(20)]
    for client in slow:
        begin_content(client)
    idle = [open_client(gateway, f"127.2.{number}.1") for number in range(40)]
    began = time.monotonic()
    waits = []
    served = 0
    cut: set[int] = set()
    while len(cut) < len(slow) and time.monotonic() - began < 75:
        for number, client in enumerate(slow):
            if number not in cut:
                cut |= {number} if is_cut(client) else set()
        if time.monotonic() - began > 3 and served < 30:
            at = time.monotonic()
            newcomer = gateway.smtp(tls=False, source=f"127.3.{served}.1")
            waits.append(time.monotonic() - at)
            octets = b"From: a@good.example\r\n\r\nhello\r\n"
            assert send(newcomer, "a@good.example", ["alice@corp.example"], octets)[0] == 250
            idle.append(newcomer.sock)  # type: ignore[arg-type]
            served += 1
        time.sleep(0.5)
    assert served == 30
    assert sorted(waits)[len(waits) // 2] <= SOON
    assert len(cut) == len(slow), "a client that brings an octet at a time has lost its place"
    gone = [client.recv(999, socket.MSG_DONTWAIT)[:4] for client in idle[:30]]
    assert gone == [b"421 "] * 30, "the idlest made room, in their order"
    for client in (*slow, *idle):
        client.close()


def is_cut(client: socket.socket) -> bool:
    """Send an octet of content; True when the gateway has said goodbye."""
    try:
        client.sendall(b"x")
        return client.recv(999, socket.MSG_DONTWAIT)[:4] in (b"421 ", b"")
    except BlockingIOError:
        return False
    except OSError:
        return True
