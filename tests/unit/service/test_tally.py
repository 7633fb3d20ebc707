"""Counts over all workers: exact, gone with their worker, and of bounded size."""

from __future__ import annotations

import os

from gateway.config.edge import Limits
from gateway.model.address import IPText
from gateway.service.flow import Flow
from gateway.service.inquiry import Budget
from gateway.service.listener import Census
from gateway.service.tally import SharedCounts


def test_each_worker_sees_the_sum() -> None:
    counts = SharedCounts(3)
    tallies = [counts.tally(worker) for worker in range(3)]
    assert [tally.add("key", number) for tally, number in zip(tallies, (1, 5, 2), strict=True)] == [1, 6, 8]
    assert tallies[0].add("key", -1) == 7
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
    # Two rows: at most a handful of them share both places with others.
    assert sum(tally.total(key) != 1 for key in keys) <= 10
    assert all(tally.total(key) >= 1 for key in keys)


def test_connections_are_counted_over_all_workers() -> None:
    counts = SharedCounts(2)
    limits = Limits(connections=3, connections_per_address=2)
    one, other = (Census(limits, counts.tally(worker)) for worker in range(2))
    client = IPText("192.0.2.1")
    assert [one.admit(client), other.admit(client), other.admit(client)] == [True, True, False]
    assert [one.arrive(), other.arrive(), one.arrive(), other.arrive()] == [True, True, True, False]
    one.depart()
    other.depart()
    assert other.arrive()


def test_next_connection_is_for_who_has_fewer() -> None:
    counts = SharedCounts(2)
    one, other = (Census(Limits(), counts.tally(worker)) for worker in range(2))
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
    one, other = Flow(counts.tally(0)), Flow(counts.tally(1))
    one.add(5_000_000)
    other.add(300)
    assert one.octets() == 5_000_000
    assert 300 + 4_000_000 < other.octets() <= 300 + 5_000_000
    one.add(-5_000_000)
    assert other.octets() == 300
