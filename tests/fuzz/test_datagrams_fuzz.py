"""The plain reader reads a DNS response like dnspython, or not at all."""

from __future__ import annotations

import random

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from gateway.net.datagrams import Plain, encode_question, read_plain
from gateway.net.resolver import read_message
from tests.conftest import SOAK
from tests.fuzz.mutation import telling

CASES = 1_000_000 if SOAK else 20_000
NAMES = ["a.example", "www.a.example", "b.example", "_dmarc.a.example", "x.www.a.example", "2.0.192.in-addr.arpa"]
DATA = {
    "A": ["192.0.2.1", "192.0.2.2", "203.0.113.7"],
    "AAAA": ["2001:db8::1", "::1", "::ffff:192.0.2.1", "2001:db8:0:0:1::"],
    "MX": ["10 mx.a.example.", "0 .", "20 MX.B.example."],
    "TXT": ['"v=spf1 -all"', '"one" "two"', '""', '"caf\\233"'],
    "PTR": ["host.a.example.", "HOST.b.example."],
    "CNAME": ["b.example.", "www.a.example."],
    "NS": ["ns1.a.example."],
}
SOA = "ns1.a.example. admin.a.example. 1 7200 900 1209600 300"


def make_response(draw: random.Random) -> tuple[bytes, bytes]:
    """A response as servers send them, and the question section that it answers."""
    name, kind = draw.choice(NAMES), draw.choice(["A", "AAAA", "MX", "TXT", "PTR"])
    query = dns.message.make_query(name, kind, use_edns=draw.choice([0, None]))
    response = dns.message.make_response(query)
    response.flags |= draw.choice([0, 0, dns.flags.AD, dns.flags.AA, dns.flags.RA, dns.flags.RA, dns.flags.TC])
    response.set_rcode(draw.choice([dns.rcode.NOERROR] * 6 + [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL]))
    owner = name + "."
    for _ in range(draw.choice([0, 0, 0, 1, 2])):
        target = draw.choice(DATA["CNAME"])
        add(response.answer, owner, draw.choice([60, 300]), "CNAME", target)
        owner = target
    for data in draw.sample(DATA[kind], draw.choice([0, 0, 1, 1, 2])):
        add(response.answer, owner, draw.choice([0, 60, 100_000]), kind, data)
    if draw.random() < 0.5:
        add(response.authority, draw.choice(["a.example.", "example.", ".", "other.test."]), 900, "SOA", SOA)
    if draw.random() < 0.2:
        add(response.authority, "a.example.", 900, "NS", DATA["NS"][0])
    if draw.random() < 0.2:
        add(response.additional, "ns1.a.example.", 900, "A", "192.0.2.53")
    question = encode_question(name, kind)
    assert question is not None
    return response.to_wire(), question


def add(section: list[dns.rrset.RRset], owner: str, ttl: int, kind: str, data: str) -> None:
    section.append(dns.rrset.from_text(owner, ttl, "IN", kind, data))


def bend(octets: bytes, draw: random.Random) -> bytes:
    """The same with a few octets changed, cut off, doubled or put in."""
    wire = bytearray(octets)
    for _ in range(draw.choice([0, 0, 1, 1, 2, 4])):
        at = draw.randrange(2, len(wire))
        match draw.randrange(5):
            case 0:
                wire[at] = draw.randrange(256)
            case 1:
                wire[at] ^= 1 << draw.randrange(8)
            case 2:
                del wire[at : at + draw.randrange(1, 12)]
            case 3:
                wire[at:at] = wire[at : at + draw.randrange(1, 16)]
            case _:
                wire[at:at] = draw.randbytes(draw.randrange(1, 4))
        if len(wire) < 16:
            return bytes(octets)
    return bytes(wire)


def read_whole(wire: bytes) -> Plain | None:
    """The same answer by dnspython; None when it reads none, or one whose aliases lead beyond the response."""
    try:
        message = dns.message.from_wire(wire)
        if not isinstance(message, dns.message.QueryMessage):
            return None
        if message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return None
        found = read_message(message, 0)
    except (dns.exception.DNSException, ValueError, KeyError, IndexError):
        return None
    return None if found.answer is None else Plain(found.answer, int(found.seconds))


def is_for(wire: bytes, question: bytes) -> bool:
    """It has the question that was asked, as the socket checks."""
    return len(wire) >= 12 and wire[12 : 12 + len(question)].lower() == question and wire[4:6] == b"\0\1"


def test_both_readers_agree() -> None:
    plain = judged = 0
    for number in range(CASES):
        draw = random.Random(number)
        response, question = make_response(draw)
        wire = bend(response, draw)
        if not is_for(wire, question):
            continue
        judged += 1
        with telling(f"case {number}: {wire!r}"):
            found = read_plain(wire, question)
            if found is not None:
                plain += 1
                assert read_whole(wire) == found
    assert plain > judged // 12, "many responses are plain"
