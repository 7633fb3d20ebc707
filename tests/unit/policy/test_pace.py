"""Messages in a minute: never more than allowed, and all that is allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import flow


@given(st.integers(1, 6000), st.lists(st.floats(0, 5), max_size=80))
def test_never_more_than_allowed(per_minute: int, waits: list[float]) -> None:
    """In any interval the messages sent are at most those of the rate, plus those allowed at once."""
    now, sent = 0.0, 0
    state = flow.full(per_minute, now)
    for seconds in waits:
        now += seconds
        while flow.left(state, per_minute, now):
            state = flow.spend(state, per_minute, now)
            sent += 1
    assert sent <= now * per_minute / 60 + max(per_minute / 60, 1) + 1e-6


@given(st.integers(1, 6000))
def test_next_comes_when_it_is_said(per_minute: int) -> None:
    state, now = flow.full(per_minute, 0.0), 0.0
    for _ in range(50):
        now += flow.next_in(state, per_minute, now) + 1e-6
        assert flow.left(state, per_minute, now) >= 1
        state = flow.spend(state, per_minute, now)
    assert now <= 50 * 60 / per_minute + 1


def test_thirty_a_minute() -> None:
    state = flow.full(30, 100.0)
    assert (flow.left(state, 30, 100.0), flow.next_in(state, 30, 100.0)) == (1, 0.0)
    state = flow.spend(state, 30, 100.0)
    assert (flow.left(state, 30, 101.0), flow.next_in(state, 30, 101.0)) == (0, 1.0)
    assert flow.left(state, 30, 102.0) == 1
    assert flow.left(state, 30, 500.0) == 1, "what was not used is not saved up"
