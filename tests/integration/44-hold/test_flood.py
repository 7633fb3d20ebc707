"""A flood of spoofs with list headers, from many sources and in many names: held mail stays within the quota, the disk
is not filled, every spoof is counted, and no other mail waits."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request

import pytest

from gateway.spool.reader import ReadOnlySpool
from tests.support.gateway_process import Gateway, send
from tests.support.samples import plain

pytestmark = pytest.mark.slow

COUNT, CONNECTIONS = 10_000, 20
MESSAGES, OCTETS = 150, 40_000_000
PADDING = b"x" * 70 + b"\r\n"


def make_spoof(number: int) -> bytes:
    author = "bank.example" if number % 2 else f"n{number}.bank.example"
    return (
        f"From: <ceo@{author}>\r\nTo: <alice@corp.example>\r\nSubject: Your account {number}\r\n"
        f"List-Id: <news.bank.example>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\n"
    ).encode() + PADDING * 20


async def flood(gateway: Gateway, first: int) -> list[int]:
    """One client of the flood, from a network of its own; returns the codes of its replies."""
    codes = []
    for start in range(first, COUNT, CONNECTIONS * 10):
        source = f"127.{start // 200 % 250 + 1}.{start % 250}.1"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(source, 0))
        await reader.readline()
        writer.write(b"EHLO h.other.example\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        for number in range(start, min(start + CONNECTIONS * 10, COUNT), CONNECTIONS):
            writer.write(b"MAIL FROM:<x@other.example>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\n")
            replies = [await reader.readline() for _ in range(3)]
            assert replies[2].startswith(b"354"), replies
            writer.write(make_spoof(number) + b".\r\n")
            codes.append(int((await reader.readline())[:3]))
        writer.write(b"QUIT\r\n")
        await reader.read()
        writer.close()
    return codes


async def test_a_flood_neither_fills_the_disk_nor_hides(gateway: Gateway) -> None:
    gateway.settings += f"[hold]\ndomain_messages = {MESSAGES}\ndomain_octets = {OCTETS}\n"
    await asyncio.to_thread(gateway.start)
    answered = await asyncio.gather(*(flood(gateway, number) for number in range(CONNECTIONS)))
    codes = [code for some in answered for code in some]
    assert len(codes) == COUNT
    assert codes.count(250) == MESSAGES, "subdomains have no quota of their own"
    assert codes.count(452) == COUNT - MESSAGES

    spool = ReadOnlySpool(gateway.directory / "spool")
    held = await spool.held(COUNT)
    senders = await spool.senders(["bank.example"], COUNT)
    await spool.close()
    assert len(held) == MESSAGES
    assert sum(one.failed for one in senders) == COUNT, "each one is counted"
    assert sum(one.passed for one in senders) == 0
    assert len(senders) <= 301, "in a bounded number of rows"

    size = sum(path.stat().st_size for path in (gateway.directory / "spool").rglob("*") if path.is_file())
    kept = MESSAGES * 1600 + COUNT * 3000
    assert size < kept + 80_000_000, "what is held, a trace for each, and the log of the database"

    address = f"http://127.0.0.1:{gateway.admin}/metrics"
    metrics = await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=5).read().decode())
    turned_back = re.search(r'waypost_events_total\{detail="",name="hold-full"\} (\S+)', metrics)
    assert turned_back
    assert float(turned_back[1]) == COUNT - MESSAGES

    def deliver() -> tuple[int, str]:
        with gateway.smtp() as client:
            return send(client, "author@other.example", ["alice@corp.example"], plain("author@other.example"))

    code, text = await asyncio.to_thread(deliver)
    assert code == 250, text
    assert len(gateway.google.wait(1)) == 1
    done = await asyncio.to_thread(gateway.run, "hold", "list", "--json", "--config", str(gateway.config_path))
    assert len(json.loads(done.stdout)) == MESSAGES
