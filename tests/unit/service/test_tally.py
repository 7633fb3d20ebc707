"""Counts over all workers: exact, ended with their worker, and of bounded size."""

from __future__ import annotations

import os
from ipaddress import ip_network

from gateway.config.edge import Limits
from gateway.model.envelope import IPText
from gateway.service.inquiry import Budget
from gateway.service.listener import ConnectionLimits
from gateway.service.tally import Minute, OctetsInFlight, SharedCounts


def test_each_worker_sees_the_sum() -> None:
    counts = SharedCounts(3)
    tallies = [counts.tally(worker) for worker in range(3)]
    assert [tally.add("key", number) for tally, number in zip(tallies, (1, 5, 2), strict=True)] == [1, 6, 8]
    tallies[0].add("key", -1)
    assert [tally.total("key") for tally in tallies] == [7, 7, 7]
    assert tallies[1].total("other") == 0


def test_what_a_dead_worker_held_is_gone() -> None:
    counts = SharedCounts(2)
    dead, alive = counts.tally(0), counts.tally(1)
    dead.add("key", 5)
    alive.add("key", 1)
    counts.clear(0)
    assert alive.total("key") == 1
    assert counts.tally(0).add("key") == 2


def test_processes_share_them() -> None:
    counts = SharedCounts(2)
    child = os.fork()
    if not child:
        counts.tally(1).add("key", 3)
        os._exit(0)
    os.waitpid(child, 0)
    assert counts.tally(0).total("key") == 3


def test_many_keys_do_not_disturb_each_other() -> None:
    """As many clients as there may be connections, in a table of fixed size."""
    tally = SharedCounts().tally()
    keys = [f"connections 192.0.{number >> 8}.{number & 255}" for number in range(2000)]
    for key in keys:
        tally.add(key)
    assert all(tally.total(key) == 1 for key in keys)


def test_twenty_thousand_attackers_leave_the_others_their_counts() -> None:
    tally = SharedCounts().tally()
    for number in range(20_000):
        tally.add(f"recipients of 2001:db8:0:{number:x}::/64 in 1", 51)
    others = [f"connections 198.18.{number >> 8}.{number & 255}" for number in range(3000)]
    assert sum(tally.total(key) != 0 for key in others) <= 3


def test_connections_are_counted_over_all_workers() -> None:
    counts = SharedCounts(2)
    limits = Limits(connections=3, connections_per_address=2)
    one, other = (ConnectionLimits(limits, counts.tally(worker)) for worker in range(2))
    client = IPText("192.0.2.1")
    assert [one.admit(client), other.admit(client), other.admit(client)] == [True, True, False]
    assert [one.arrive(), other.arrive(), one.arrive(), other.arrive()] == [True, True, True, False]
    one.depart()
    other.depart()
    assert other.arrive()


def test_next_connection_is_for_who_has_fewer() -> None:
    counts = SharedCounts(2)
    one, other = (ConnectionLimits(Limits(), counts.tally(worker)) for worker in range(2))
    assert one.is_fair()
    one.arrive()
    assert (one.is_fair(), other.is_fair()) == (False, True)
    other.arrive()
    assert one.is_fair()
    # A dead worker is not waited for.
    one.arrive()
    counts.clear(1)
    assert one.is_fair()


def test_callouts_of_all_workers_are_within_the_budget() -> None:
    counts = SharedCounts(2)
    budgets = [Budget(per_client=3, per_backend=100, tally=counts.tally(worker)) for worker in range(2)]
    client = IPText("192.0.2.1")
    assert [budgets[turn % 2].take(client, "b", 10.0) for turn in range(4)] == [True, True, True, False]
    # The next minute, in which only one of them is asked.
    assert [budgets[0].take(client, "b", 70.0) for _ in range(4)] == [True, True, True, False]


def test_octets_in_flight_are_those_of_all_workers() -> None:
    counts = SharedCounts(2)
    one, other = OctetsInFlight(counts.tally(0)), OctetsInFlight(counts.tally(1))
    client, neighbour, stranger = (IPText(text) for text in ("2001:db8::1", "2001:db8::2", "192.0.2.1"))
    limits = Limits(bytes_in_flight=100_000_000, bytes_in_flight_per_client=20_000_000, message_size=1_000_000)
    one.add(5_000_000, client)
    other.add(300, stranger)
    assert (one.room(client, limits), one.room(stranger, limits)) == (15_000_000, 20_000_000)
    assert 15_000_000 - 300 < other.room(neighbour, limits) < 16_000_000, "of one network, in another worker"
    assert other.room(stranger, limits) == 20_000_000 - 300
    one.add(20_000_000, client)
    assert one.room(client, limits) < 0
    one.add(70_000_000, IPText("192.0.2.2"))
    assert one.room(stranger, limits) == 5_000_000, "of all together"
    for octets, who in ((-25_000_000, client), (-70_000_000, IPText("192.0.2.2"))):
        one.add(octets, who)
    assert one.room(client, limits) == 20_000_000
    assert one._clients == {}


def test_a_newcomer_finds_room_however_many_fill_it() -> None:
    flow, limits = OctetsInFlight(), Limits()
    for last in range(1, 9):
        client = IPText(f"192.0.2.{last}")
        while flow.room(client, limits) > 0:
            flow.add(min(1_048_576, flow.room(client, limits)), client)
    newcomer = IPText("198.51.100.1")
    assert flow.room(newcomer, limits) >= 1_048_576
    assert flow.room(IPText("192.0.2.1"), limits) < 0, "whoever holds more than is free gets no more"


def test_on_a_quiet_machine_a_client_has_its_whole_share() -> None:
    flow, limits = OctetsInFlight(), Limits()
    client = IPText("192.0.2.1")
    flow.add(limits.bytes_in_flight_per_client - 5, client)
    assert flow.room(client, limits) == 5


def test_one_message_may_always_come() -> None:
    limits = Limits(bytes_in_flight_per_client=10, message_size=1_000_000)
    assert OctetsInFlight().room(IPText("192.0.2.1"), limits) == 1_000_000


def test_a_minute_is_that_of_all_workers() -> None:
    counts = SharedCounts(2)
    one, other = Minute(counts.tally(0)), Minute(counts.tally(1))
    assert [one.add("x", 61.0), other.add("x", 62.0), one.add("x", 119.0), one.add("y", 119.0)] == [1, 2, 3, 1]
    assert one.add("x", 120.0) == 1
    assert other.add("x", 121.0) == 2
    one.take_back("x")
    assert other.add("x", 122.0) == 2


def test_connections_of_an_address_in_a_minute() -> None:
    counts = SharedCounts(2)
    time = [10.0]
    ours = [ip_network("198.51.100.0/24")]
    limits = Limits(connections_per_minute=2)
    one, other = (ConnectionLimits(limits, counts.tally(worker), ours, lambda: time[0]) for worker in range(2))
    client, relay = IPText("192.0.2.1"), IPText("198.51.100.7")
    assert [one.is_too_fast(client), other.is_too_fast(client), one.is_too_fast(client)] == [False, False, True]
    assert not one.is_too_fast(IPText("192.0.2.2"))
    assert [one.is_too_fast(relay) for _ in range(5)] == [False] * 5
    time[0] = 61.0
    assert not one.is_too_fast(client)
