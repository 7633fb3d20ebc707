"""The retry schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.flow import next_due

SCHEDULE = (60.0, 300.0, 3600.0)
DAY = 86400.0


@pytest.mark.parametrize(("attempts", "delay"), [(1, 60), (2, 300), (3, 3600), (4, 3600), (400, 3600), (0, 60)])
def test_last_delay_repeats(attempts: int, delay: float) -> None:
    assert next_due(attempts, 1000.0, 1000.0, SCHEDULE, 5 * DAY, 0.5) == 1000.0 + delay


def test_jitter_spreads_by_a_tenth_to_either_side() -> None:
    assert next_due(2, 0.0, 0.0, SCHEDULE, DAY, 0.0) == 270.0
    assert next_due(2, 0.0, 0.0, SCHEDULE, DAY, 0.999_999) == pytest.approx(330.0, abs=0.01)


def test_last_attempt_is_at_the_end() -> None:
    assert next_due(9, DAY - 100, 0.0, SCHEDULE, DAY, 0.5) == DAY


def test_nothing_after_the_end() -> None:
    assert next_due(9, DAY, 0.0, SCHEDULE, DAY, 0.5) is None
    assert next_due(1, DAY + 1, 0.0, SCHEDULE, DAY, 0.5) is None


def test_empty_schedule_waits_for_the_end() -> None:
    assert next_due(1, 0.0, 0.0, (), DAY, 0.5) == DAY


@given(
    st.integers(1, 50), st.floats(0, 6 * DAY), st.floats(0, 0.999), st.lists(st.floats(1, DAY), min_size=1, max_size=9)
)
def test_always_later_and_never_beyond_the_end(attempts: int, age: float, jitter: float, schedule: list[float]) -> None:
    due = next_due(attempts, 1e9 + age, 1e9, schedule, 5 * DAY, jitter)
    assert (due is None) == (1e9 + age >= 1e9 + 5 * DAY)
    assert due is None or 1e9 + age < due <= 1e9 + 5 * DAY
