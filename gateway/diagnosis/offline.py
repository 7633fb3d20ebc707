"""The adapters of tools without a configuration: DNS, from a zone file or from the network.

A composition root of its own, so that such a tool does not import the whole gateway.
"""

from __future__ import annotations

from pathlib import Path

from gateway.net.resolver import DnsResolver, ZoneResolver, read_zone
from gateway.net.system import SystemClock
from gateway.service.authenticator import Authenticator

_QUERY_SECONDS = 5.0
_BUDGET = 60.0
"""Seconds for all lookups of one command: a person waits for it."""


def make_asker(zone: Path | None) -> Authenticator:
    """Runs checks over the zone file's answers; without one, over those of the system's nameservers. Raises OSError and
    ValueError for an unreadable zone."""
    clock = SystemClock()
    if zone is not None:
        return Authenticator(ZoneResolver(read_zone(zone.read_text("utf-8"))), clock, _BUDGET)
    return Authenticator(DnsResolver((), _QUERY_SECONDS, clock.monotonic), clock, _BUDGET)
