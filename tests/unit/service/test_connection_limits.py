"""Limits on connections."""

from __future__ import annotations

from gateway.config.edge import Limits
from gateway.model.envelope import ip_text
from gateway.service.listener import ConnectionLimits
from gateway.service.listener.inflow import ClientPatience
from gateway.service.tally import OctetsInFlight, SharedCounts


def test_nothing_is_kept_of_clients_that_have_left() -> None:
    census = ConnectionLimits(Limits(connections=3, connections_per_address=1))
    addresses = [ip_text(f"192.0.2.{last}") for last in range(250)] + [
        ip_text(f"2001:db8::{last}") for last in range(9)
    ]
    for _ in range(2):
        for address in addresses:
            assert census.arrive()
            assert census.admit(address)
            census.release(address)
            census.depart()
    assert not any(census._tally.total(f"connections {address}") for address in addresses)
    assert census._tally.total("connections") == 0


def test_each_limit_is_its_own() -> None:
    census = ConnectionLimits(Limits(connections=1000, connections_per_address=2))
    one, other = ip_text("192.0.2.1"), ip_text("192.0.2.2")
    assert [census.admit(one), census.admit(one), census.admit(one)] == [True, True, False]
    assert census.admit(other)
    census.release(one)
    assert not census.admit(one)
    census.release(one)
    census.release(one)
    assert census.admit(one)


def test_networks_are_24_and_64() -> None:
    census = ConnectionLimits(Limits(connections_per_address=1, connections_per_network=10))
    assert all(census.admit(ip_text(f"192.0.2.{last}")) for last in range(10))
    assert not census.admit(ip_text("192.0.2.10"))
    assert census.admit(ip_text("192.0.3.10"))
    assert all(census.admit(ip_text(f"2001:db8:0:1::{last}")) for last in range(10))
    assert not census.admit(ip_text("2001:db8:0:1:ffff::"))
    assert census.admit(ip_text("2001:db8:0:2::1"))


def test_too_many_in_all() -> None:
    census = ConnectionLimits(Limits(connections=2))
    assert [census.arrive(), census.arrive(), census.arrive()] == [True, True, False]
    census.depart()
    census.depart()
    assert census.arrive()


def test_pressure_is_of_connections_and_of_octets() -> None:
    tally = SharedCounts().tally()
    census = ConnectionLimits(Limits(connections=4, bytes_in_flight=100 << 20), tally)
    assert census.pressure() == 0
    census.arrive()
    assert census.pressure() == 0.25
    OctetsInFlight(tally).add(60 << 20, ip_text("192.0.2.1"))
    assert census.pressure() == 0.6


class Slow:
    """A client that sends so many octets each second; the time at which it is cut off."""

    def __init__(self, pressure: float) -> None:
        self.now, self.pressure = 0.0, pressure
        self.patience = ClientPatience(lambda: self.now, 3600.0, lambda: self.pressure)

    def lasts(self, octets: int, seconds: int = 3000) -> float:
        """The time until it is cut off, at most so many seconds."""
        end, due = self.now + seconds, self.patience.content_due(180.0, 0)
        while self.now < end and self.now < due:
            self.now += 1
            due = self.patience.content_due(180.0, octets)
        return self.now


def test_a_quiet_machine_waits_for_slow_octets() -> None:
    assert Slow(0.49).lasts(1) == 3000
    assert Slow(0.49).patience.due(300.0) == 300.0


def test_slow_octets_end_when_others_need_the_room() -> None:
    assert Slow(0.5).lasts(900) == 30
    assert Slow(0.5).lasts(1100) == 3000
    assert Slow(0.9).lasts(15_000) == 30
    assert Slow(0.9).lasts(17_000) == 3000


def test_slow_octets_have_a_grace_once_the_room_is_needed() -> None:
    slow = Slow(0.1)
    assert slow.lasts(1, 1000) == 1000
    slow.pressure = 0.6
    assert 1029 <= slow.lasts(1) <= 1031


def test_silence_is_short_when_nearly_all_is_used_up() -> None:
    patience = Slow(0.9).patience
    assert (patience.due(300.0), patience.due(5.0)) == (30.0, 5.0)
