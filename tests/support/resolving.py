"""Resolvers over the network whose sockets are closed when the test ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.net.resolver import DnsResolver

_OPEN: list[DnsResolver] = []


def open_resolver(nameservers: Sequence[str], seconds: float, clock: Callable[[], float]) -> DnsResolver:
    """A resolver that `close_resolvers` closes."""
    resolver = DnsResolver(nameservers, seconds, clock)
    _OPEN.append(resolver)
    return resolver


async def close_resolvers() -> None:
    """Close the test's resolvers, and let the loop close the sockets."""
    while _OPEN:
        await _OPEN.pop().close()
    await asyncio.sleep(0)
