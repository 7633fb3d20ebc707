"""The plain reader reads a DNS response like dnspython, or not at all.

The responses are generated, or recorded from unbound; both are bent too.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

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
    agree(make_response)


def test_both_readers_agree_on_recorded_responses(tmp_path: Path) -> None:
    if shutil.which("unbound") is None:
        pytest.skip("unbound is not installed")
    recorded = record(tmp_path)
    assert len(recorded) == len(NAMES) * 5 * 2
    assert {response[3] & 15 for response, _ in recorded} == {0, 3}
    agree(lambda draw: draw.choice(recorded))


def record(directory: Path) -> list[tuple[bytes, bytes]]:
    """unbound's responses to each name and type, with EDNS and without, each with its question section."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    records = [
        *(f"a.example. 300 IN {kind} {data}" for kind in ("A", "AAAA", "MX", "TXT") for data in DATA[kind][:2]),
        "www.a.example. 60 IN CNAME a.example.",
        f"a.example. 900 IN SOA {SOA}",
        '_dmarc.a.example. 60 IN TXT "v=DMARC1; p=reject"',
        "2.0.192.in-addr.arpa. 60 IN PTR host.a.example.",
        "b.example. 60 IN A 192.0.2.2",
    ]
    lines = ["server:", f"  interface: {address[0]}@{address[1]}", "  do-daemonize: no", '  username: ""']
    lines += [
        '  chroot: ""',
        '  pidfile: ""',
        "  use-syslog: no",
        f'  directory: "{directory}"',
        "  do-not-query-localhost: no",
    ]
    lines += ['  module-config: "iterator"', "  access-control: 127.0.0.0/8 allow"]
    lines += [f'  local-zone: "{zone}" static' for zone in ("a.example.", ".")]
    lines += [f"  local-data: '{one}'" for one in records]
    configuration = directory / "unbound.conf"
    configuration.write_text("\n".join(lines) + "\n")
    with (directory / "unbound.log").open("w") as log:
        server = subprocess.Popen(["unbound", "-d", "-c", configuration], stdout=log, stderr=log)
    try:
        return [
            (ask(dns.message.make_query(name, kind, use_edns=edns), address), encode_question(name, kind) or b"")
            for name in NAMES
            for kind in ("A", "AAAA", "MX", "TXT", "PTR")
            for edns in (0, None)
        ]
    finally:
        server.terminate()
        server.wait()


def ask(query: dns.message.Message, address: tuple[str, int]) -> bytes:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.connect(address)
            try:
                client.send(query.to_wire())
                return client.recv(4096)
            except OSError:
                time.sleep(0.1)  # it is starting
    raise AssertionError("unbound does not answer")


def agree(choose: Callable[[random.Random], tuple[bytes, bytes]]) -> None:
    plain = judged = 0
    for number in range(CASES):
        draw = random.Random(number)
        response, question = choose(draw)
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
