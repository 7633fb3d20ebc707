"""How long the scheduler sleeps when nobody wakes it."""

from __future__ import annotations

_SHORTEST, _LONGEST = 0.2, 60.0


def find_sleep(now: float, due: float | None, waiting: float | None, opening: float | None, full: bool) -> float:
    """Seconds. `due`: when something is, that an open backend takes; `waiting`: the same of closed ones too; `opening`:
    seconds until a pause ends; `full`: some backend had no place for us."""
    seconds = _LONGEST if due is None else min(due - now, _LONGEST)
    if waiting is not None and opening is not None:
        seconds = min(seconds, max(opening, waiting - now))
    if waiting is not None and full:
        # Another worker may have the places, and no event tells when it gives them back.
        seconds = min(seconds, waiting - now)
    return max(seconds, _SHORTEST)
