"""A client's own claims about its address, by PROXY and XCLIENT: it is always identified by its TCP connection or by a
listed peer, and no mail is accepted in another's name."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Awaitable, Callable

import pytest

from gateway.service.listener import SmtpListener
from tests.support.listening import Client, RecordedReception

Listen = Callable[..., Awaitable[SmtpListener]]

FORGED = "198.51.100.66"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
BALANCED = "203.0.113.7"
V1 = f"PROXY TCP4 {FORGED} 192.0.2.1 40000 25\r\n".encode()
V1_MAPPED = f"PROXY TCP6 ::ffff:{FORGED} ::1 40000 25\r\n".encode()
V2 = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, 12)
V2 += ipaddress.ip_address(FORGED).packed + ipaddress.ip_address("192.0.2.1").packed + struct.pack("!HH", 40000, 25)
MAIL = b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<r@d.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
EHLO = b"EHLO c.example\r\n"

FROM_ANYONE = {
    "PROXY v1": V1,
    "PROXY v1 mapped": V1_MAPPED,
    "PROXY v2": V2,
    "PROXY v1 in lower case": V1.lower(),
    "PROXY after EHLO": EHLO + V1,
    "PROXY after EHLO, v2": EHLO + V2,
    "PROXY behind empty lines": b"\r\n\r\n" + V1,
    "PROXY UNKNOWN": b"PROXY UNKNOWN\r\n",
    "PROXY as a parameter": f"EHLO c.example PROXY TCP4 {FORGED}\r\n".encode(),
    "XCLIENT": EHLO + f"XCLIENT ADDR={FORGED}\r\n".encode(),
    "XCLIENT before EHLO": f"XCLIENT ADDR={FORGED}\r\n".encode(),
    "XCLIENT in lower case": EHLO + f"xclient addr={FORGED}\r\n".encode(),
    "XCLIENT as six": EHLO + f"XCLIENT ADDR=IPV6:::ffff:{FORGED}\r\n".encode(),
    "XCLIENT in code": EHLO + b"XCLIENT ADDR=+31+39+38.51.100.66\r\n",
    "XCLIENT with a name": EHLO + f"XCLIENT NAME=spike.example ADDR={FORGED} LOGIN=ceo\r\n".encode(),
    "XCLIENT in a transaction": EHLO + f"MAIL FROM:<a@b.example>\r\nXCLIENT ADDR={FORGED}\r\nRSET\r\n".encode(),
    "XFORWARD": EHLO + f"XFORWARD ADDR={FORGED}\r\n".encode(),
    "EHLO as the address": f"EHLO [{FORGED}]\r\n".encode(),
}


@pytest.mark.parametrize("name", FROM_ANYONE)
async def test_nobody_gives_itself_an_address(listen: Listen, name: str) -> None:
    reception = RecordedReception()
    listener = await listen(reception, proxy_from=ELSEWHERE, xclient_from=ELSEWHERE)
    client = await Client.connect(listener.address)
    await client.send(FROM_ANYONE[name] + MAIL)
    await client.rest()
    assert {conversation.connection.client for conversation in reception.conversations} == {"127.0.0.1"}


BEHIND_A_BALANCER = FROM_ANYONE | {
    "a second header": V1,
    "a second header, v2": V2,
}


@pytest.mark.parametrize("name", BEHIND_A_BALANCER)
async def test_nor_behind_a_balancer(listen: Listen, name: str) -> None:
    """Not even if the address that the balancer gives is listed for XCLIENT: that is for TCP peers."""
    reception = RecordedReception()
    listed = (*LOOPBACK, ipaddress.ip_network(f"{BALANCED}/32"))
    listener = await listen(reception, proxy_from=LOOPBACK, xclient_from=listed)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(f"PROXY TCP4 {BALANCED} 192.0.2.1 40000 25\r\n".encode())
    assert await client.reply() == 220
    await client.send(BEHIND_A_BALANCER[name] + MAIL)
    await client.rest()
    assert {conversation.connection.client for conversation in reception.conversations} == {BALANCED}


FROM_A_FILTER = {
    "no address": "ADDR=",
    "a name": "ADDR=mail.example",
    "in brackets": f"ADDR=[{FORGED}]",
    "leading zeros": "ADDR=198.51.100.066",
    "a number": "ADDR=3325256770",
    "a network": f"ADDR={FORGED}/32",
    "two": f"ADDR=203.0.113.9 ADDR={FORGED}",
    "two, one in lower case": f"ADDR=203.0.113.9 addr={FORGED}",
    "a line break in code": f"ADDR=203.0.113.9+0D+0AXCLIENT ADDR={FORGED}",
    "white space in code": f"ADDR={FORGED}+20",
    "raw plus": "ADDR=198.51.100.66+",
    "unicode digits": "ADDR=\u0661\u0669\u0668.51.100.66",
    "an unknown attribute": f"ADDR={FORGED} TRUST=yes",
    "a helo that is a path": f"ADDR={FORGED} HELO=x+28[{FORGED}]+29",
}


@pytest.mark.parametrize("name", FROM_A_FILTER)
async def test_a_listed_filter_is_taken_at_its_word_only_when_it_is_plain(listen: Listen, name: str) -> None:
    """A refused XCLIENT changes nothing, all of it or none."""
    reception = RecordedReception()
    listener = await listen(reception, xclient_from=LOOPBACK)
    client = await Client.connect(listener.address)
    await client.say("EHLO filter.example")
    await client.send(f"XCLIENT {FROM_A_FILTER[name]}\r\n".encode())
    assert (await client.read_reply())[0] == 501
    await client.send(MAIL)
    await client.rest()
    assert {conversation.connection.client for conversation in reception.conversations} == {"127.0.0.1"}
