"""Dates as mail writes them (RFC 5322 section 3.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_date(epoch: float) -> str:
    """A date-time of RFC 5322 section 3.3, in UTC."""
    return _format_second(int(epoch))


@lru_cache(maxsize=16)
def _format_second(epoch: int) -> str:
    at = datetime.fromtimestamp(epoch, UTC)
    return f"{DAYS[at.weekday()]}, {at.day} {MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} +0000"
