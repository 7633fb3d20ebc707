"""When a deferred transfer is tried again. Pure: time and chance are arguments."""

from __future__ import annotations

from collections.abc import Sequence

_SPREAD = 0.2
"""The share of a delay over which retries are spread: messages that failed together should not return together."""


def next_due(
    attempts: int, now: float, created: float, schedule: Sequence[float], expire: float, jitter: float
) -> float | None:
    """Epoch seconds of the attempt after `attempts` of them; None when the transfer's time is over (RFC 5321 section
    4.5.4.1).

    `schedule` holds the seconds between attempts, its last entry repeats; `jitter` is in [0, 1). The last attempt is
    made at `created + expire`, however long the delay before it would be.
    """
    end = created + expire
    if now >= end:
        return None
    delay = schedule[min(max(attempts, 1), len(schedule)) - 1] if schedule else expire
    return min(now + delay * (1 + _SPREAD * (jitter - 0.5)), end)
