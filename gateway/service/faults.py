"""What is wrong with a message whoever sent it: invariants, which no rule can change.

In: what the collector saw, and where the message would go. Out: the name of the reply that refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.authres import is_unreadable
from gateway.mail.header import fields
from gateway.mail.received import count_passes
from gateway.model.address import IPText
from gateway.model.route import Route
from gateway.service.collector import Collector
from gateway.service.inquiry import Inquiry

MOST_HOPS = 50
"""Received fields beyond which a message is taken to be in a loop (RFC 5321 section 6.3)."""
MOST_PASSES = 4
"""How often a message may have been here before."""


def find_fault(collector: Collector, hostname: str) -> str | None:
    """What the content shows by itself; None when nothing is wrong."""
    header = collector.header
    if collector.bare_newline and not collector.can_be_carried:
        return "bare-newline"
    if collector.header_too_big:
        return "header-too-big"
    if header and header[0].start == 0 and not header[0].lower and header[0].value[:1] in (b" ", b"\t"):
        # It would continue the last field that we put above it (RFC 5322 section 2.2.3).
        return "malformed-header"
    if is_unreadable(header):
        return "malformed-header"
    if len(fields(header, "received")) > MOST_HOPS or count_passes(header, hostname) > MOST_PASSES:
        return "mail-loop"
    return None


async def find_obstacle(collector: Collector, routes: Sequence[Route], inquiry: Inquiry, client: IPText) -> str | None:
    """Why the content cannot go where it should: bare newlines take BDAT, which each backend must be known to offer."""
    for route in routes if collector.bare_newline else ():
        takes_chunks = await inquiry.takes_chunks(route, client)
        if not takes_chunks:
            return "chunking-unknown" if takes_chunks is None else "bare-newline"
    return None
