"""A block list that fails its self-test is an alarm, and is not asked."""

from __future__ import annotations

from gateway.authentication.dnsbl import BlockList
from gateway.model.event import Event, Level
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.service.authenticator import Authenticator
from gateway.service.blocklists import keep_usable

ZONE = build_zone(
    {
        "2.0.0.127.good.example": {"A": ["127.0.0.2"]},
        "2.0.0.127.all.example": {"A": ["127.0.0.2"]},
        "1.0.0.127.all.example": {"A": ["127.0.0.2"]},
        "2.0.0.127.mute.example": "TIMEOUT",
    }
)
GOOD = BlockList("good.example")


async def test_only_lists_that_work_are_kept() -> None:
    events: list[Event] = []
    lists = (BlockList("all.example"), GOOD, BlockList("mute.example"), BlockList("dead.example"))
    authenticator = Authenticator(ZoneResolver(ZONE), SystemClock(), 5)
    assert await keep_usable(lists, authenticator, events.append) == (GOOD,)
    assert [dict(event.fields)["zone"] for event in events] == ["all.example", "mute.example", "dead.example"]
    assert {(event.name, event.level) for event in events} == {("dnsbl-ignored", Level.ALARM)}
