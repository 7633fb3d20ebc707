"""The self-test of DNS block lists: one that answers wrongly would refuse all mail, or none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gateway.authentication.dnsbl import BlockList, find_broken
from gateway.model.event import Event, Level
from gateway.ports import EventSink
from gateway.service.authenticator import Authenticator


async def keep_usable(
    lists: Sequence[BlockList], authenticator: Authenticator, emit: EventSink
) -> tuple[BlockList, ...]:
    """The lists but those that answer their self-test wrongly (RFC 5782 section 5); each of these is an alarm, and is
    ignored. A list that does not answer is kept: for as long as it is silent, mail finds it in `dnsbl.errors`."""
    if not lists:
        return ()
    broken, _ = await authenticator.run(partial(find_broken, tuple(lists)))
    for zone, reason in broken.items():
        emit(Event("dnsbl-ignored", "", (("zone", zone), ("reason", reason)), Level.ALARM))
    return tuple(one for one in lists if one.zone not in broken)
