"""Content off the wire: DATA to its dot (RFC 5321 section 4.5.2), BDAT by its count (RFC 3030 section 2)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.mail.framing import DataFraming
from gateway.service.listener.dialogue import Dialogue
from gateway.service.listener.inflow import Inflow

_CHUNK = 262_144


async def read_data(inflow: Inflow, dialogue: Dialogue, due: Callable[[], float]) -> None:
    """Up to CRLF.CRLF. `due` tells until when the next octets must have come."""
    framing = DataFraming()
    while not framing.done:
        octets = await inflow.read(_CHUNK, due())
        await dialogue.take(framing.feed(octets))
    inflow.unread(framing.rest)


async def read_chunk_of(size: int, inflow: Inflow, dialogue: Dialogue, due: Callable[[], float]) -> None:
    """Exactly `size` octets, also when they are not wanted: behind them comes the next command."""
    while size:
        octets = await inflow.read(min(size, _CHUNK), due())
        size -= len(octets)
        await dialogue.take(octets)
