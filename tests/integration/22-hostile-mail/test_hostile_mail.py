"""Hostile messages and hostile DNS through the real reception, authenticator and resolver, with real DNS packets.

Each is answered within a second with the right result, nothing is raised, and the event loop is never held for 50 ms.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.app import make_runtime
from gateway.mail.path import mailbox
from gateway.model.delivery import Trace
from gateway.model.envelope import IPText, Mailbox
from gateway.net.system import SystemClock
from gateway.service.collector import Collector
from gateway.service.runtime import RuntimeConfig
from gateway.tools.rehearsal import Delivered, rehearse
from gateway.tools.simulate import make_config
from tests.support.dnsserver import DnsServer
from tests.support.fake_spool import FakeSpool
from tests.support.resolving import open_resolver
from tests.support.signing import MESSAGE, NOW, chain, key_record, p_tag, rsa_key, sign

MOST_SECONDS, MOST_STALL = 1.0, 0.05
ALICE = Mailbox("alice", "corp.example", "corp.example")


def der(tag: int, octets: bytes) -> bytes:
    size = len(octets)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + octets


def rsa_record(bits: int, exponent_bits: int) -> str:
    """A key of that size that nobody made; RSAPublicKey in DER (RFC 8017 appendix A.1.1)."""
    dice = random.Random(bits)
    numbers = (dice.getrandbits(bits) | 1 | 1 << bits - 1, dice.getrandbits(exponent_bits) | 1 | 1 << exponent_bits - 1)
    pair = b"".join(der(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in numbers)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(der(0x30, pair)).decode()


def head(tags: str) -> bytes:
    """A signature field as its tags say, above the message."""
    return b"DKIM-Signature: v=1; a=rsa-sha256; d=src.example; s=s; " + tags.encode() + b"\r\n" + MESSAGE


HASH = "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
GOOD = sign()
KEY = {"TXT": [key_record()]}


@dataclass(frozen=True)
class Attack:
    name: str
    message: bytes = GOOD
    dkim: tuple[str, ...] | None = ("pass",)
    """The first results; None: any."""
    spf: str | None = None
    dmarc: str | None = None
    arc: str | None = None
    key: Any = field(default_factory=lambda: KEY, repr=False)
    dns: dict[str, Any] = field(default_factory=dict, repr=False)
    sender: str = "ann@src.example"
    helo: str = "h.example"
    refused: bool = False
    """Refused before any judgement."""


def many_fields(count: int) -> bytes:
    return b"".join(b"X-H%d: v\r\n" % number for number in range(count))


MESSAGES = [
    *(
        Attack(f"a key of {bits} bits with e of {e} bits", key={"TXT": [rsa_record(bits, e)]}, dkim=(word,))
        for bits, e, word in (
            (2048, 17, "fail"),
            (8192, 17, "fail"),
            (4096, 4096, "permerror"),
            (8192, 8192, "policy"),
            (16384, 16384, "policy"),
        )
    ),
    Attack("64 kB of key record", key={"TXT": ["v=DKIM1; n=" + "x" * 64_000 + "; p=" + p_tag(rsa_key())]}, dkim=None),
    Attack("40 key records", key={"TXT": [rsa_record(2048, 17 + n) for n in range(40)]}, dkim=("fail",)),
    Attack("1,000 signatures", GOOD[: -len(MESSAGE)] * 1000 + MESSAGE, dkim=("pass",) * 8 + ("policy",) * 24),
    Attack(
        "1,000 signatures of 1,000 lengths",
        b"".join(head(f"h=from; {HASH}; l={n}; b=AAAA")[: -len(MESSAGE)] for n in range(1000)) + MESSAGE,
        dkim=None,
    ),
    *(
        Attack(
            f"{size} octets of {what} in b=", head(f"h=from; {HASH}; b=A{blank * (size // len(blank))}!"), dkim=(word,)
        )
        for what, blank in (("blanks", " "), ("folds", "\r\n "))
        for size, word in ((2000, "permerror"), (7500, "permerror"), (25_000, "permerror"))
    ),
    Attack("60,000 blanks in b=", head(f"h=from; {HASH}; b=A{' ' * 60_000}!"), dkim=("permerror",)),
    Attack("20,000 folds in b=", head(f"h=from; {HASH}; b=A" + "\r\n " * 20_000 + "!"), dkim=("permerror",)),
    Attack(
        "folds before b=", head(f"h=from; {HASH}; b{chr(13)}{chr(10)} " + "\r\n " * 2000 + "z=1; b=AAAA"), dkim=None
    ),
    Attack("5,000 names in h=", head("h=from" + ":a" * 5000 + f"; {HASH}; b=AAAA"), dkim=("fail",)),
    Attack("3,900 names in h=", head("h=from" + ":a" * 3900 + f"; {HASH}; b=AAAA"), dkim=("fail",)),
    Attack(
        "3,900 times To in h=, and 3,000 of them",
        b"To: x\r\n" * 3000 + head("h=from" + ":to" * 2600 + f"; {HASH}; b=AAAA"),
        dkim=("fail",),
    ),
    *(
        Attack(f"5,000 digits in {tag}=", head(f"h=from; {HASH}; {tag}={'9' * 5000}; b=AAAA"), dkim=(word,))
        for tag, word in (("t", "fail"), ("x", "fail"), ("l", "permerror"))
    ),
    Attack("9,000 fields", many_fields(9000) + sign(), dkim=("pass",)),
    Attack("20,000 fields", many_fields(20_000) + sign(), refused=True),
    Attack("500 kB of one field", b"X: " + (b"x" * 100_000 + b"\r\n ") * 5 + b"x\r\n" + sign()),
    Attack("500 kB of folds", b"X:" + b" \r\n\t" * 9_000 + (b"x" * 92_000 + b"\r\n\t") * 5 + b"x\r\n" + sign()),
    Attack("500 kB of signature", head("h=from; b=" + ("A" * 100_000 + "\r\n ") * 5), dkim=("policy",)),
    Attack(
        "8 signatures over 460 kB",
        b"X: " + (b" x" * 46_000 + b"\r\n ") * 5 + b"x\r\n" + GOOD[: -len(MESSAGE)] * 8 + MESSAGE,
        dkim=("pass",) * 8,
    ),
    Attack(
        "8 broken signatures over 460 kB that fold at each octet",
        b"X: "
        + b"x\r\n " * 9_000
        + (b" " * 100_000 + b"x\r\n ") * 4
        + b"x\r\n"
        + head(f"h=from:x; {HASH}; b=AAAA")[: -len(MESSAGE)] * 8
        + MESSAGE,
        dkim=("fail",) * 8,
    ),
    Attack(
        "a From of 5,000 addresses",
        GOOD.replace(b"From: Ann", b"From: " + b"x@y.example, " * 5000 + b"Ann"),
        dkim=("fail",),
    ),
    Attack(
        "a From of 100,000 brackets",
        GOOD.replace(b"From: Ann", b"From: " + b"(" * 50_000 + b"<" * 50_000),
        dkim=("fail",),
    ),
    Attack("a From of 100 labels", GOOD.replace(b"ann@src", b"ann@" + b"a." * 100 + b"src"), dkim=("fail",)),
    Attack("50 sets of ARC and one more", chain(1).replace(b"i=1;", b"i=51;"), arc="fail", dkim=()),
    Attack("1,000 ARC seals", b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a; s=s; b=AAAA\r\n" * 1000 + GOOD, arc="fail"),
    Attack("an ARC set whose i= is far", chain(1).replace(b"i=1;", b"i" + b" " * 5000 + b"= 1;"), arc=None, dkim=()),
    Attack(
        "60 kB of comments in an AAR",
        chain(1).replace(b"Results: i=1", b"Results: " + b"(x)" * 20_000 + b"i=1"),
        dkim=(),
    ),
    # Input that makes dkimpy raise.
    Attack("a leading continuation line", b" x\r\n" + GOOD),
    Attack("a line without a colon", b"garbage line\r\n" + GOOD),
    Attack("a mailbox's From line", b"From x\r\n" + GOOD),
    Attack("an 8-bit field name", b"X-\xff: y\r\n" + GOOD),
    Attack("a blank before the colon", b"X-Foo : y\r\n" + GOOD),
    Attack("an 8-bit i=", GOOD.replace(b"d=src", b"i=@\xff.src.example; d=src"), dkim=("permerror",)),
    Attack("no s=", GOOD.replace(b"s=s;", b""), dkim=("permerror",)),
    Attack("no header at all", b"\r\nx\r\n", dkim=()),
    Attack("nothing at all", b"", dkim=()),
    Attack("a header that never ends", GOOD[: -len(MESSAGE)] + b"From: ann@src.example\r\n", dkim=("fail",)),
]


def spf(record: str) -> dict[str, Any]:
    return {"src.example": {"TXT": [record]}}


LONG = ".".join(["a" * 60] * 5)
RECORDS = [
    Attack(
        "includes that go round",
        dns=spf("v=spf1 include:two.example -all") | {"two.example": {"TXT": ["v=spf1 include:src.example -all"]}},
        spf="permerror",
    ),
    Attack(
        "30 includes deep",
        dns=spf("v=spf1 include:i0.example")
        | {f"i{n}.example": {"TXT": [f"v=spf1 include:i{n + 1}.example"]} for n in range(30)},
        spf="permerror",
    ),
    Attack("redirects that go round", dns=spf("v=spf1 redirect=src.example"), spf="permerror"),
    Attack(
        "a thousand includes", dns=spf("v=spf1 " + " ".join(f"include:i{n}.x" for n in range(1000))), spf="permerror"
    ),
    Attack(
        "3,000 networks",
        dns=spf("v=spf1 " + " ".join(f"ip4:10.{n // 250}.{n % 250}.0/24" for n in range(3000)) + " -all"),
        spf="permerror",
    ),
    Attack("64 kB of TXT", dns=spf("v=spf1 " + "x" * 64_000), spf="permerror"),
    Attack("64 kB of other TXT", dns=spf("x" * 64_000), spf="none"),
    Attack("300 other records", dns={"src.example": {"TXT": ["x" * 100 + str(n) for n in range(300)]}}, spf="none"),
    Attack(
        "twelve names that do not exist",
        dns=spf("v=spf1 " + " ".join(f"a:h{n}.example" for n in range(12)) + " -all"),
        spf="permerror",
    ),
    Attack("a name of 304 octets", dns=spf(f"v=spf1 a:{LONG} -all"), spf="permerror"),
    Attack("a label of 64 octets", dns=spf(f"v=spf1 a:{'a' * 64}.example ip4:203.0.113.7 -all"), spf=None),
    Attack("macros that grow", dns=spf("v=spf1 exists:" + "%{d}." * 50 + "x.example -all"), spf=None),
    Attack(
        "a thousand percent signs", dns=spf("v=spf1 exists:" + "%" * 200 + ".example " * 5 + "-all"), spf="permerror"
    ),
    Attack("a term of dots", dns=spf("v=spf1 a:" + "a." * 3000 + " -all"), spf="permerror"),
    Attack("two records", dns={"src.example": {"TXT": ["v=spf1 -all", "v=spf1 +all"]}}, spf="permerror"),
    Attack(
        "an explanation that injects",
        dns=spf("v=spf1 -all exp=e.example") | {"e.example": {"TXT": ["a\r\n550 b"]}},
        spf="fail",
    ),
    Attack(
        "aliases that go round",
        dns={"src.example": {"CNAME": ["b.example."]}, "b.example": {"CNAME": ["src.example."]}},
        spf="temperror",
    ),
    Attack(
        "a chain of 400 aliases",
        dns={"src.example": {"CNAME": ["c0.example."]}}
        | {f"c{n}.example": {"CNAME": [f"c{n + 1}.example."]} for n in range(400)},
        spf="temperror",
    ),
    Attack(
        "30 names for one address",
        dns=spf("v=spf1 ptr -all") | {"7.113.0.203.in-addr.arpa": {"PTR": [f"h{n}.src.example" for n in range(30)]}},
        spf=None,
    ),
    Attack(
        "40 mail exchangers",
        dns={"src.example": {"TXT": ["v=spf1 mx -all"], "MX": [f"1 m{n}.example" for n in range(40)]}},
        spf="permerror",
    ),
    Attack(
        "a black hole",
        key="TIMEOUT",
        dns={"src.example": "TIMEOUT", "_dmarc.src.example": "TIMEOUT"},
        spf="temperror",
        dkim=("temperror",),
        dmarc="temperror",
    ),
    Attack("a failing server", dns={"src.example": "SERVFAIL"}, spf="temperror"),
    Attack(
        "a sender of 64 octets",
        sender="a" * 64 + "@src.example",
        dns=spf("v=spf1 exists:%{l}.src.example -all"),
        spf="fail",
    ),
    Attack("an 8-bit sender", sender="\u00e9@src.example", dns=spf("v=spf1 exists:%{l}.src.example -all"), spf="fail"),
    Attack("a quoted sender", sender='"a@b"@src.example', dns=spf("v=spf1 ip4:203.0.113.7 -all"), spf="pass"),
    Attack("a literal as domain", sender="x@[192.0.2.1]", spf="none"),
    Attack("one label as domain", sender="x@localhost", spf="none"),
    Attack("a HELO of 500 octets", sender="", helo="h." * 250 + "example", spf="none"),
    Attack(
        "64 kB of DMARC record",
        dns={"_dmarc.src.example": {"TXT": ["v=DMARC1; p=reject; x=" + "y" * 64_000]}},
        dmarc=None,
    ),
    Attack(
        "300 DMARC records",
        dns={"_dmarc.src.example": {"TXT": [f"v=DMARC1; p=reject; n={n}" for n in range(300)]}},
        dmarc=None,
    ),
    Attack("DMARC aliases that go round", dns={"_dmarc.src.example": {"CNAME": ["_dmarc.src.example."]}}, dmarc=None),
]


class Names:
    """A DnsServer on a loop and thread of its own, so that its work does not count as the gateway's."""

    def __init__(self) -> None:
        self.zone: dict[str, Any] = {}
        self.address = ""
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.server = DnsServer({})
        async with self.server:
            self.address = self.server.address
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Names:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def load(self, zone: dict[str, Any]) -> None:
        """Answer from this zone alone."""
        self.server.load(zone)


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    with Names() as names:
        yield names


@pytest.fixture(scope="module")
def law() -> RuntimeConfig:
    return make_runtime(make_config([ALICE]))


@dataclass
class Stall:
    """The longest block of the loop, in CPU seconds of its thread: other load does not count."""

    worst: float = 0.0


@contextlib.asynccontextmanager
async def probe() -> AsyncIterator[Stall]:
    stall = Stall()

    async def watch() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            stall.worst, last = max(stall.worst, now - last), now

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.001)
    stall.worst = 0.0
    try:
        yield stall
    finally:
        task.cancel()


async def receive(attack: Attack, names: Names, law: RuntimeConfig) -> tuple[Trace, float, float]:
    """The trace, CPU seconds taken, and the worst stall."""
    names.load(
        {"s._domainkey.src.example": attack.key, "_dmarc.src.example": {"TXT": ["v=DMARC1; p=none"]}} | attack.dns
    )
    resolver = open_resolver([names.address], 0.4, time.monotonic)
    delivered = Delivered(
        IPText("203.0.113.7"),
        attack.helo,
        mailbox(attack.sender) if attack.sender else None,
        (ALICE,),
        attack.message,
        NOW,
    )
    async with probe() as stall:
        began = time.monotonic()
        rehearsed = await rehearse(delivered, law, resolver)
        seconds = time.monotonic() - began
    await resolver.close()
    return rehearsed.trace, seconds, stall.worst


async def test_the_probe_sees_a_loop_that_is_held() -> None:
    async with probe() as stall:
        await asyncio.sleep(0.01)
        until = time.thread_time() + MOST_STALL
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.01)
    assert stall.worst >= MOST_STALL


@pytest.mark.parametrize("attack", [*MESSAGES, *RECORDS], ids=lambda attack: attack.name)
async def test_attack(attack: Attack, names: Names, law: RuntimeConfig) -> None:
    trace, seconds, stall = await receive(attack, names, law)
    results = trace.authentication
    if attack.refused:
        assert results is None
        assert trace.decision.reply.code >= 500
    else:
        assert results is not None, trace.decision
        if attack.dkim is not None:
            assert tuple(one.result.value for one in results.dkim)[: len(attack.dkim) or None] == attack.dkim, (
                results.dkim[:3]
            )
        assert attack.spf in (None, results.spf.result.value), results.spf
        assert attack.dmarc in (None, results.dmarc.result.value), results.dmarc
        assert attack.arc in (None, results.arc.result.value), results.arc
    assert seconds < MOST_SECONDS
    assert stall < MOST_STALL


async def test_a_black_hole_delays_no_other_message(names: Names, law: RuntimeConfig) -> None:
    """Both wait for the same resolver; one asks names that never answer."""
    good = {"s._domainkey.src.example": KEY, "src.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]}}
    names.load(good | {"hole.example": "TIMEOUT", "_dmarc.hole.example": "TIMEOUT"})
    resolver = open_resolver([names.address], 5.0, time.monotonic)
    into_the_hole = Delivered(IPText("203.0.113.7"), "hole.example", mailbox("x@hole.example"), (ALICE,), MESSAGE, NOW)
    waiting = [asyncio.create_task(rehearse(into_the_hole, law, resolver)) for _ in range(50)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    sound = Delivered(IPText("203.0.113.7"), "h.example", mailbox("ann@src.example"), (ALICE,), GOOD, NOW)
    trace = (await rehearse(sound, law, resolver)).trace
    assert time.monotonic() - began < MOST_SECONDS
    assert trace.authentication is not None
    assert trace.authentication.spf.result == "pass"
    assert not any(task.done() for task in waiting)
    await resolver.close()
    for done in await asyncio.gather(*waiting):
        assert done.trace.authentication is not None
        assert done.trace.authentication.spf.result == "temperror"


async def test_ten_megabytes_are_hashed_in_small_steps() -> None:
    """In chunks as the listener reads them, under eight signatures of both canonicalisations and several lengths."""
    forms = ("simple/simple", "relaxed/relaxed")
    tags = [f"c={form}; h=from; {HASH}; b=AAAA{length}" for form in forms for length in ("", "; l=1000", "; l=5000000")]
    header = b"".join(head(tag)[: -len(MESSAGE)] for tag in tags) + MESSAGE
    collector = Collector(FakeSpool(SystemClock()), 512 * 1024)
    line = b"The quick  brown fox\tjumps over the lazy dog, and then  some more of it.  \r\n"
    octets = header + line * (10_000_000 // len(line))
    async with probe() as stall:
        for start in range(0, len(octets), 65_536):
            await collector.take(octets[start : start + 65_536])
            await asyncio.sleep(0)
        message = await collector.finish()
    collector.discard()
    assert len(message.evidence.digests) == 6
    assert stall.worst < MOST_STALL
