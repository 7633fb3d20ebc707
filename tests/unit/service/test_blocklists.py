"""A block list that answers its self-test wrongly causes an alarm, and is not asked; a silent one is kept."""

from __future__ import annotations

from gateway.authentication.dnsbl import BlockList
from gateway.model.event import Event, Level
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.service.authenticator import Authenticator, keep_usable

ZONE = build_zone(
    {
        "2.0.0.127.good.example": {"A": ["127.0.0.2"]},
        "2.0.0.127.all.example": {"A": ["127.0.0.2"]},
        "1.0.0.127.all.example": {"A": ["127.0.0.2"]},
        "2.0.0.127.mute.example": "TIMEOUT",
        "2.0.0.127.down.example": "SERVFAIL",
        "1.0.0.127.down.example": "SERVFAIL",
        "2.0.0.127.closed.example": {"A": ["127.255.255.254"]},
    }
)
GOOD, MUTE, DOWN = BlockList("good.example"), BlockList("mute.example"), BlockList("down.example")
WRONG = ("all.example", "dead.example", "closed.example")


async def test_only_lists_that_work_are_kept() -> None:
    events: list[Event] = []
    lists = (*map(BlockList, WRONG), GOOD, MUTE, DOWN)
    authenticator = Authenticator(ZoneResolver(ZONE), SystemClock(), 5)
    assert await keep_usable(lists, authenticator, events.append) == (GOOD, MUTE, DOWN)
    assert [dict(event.fields)["zone"] for event in events] == list(WRONG)
    assert {(event.name, event.level) for event in events} == {("dnsbl-ignored", Level.ALARM)}
