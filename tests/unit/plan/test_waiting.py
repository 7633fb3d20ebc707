"""Waiting for DNS ends, separately for each author domain and network."""

from __future__ import annotations

from gateway.model.history import Wait
from gateway.plan.greylisting import LONGEST, find_wait_key, is_over, join_wait, remember_wait

HOUR = 3600.0
KEY = find_wait_key("a.example", "192.0.2.0/24")


def test_a_wait_is_over_after_four_hours() -> None:
    assert LONGEST == 4 * HOUR
    wait = join_wait(KEY, None, 100.0)
    assert wait == Wait(KEY, 100.0)
    assert not is_over(wait, 100.0 + 4 * HOUR - 1)
    assert is_over(wait, 100.0 + 4 * HOUR)


def test_later_messages_join_the_wait_under_way() -> None:
    first = join_wait(KEY, None, 0.0)
    for hours in (1, 7, 14):
        joined = join_wait(KEY, remember_wait(first, (hours - 1) * HOUR), hours * HOUR)
        assert joined.begun == 0.0


def test_a_wait_that_nobody_came_back_to_is_forgotten() -> None:
    known = remember_wait(join_wait(KEY, None, 0.0), 0.0)
    assert join_wait(KEY, known, 8 * HOUR).begun == 8 * HOUR


def test_domains_and_networks_wait_apart() -> None:
    assert len({KEY, find_wait_key("b.example", "192.0.2.0/24"), find_wait_key("a.example", "198.51.100.0/24")}) == 3


def test_where_nothing_waits_nothing_is_stored() -> None:
    assert remember_wait(None, 0.0) is None
