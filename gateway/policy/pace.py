"""A limit on messages in a minute, as a bucket that fills while time goes by. Pure: time is an argument."""

from __future__ import annotations

from gateway.model.value import Value

_MINUTE = 60.0


class Pace(Value):
    """How much may go at once. `level` is what was left at the time `at`, in monotonic seconds."""

    level: float
    at: float


def full(per_minute: float, now: float) -> Pace:
    """Nothing was sent yet."""
    return Pace(_capacity(per_minute), now)


def left(pace: Pace, per_minute: float, now: float) -> int:
    """How many messages may be sent now."""
    return int(_level(pace, per_minute, now))


def spend(pace: Pace, per_minute: float, now: float) -> Pace:
    """One message is sent."""
    return Pace(_level(pace, per_minute, now) - 1, now)


def next_in(pace: Pace, per_minute: float, now: float) -> float:
    """Seconds until one message may be sent; 0 when one may now."""
    return max(1 - _level(pace, per_minute, now), 0.0) * _MINUTE / per_minute


def _capacity(per_minute: float) -> float:
    """What may go at once: what is due in a second, and at least one."""
    return max(per_minute / _MINUTE, 1.0)


def _level(pace: Pace, per_minute: float, now: float) -> float:
    return min(pace.level + (now - pace.at) * per_minute / _MINUTE, _capacity(per_minute))
