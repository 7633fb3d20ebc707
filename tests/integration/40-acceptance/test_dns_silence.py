"""DNS that never answers delays its own message, for a bounded time, and nobody else's."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.dnsserver import DnsServer
from tests.support.gateway_process import Gateway, send
from tests.support.samples import plain, sign


def deliver(gateway: Gateway, author: str, signed: bool = False) -> tuple[int, str, float]:
    message = sign(plain(author), author.partition("@")[2]) if signed else plain(author)
    start = time.monotonic()
    with gateway.smtp() as client:
        code, text = send(client, author, ["alice@corp.example"], message)
    return code, text, time.monotonic() - start


async def test_a_silent_domain_is_deferred_and_others_go_on(gateway: Gateway) -> None:
    zone = dict(gateway.zone)
    zone |= {"silent.example": "TIMEOUT", "_dmarc.silent.example": "TIMEOUT"}
    async with DnsServer(zone) as server:
        gateway.dns = f'nameservers = ["{server.address}"]'
        await asyncio.to_thread(gateway.start)
        silent = asyncio.create_task(asyncio.to_thread(deliver, gateway, "author@silent.example"))
        await asyncio.sleep(0.5)
        for _ in range(10):
            code, text, seconds = await asyncio.to_thread(deliver, gateway, "author@plain.example")
            assert code == 250, text
            assert seconds < 4, "a session that needs no silent name waits for none"
        assert not silent.done(), "all of that while the other one waits"
        code, text, seconds = await silent
    assert code == 451
    assert text.startswith("4.7.")
    assert seconds < 25


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
async def test_no_dns_at_all_is_a_451_in_time(gateway: Gateway, signed: bool) -> None:
    async with DnsServer({}, delay=lambda _: 3600.0) as server:
        gateway.dns = f'nameservers = ["{server.address}"]'
        await asyncio.to_thread(gateway.start)
        code, text, seconds = await asyncio.to_thread(deliver, gateway, "author@sender.example", signed)
    assert code == 451
    assert text.startswith("4.7.")
    assert seconds < 25
