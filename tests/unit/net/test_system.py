from __future__ import annotations

import re

from gateway.net.system import SystemClock


def test_ids_are_unique_sorted_by_time_and_safe_in_a_reply() -> None:
    clock = SystemClock(shard=3)
    ids = [clock.new_id() for _ in range(5000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-z]{9}3[0-9a-z]{5}", id) for id in ids)
    assert [id[:9] for id in ids] == sorted(id[:9] for id in ids)


def test_jitter_is_a_fraction() -> None:
    clock = SystemClock()
    assert all(0 <= clock.jitter() < 1 for _ in range(1000))
