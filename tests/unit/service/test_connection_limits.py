"""How many connections there may be."""

from __future__ import annotations

from gateway.config.edge import Limits
from gateway.model.envelope import ip_text
from gateway.service.listener import ConnectionLimits


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
