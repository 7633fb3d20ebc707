"""One suite for ports.Resolver: lookups over real packets and lookups in a zone answer alike.

Below it, what only a resolver on a network has: caches, retries, single flight, bounds.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import dns.flags
import pytest

from gateway.model.dnsdata import Answer, Question, Status
from gateway.net.answers import AnswerCache, LookupSlots
from gateway.net.resolver import DnsResolver, ZoneResolver
from gateway.net.zone import build_zone
from gateway.ports import Resolver
from tests.dnsserver import DnsServer

ZONE: dict[str, Any] = {
    "Corp.Example.": {"TXT": ["v=spf1 -all", "second"], "MX": ["10 MX1.Corp.Example.", "20 mx2.corp.example"]},
    "mx1.corp.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:DB8::1"]},
    "null.example": {"MX": ["0 ."]},
    "long.example": {"TXT": ["x" * 600 + "é"]},
    "huge.example": {"TXT": ["y" * 5000]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["MX1.corp.example."]},
    "_25._tcp.mx1.corp.example": {"TLSA": ["3 1 1 " + "ab" * 32]},
    "ns.example": {"NS": ["A.ns.example."], "SRV": ["1 2 25 A.ns.example."], "CAA": ['0 issue "ca.example"']},
    "alias.example": {"CNAME": ["Second.example."]},
    "second.example": {"CNAME": ["mx1.corp.example."]},
    "dangling.example": {"CNAME": ["gone.example."]},
    "loop.example": {"CNAME": ["pool.example."]},
    "pool.example": {"CNAME": ["loop.example."]},
    "a.b.c.example": {"A": ["192.0.2.9"]},
    "slow.example": "TIMEOUT",
    "broken.example": {"A": "SERVFAIL", "TXT": ["fine"]},
    "foo:bar/b az!.example": {"A": ["192.0.2.7"]},
}


def _found(*records: str) -> Answer:
    return Answer(Status.FOUND, records)


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["dns", "zone"])
async def resolver(request: pytest.FixtureRequest) -> AsyncIterator[Resolver]:
    if request.param == "zone":
        yield ZoneResolver(build_zone(ZONE))
        return
    async with DnsServer(ZONE) as server:
        yield DnsResolver([server.address], 0.4, time.monotonic)


@pytest.mark.parametrize(
    ("name", "type", "answer"),
    [
        ("corp.example", "TXT", _found("v=spf1 -all", "second")),
        ("CORP.EXAMPLE", "TXT", _found("v=spf1 -all", "second")),
        ("corp.example", "MX", _found("10 mx1.corp.example", "20 mx2.corp.example")),
        ("mx1.corp.example", "A", _found("192.0.2.1", "192.0.2.2")),
        ("mx1.corp.example", "AAAA", _found("2001:db8::1")),
        ("null.example", "MX", _found("0 .")),
        ("long.example", "TXT", _found("x" * 600 + "é".encode().decode("latin-1"))),
        ("huge.example", "TXT", _found("y" * 5000)),
        ("1.2.0.192.in-addr.arpa", "PTR", _found("mx1.corp.example")),
        ("_25._tcp.mx1.corp.example", "TLSA", _found("3 1 1 " + "ab" * 32)),
        ("ns.example", "NS", _found("a.ns.example")),
        ("ns.example", "SRV", _found("1 2 25 a.ns.example")),
        ("ns.example", "CAA", _found('0 issue "ca.example"')),
        ("alias.example", "A", _found("192.0.2.1", "192.0.2.2")),
        ("alias.example", "CNAME", _found("second.example")),
        ("alias.example", "TXT", Answer(Status.NODATA)),
        ("dangling.example", "A", Answer(Status.NODATA)),
        ("loop.example", "A", Answer(Status.SERVFAIL)),
        ("corp.example", "AAAA", Answer(Status.NODATA)),
        ("b.c.example", "A", Answer(Status.NODATA)),
        ("x.b.c.example", "A", Answer(Status.NXDOMAIN)),
        ("nothing.test", "TXT", Answer(Status.NXDOMAIN)),
        ("slow.example", "A", Answer(Status.TIMEOUT)),
        ("broken.example", "A", Answer(Status.SERVFAIL)),
        ("broken.example", "TXT", _found("fine")),
        ("foo:bar/b az!.example", "A", _found("192.0.2.7")),
    ],
)
async def test_answers(resolver: Resolver, name: str, type: str, answer: Answer) -> None:
    question = Question(name, type)
    got = (await resolver.fetch([question]))[question]
    assert Answer(got.status, tuple(sorted(got.records))) == Answer(answer.status, tuple(sorted(answer.records)))
    assert resolver.known(question) == got


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "a" * 64 + ".example", "a." * 130 + "example", "é.example", "\udcff.x"]
)
async def test_what_is_no_name_is_nxdomain(resolver: Resolver, name: str) -> None:
    question = Question(name, "TXT")
    assert (await resolver.fetch([question]))[question].status is Status.NXDOMAIN


async def test_every_question_gets_its_answer(resolver: Resolver) -> None:
    questions = [Question(name, type) for name in ZONE for type in ("A", "TXT", "MX")]
    answers = await resolver.fetch(questions)
    assert answers.keys() == set(questions)
    assert await resolver.fetch([]) == {}


# --- the cache


async def _ask(resolver: DnsResolver, name: str, type: str = "A") -> Answer:
    question = Question(name, type)
    return (await resolver.fetch([question]))[question]


@pytest.mark.parametrize(
    ("ttl", "soa_minimum", "name", "seconds"),
    [
        (300, None, "mx1.corp.example", 300),
        (0, None, "mx1.corp.example", 1),
        (10_000_000, None, "mx1.corp.example", 86_400),
        (300, 60, "nothing.test", 60),
        (300, 60, "corp.example", 60),
        (300, 100_000, "nothing.test", 3600),
        (300, None, "nothing.test", 300),
        (300, None, "corp.example", 300),
        (300, None, "broken.example", 5),
        (300, None, "slow.example", 5),
        (300, None, "a..b", 300),
    ],
)
async def test_how_long_answers_are_kept(ttl: int, soa_minimum: int | None, name: str, seconds: int) -> None:
    clock = Clock()
    async with DnsServer(ZONE, ttl=ttl, soa_minimum=soa_minimum) as server:
        resolver = DnsResolver([server.address], 0.2, clock)
        await _ask(resolver, name)
        asked = len(server.asked)
        clock.now += seconds - 0.5
        assert resolver.known(Question(name, "A")) is not None
        await _ask(resolver, name)
        assert len(server.asked) == asked
        clock.now += 1
        assert resolver.known(Question(name, "A")) is None


def test_cache_drops_the_least_recently_used() -> None:
    cache = AnswerCache(Clock(), most=3)
    one, two, three, four = (Question(f"{word}.example", "A") for word in ("one", "two", "three", "four"))
    for question in (one, two, three):
        cache.put(question, _found("192.0.2.1"), 60)
    cache.get(one)
    cache.put(four, _found("192.0.2.1"), 60)
    assert [cache.get(question) is not None for question in (one, two, three, four)] == [True, False, True, True]


def test_cache_is_bounded_in_octets() -> None:
    cache = AnswerCache(Clock(), octets=100_000)
    questions = [Question(f"n{number}.example", "TXT") for number in range(100)]
    for question in questions * 2:
        cache.put(question, _found("x" * 10_000), 60)
    kept = [question for question in questions if cache.get(question)]
    assert kept == questions[-len(kept) :]
    assert 5 <= len(kept) <= 10


# --- lookups under way


async def test_one_lookup_for_many_askers() -> None:
    async with DnsServer(ZONE, delay=lambda _: 0.05) as server:
        resolver = DnsResolver([server.address], 1, time.monotonic)
        answers = await asyncio.gather(*(_ask(resolver, "mx1.corp.example") for _ in range(50)))
        assert set(answers) == {_found("192.0.2.1", "192.0.2.2")}
        assert server.asked == [("mx1.corp.example", "A", "udp")]


async def test_a_lookup_goes_on_when_its_asker_has_gone() -> None:
    async with DnsServer(ZONE, delay=lambda _: 0.1) as server:
        resolver = DnsResolver([server.address], 1, time.monotonic)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_ask(resolver, "mx1.corp.example"), 0.02)
        await asyncio.sleep(0.2)
        assert resolver.known(Question("mx1.corp.example", "A")) == _found("192.0.2.1", "192.0.2.2")
        assert len(server.asked) == 1


async def test_a_slow_domain_delays_no_other() -> None:
    async with DnsServer(ZONE, delay=lambda name: 5.0 if name.endswith("slow.test") else 0.0) as server:
        resolver = DnsResolver([server.address], 2, time.monotonic)
        slow = asyncio.create_task(resolver.fetch([Question(f"n{number}.slow.test", "A") for number in range(200)]))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        assert (await _ask(resolver, "mx1.corp.example")).status is Status.FOUND
        assert time.monotonic() - started < 0.5
        assert sum(name.endswith("slow.test") for name, _, _ in server.asked) == 64
        slow.cancel()
        await resolver.close()


async def test_waiting_for_a_slot_is_bounded_and_not_cached() -> None:
    async with DnsServer({}, delay=lambda _: 0.25) as server:
        resolver = DnsResolver([server.address], 0.2, time.monotonic)
        questions = [Question(f"n{number}.slow.test", "A") for number in range(300)]
        started = time.monotonic()
        answers = await resolver.fetch(questions)
        assert time.monotonic() - started < 2
        assert {answer.status for answer in answers.values()} == {Status.TIMEOUT}
        assert 0 < sum(resolver.known(question) is None for question in questions) < 300


async def test_slots_are_given_back() -> None:
    slots = LookupSlots(2, 1)
    order: list[str] = []

    async def use(name: str) -> None:
        async with slots.take(name):
            order.append(name)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(2):
        await asyncio.gather(*(use(name) for name in ("a.one.test", "b.one.test", "c.two.test", "d.three.test")))
    assert order.index("b.one.test") > order.index("c.two.test")
    assert slots._shares == {}


async def test_close_ends_what_is_under_way() -> None:
    async with DnsServer(ZONE) as server:
        resolver = DnsResolver([server.address], 30, time.monotonic)
        asking = asyncio.create_task(_ask(resolver, "slow.example"))
        await asyncio.sleep(0.02)
        await resolver.close()
        async with asyncio.timeout(1):
            assert (await asking).status is Status.SERVFAIL
        await resolver.close()


# --- the wire


async def test_the_query_has_edns_ad_and_no_search_list() -> None:
    async with DnsServer({}) as server:
        await _ask(DnsResolver([server.address], 1, time.monotonic), "short")
        (query,) = server.queries
        assert server.asked == [("short", "A", "udp")]
        assert (query.edns, query.payload) == (0, 1232)
        assert query.flags & dns.flags.AD
        assert query.flags & dns.flags.RD


async def test_long_answers_come_by_tcp() -> None:
    async with DnsServer(ZONE) as server:
        answer = await _ask(DnsResolver([server.address], 1, time.monotonic), "huge.example", "TXT")
        assert answer == _found("y" * 5000)
        assert [transport for _, _, transport in server.asked] == ["udp", "tcp"]


@pytest.mark.parametrize("authentic", [True, False])
@pytest.mark.parametrize("name", ["mx1.corp.example", "nothing.test"])
async def test_the_authentic_bit_is_kept(authentic: bool, name: str) -> None:
    async with DnsServer(ZONE, authentic=authentic) as server:
        assert (await _ask(DnsResolver([server.address], 1, time.monotonic), name)).authentic is authentic


async def test_a_chain_that_comes_in_parts_is_followed() -> None:
    async with DnsServer(ZONE, whole_chains=False) as server:
        resolver = DnsResolver([server.address], 2, time.monotonic)
        assert await _ask(resolver, "alias.example") == _found("192.0.2.1", "192.0.2.2")
        assert await _ask(resolver, "dangling.example") == Answer(Status.NODATA)
        assert await _ask(resolver, "loop.example") == Answer(Status.SERVFAIL)
        assert server.count("loop.example") + server.count("pool.example") < 12


async def test_the_next_server_is_asked() -> None:
    async with DnsServer({"mx1.corp.example": "SERVFAIL"}) as bad, DnsServer(ZONE) as good:
        resolver = DnsResolver([bad.address, good.address], 2, time.monotonic)
        assert (await _ask(resolver, "mx1.corp.example")).status is Status.FOUND
        assert bad.asked
    with _silent_port() as port:
        async with DnsServer(ZONE) as good:
            resolver = DnsResolver([f"127.0.0.1:{port}", good.address], 0.6, time.monotonic)
            assert (await _ask(resolver, "mx1.corp.example")).status is Status.FOUND


async def test_a_lost_packet_is_sent_again() -> None:
    lost = [True]

    def delay(_: str) -> float:
        return 60.0 if lost.pop() else 0.0

    lost.insert(0, False)
    async with DnsServer(ZONE, delay=delay) as server:
        assert (
            await _ask(DnsResolver([server.address], 0.6, time.monotonic), "mx1.corp.example")
        ).status is Status.FOUND
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    "mangle",
    [
        lambda wire: b"",
        lambda wire: wire[:7],
        lambda wire: b"\xff\xff" + wire[2:],
        lambda wire: wire[:12] + b"\xc0\x0c" * 200,
        lambda wire: wire[:-3],
    ],
)
async def test_garbage_is_a_failure_and_never_an_exception(mangle: Any) -> None:
    async with DnsServer(ZONE, mangle=mangle) as server:
        assert (await _ask(DnsResolver([server.address], 0.2, time.monotonic), "mx1.corp.example")).failed


async def test_unknown_types_are_answers_too() -> None:
    async with DnsServer(ZONE) as server:
        assert not (
            await _ask(DnsResolver([server.address], 1, time.monotonic), "mx1.corp.example", "NONSENSE")
        ).records


@contextmanager
def _silent_port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# --- settings


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
    ],
)
def test_nameserver_settings(text: str, server: tuple[str, int]) -> None:
    assert DnsResolver([text], 1, time.monotonic)._servers == [server]


@pytest.mark.parametrize("text", ["resolver.example", "192.0.2.1:dns", "", "[::1"])
def test_nameservers_are_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="nameserver"):
        DnsResolver([text], 1, time.monotonic)


def test_without_nameservers_those_of_the_system_are_asked() -> None:
    assert DnsResolver([], 1, time.monotonic)._servers
