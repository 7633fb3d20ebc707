"""The properties of a resolver on a network: caches, retries, single flight, limits, the wire."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.rcode
import pytest
import uvloop

from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.value import replace
from gateway.net.resolver import DnsResolver
from tests.support.dnsserver import DnsServer
from tests.support.listening import until
from tests.support.resolving import open_resolver

ZONE: dict[str, Any] = {
    "corp.example": {"TXT": ["v=spf1 -all"]},
    "mx1.corp.example": {"A": ["192.0.2.1", "192.0.2.2"]},
    "huge.example": {"TXT": ["y" * 5000]},
    "alias.example": {"CNAME": ["second.example."]},
    "second.example": {"CNAME": ["mx1.corp.example."]},
    "dangling.example": {"CNAME": ["gone.example."]},
    "loop.example": {"CNAME": ["pool.example."]},
    "pool.example": {"CNAME": ["loop.example."]},
    "slow.example": "TIMEOUT",
    "broken.example": {"A": "SERVFAIL"},
}


def _found(*records: str) -> Answer:
    return Answer(DnsStatus.FOUND, records)


def _sorted(answer: Answer) -> Answer:
    """A nameserver gives records in any order."""
    return replace(answer, records=tuple(sorted(answer.records)))


MX1 = _found("192.0.2.1", "192.0.2.2")


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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
        resolver = open_resolver([server.address], 0.2, clock)
        await _ask(resolver, name)
        asked = len(server.asked)
        clock.now += seconds - 0.5
        assert resolver.known(Question(name, "A")) is not None
        await _ask(resolver, name)
        assert len(server.asked) == asked
        clock.now += 1
        assert resolver.known(Question(name, "A")) is None


# --- lookups under way


async def test_one_lookup_for_many_askers() -> None:
    async with DnsServer(ZONE, delay=lambda _: 0.05) as server:
        resolver = open_resolver([server.address], 1, time.monotonic)
        answers = await asyncio.gather(*(_ask(resolver, "mx1.corp.example") for _ in range(50)))
        assert {_sorted(answer) for answer in answers} == {MX1}
        assert server.asked == [("mx1.corp.example", "A", "udp")]


async def test_a_lookup_goes_on_while_somebody_waits_for_it() -> None:
    async with DnsServer(ZONE, delay=lambda _: 0.1) as server:
        resolver = open_resolver([server.address], 1, time.monotonic)
        other = asyncio.create_task(_ask(resolver, "mx1.corp.example"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_ask(resolver, "mx1.corp.example"), 0.02)
        assert (await other).status is DnsStatus.FOUND
        assert len(server.asked) == 1


async def test_a_lookup_ends_when_nobody_waits_for_it() -> None:
    async with DnsServer(ZONE) as server:
        resolver = open_resolver([server.address], 30, time.monotonic)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_ask(resolver, "slow.example"), 0.05)
        await asyncio.sleep(0.01)
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert resolver.known(Question("slow.example", "A")) is None


async def test_a_slow_domain_delays_no_other() -> None:
    async with DnsServer(ZONE, delay=lambda name: 5.0 if name.endswith("slow.test") else 0.0) as server:
        resolver = open_resolver([server.address], 2, time.monotonic)
        slow = asyncio.create_task(resolver.fetch([Question(f"n{number}.slow.test", "A") for number in range(200)]))

        def count_asked() -> int:
            return sum(name.endswith("slow.test") for name, _, _ in server.asked)

        await until(lambda: count_asked() == 64)
        started = time.monotonic()
        assert (await _ask(resolver, "mx1.corp.example")).status is DnsStatus.FOUND
        assert time.monotonic() - started < 0.5
        assert count_asked() == 64
        slow.cancel()
        await resolver.close()


async def test_waiting_for_a_slot_is_bounded_and_not_cached() -> None:
    async with DnsServer({}, delay=lambda _: 0.25) as server:
        resolver = open_resolver([server.address], 0.2, time.monotonic)
        questions = [Question(f"n{number}.slow.test", "A") for number in range(300)]
        started = time.monotonic()
        answers = await resolver.fetch(questions)
        assert time.monotonic() - started < 2
        assert {answer.status for answer in answers.values()} == {DnsStatus.TIMEOUT}
        assert 0 < sum(resolver.known(question) is None for question in questions) < 300


async def test_close_ends_what_is_under_way() -> None:
    async with DnsServer(ZONE) as server:
        resolver = open_resolver([server.address], 30, time.monotonic)
        asking = asyncio.create_task(_ask(resolver, "slow.example"))
        await asyncio.sleep(0.02)
        await resolver.close()
        async with asyncio.timeout(1):
            assert (await asking).status is DnsStatus.SERVFAIL
        await resolver.close()


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.005])
def test_a_lookup_that_is_cancelled_leaves_no_socket(seconds: float) -> None:
    async def cancel_many() -> int:
        before = len(os.listdir("/proc/self/fd"))
        with _silent_port() as port:
            resolver = open_resolver([f"127.0.0.1:{port}"], 5, time.monotonic)
            for number in range(20):
                asking = asyncio.create_task(_ask(resolver, f"h{number}.test"))
                await asyncio.sleep(seconds)
                asking.cancel()
            await resolver.close()
            await asyncio.sleep(0.1)
        return len(os.listdir("/proc/self/fd")) - before

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))
        assert runner.run(cancel_many()) <= 0


# --- the wire


async def test_the_query_has_edns_ad_and_no_search_list() -> None:
    async with DnsServer({}) as server:
        await _ask(open_resolver([server.address], 1, time.monotonic), "short")
        (query,) = server.queries
        assert server.asked == [("short", "A", "udp")]
        assert (query.edns, query.payload) == (0, 1232)
        assert query.flags & dns.flags.AD
        assert query.flags & dns.flags.RD


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_a_server_without_edns_is_asked_without(code: dns.rcode.Rcode) -> None:
    async with DnsServer(ZONE, refuses_edns=code) as server:
        assert _sorted(await _ask(open_resolver([server.address], 1, time.monotonic), "mx1.corp.example")) == MX1
        assert [query.edns for query in server.queries] == [0, -1]


async def test_long_answers_come_by_tcp() -> None:
    async with DnsServer(ZONE) as server:
        answer = await _ask(open_resolver([server.address], 1, time.monotonic), "huge.example", "TXT")
        assert answer == _found("y" * 5000)
        assert [transport for _, _, transport in server.asked] == ["udp", "tcp"]


@pytest.mark.parametrize("authentic", [True, False])
@pytest.mark.parametrize("name", ["mx1.corp.example", "nothing.test"])
async def test_the_authentic_bit_is_kept(authentic: bool, name: str) -> None:
    async with DnsServer(ZONE, authentic=authentic) as server:
        assert (await _ask(open_resolver([server.address], 1, time.monotonic), name)).authentic is authentic


async def test_a_chain_that_comes_in_parts_is_followed() -> None:
    async with DnsServer(ZONE, whole_chains=False) as server:
        resolver = open_resolver([server.address], 2, time.monotonic)
        assert _sorted(await _ask(resolver, "alias.example")) == MX1
        assert await _ask(resolver, "dangling.example") == Answer(DnsStatus.NODATA)
        assert await _ask(resolver, "loop.example") == Answer(DnsStatus.SERVFAIL)
        assert server.count("loop.example") + server.count("pool.example") < 12


async def test_the_next_server_is_asked() -> None:
    async with DnsServer({"mx1.corp.example": "SERVFAIL"}) as bad, DnsServer(ZONE) as good:
        resolver = open_resolver([bad.address, good.address], 2, time.monotonic)
        assert (await _ask(resolver, "mx1.corp.example")).status is DnsStatus.FOUND
        assert bad.asked
    with _silent_port() as port:
        async with DnsServer(ZONE) as good:
            resolver = open_resolver([f"127.0.0.1:{port}", good.address], 0.6, time.monotonic)
            assert (await _ask(resolver, "mx1.corp.example")).status is DnsStatus.FOUND


async def test_a_lost_packet_is_sent_again() -> None:
    lost = [True]

    def delay(_: str) -> float:
        return 60.0 if lost.pop() else 0.0

    lost.insert(0, False)
    async with DnsServer(ZONE, delay=delay) as server:
        assert (
            await _ask(open_resolver([server.address], 0.6, time.monotonic), "mx1.corp.example")
        ).status is DnsStatus.FOUND
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
        assert (await _ask(open_resolver([server.address], 0.2, time.monotonic), "mx1.corp.example")).failed


async def test_unknown_types_are_answers_too() -> None:
    async with DnsServer(ZONE) as server:
        assert not (
            await _ask(open_resolver([server.address], 1, time.monotonic), "mx1.corp.example", "NONSENSE")
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
    assert [one.address for one in open_resolver([text], 1, time.monotonic)._servers] == [server]


@pytest.mark.parametrize("text", ["resolver.example", "192.0.2.1:dns", "", "[::1", "[::1]53", "192.0.2.1:", "x:53"])
def test_nameservers_are_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="nameserver"):
        open_resolver([text], 1, time.monotonic)


def test_without_nameservers_those_of_the_system_are_asked() -> None:
    assert open_resolver([], 1, time.monotonic)._servers
