"""Traffic to backends: room, rate, accepted mail, and events when a route stops and comes back."""

from __future__ import annotations

from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.event import Event, Level
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.service.traffic import Share, Traffic
from tests.support.sending import changed, make_claim
from tests.support.spooling import HandClock

CLAIM = changed(make_claim(), authenticated=True)
TAKEN = Outcome(CLAIM.transfer.rcpts[0], OutcomeKind.DELIVERED, Reply(250, "0.0", "ok"), Scope.MESSAGE, "mx.google.com")
NO_PTR = replace(
    TAKEN,
    kind=OutcomeKind.DEFERRED,
    scope=Scope.OURS,
    reply=Reply(550, "7.25", "The IP address sending this message does not have a PTR record - gsmtp"),
)
SILENT = replace(
    TAKEN, kind=OutcomeKind.DEFERRED, scope=Scope.SITE, reply=Reply(451, "4.1", "mx: refused"), remote_mta=""
)


class Road:
    def __init__(self, **share: int) -> None:
        self.clock = HandClock()
        self.events: list[Event] = []
        self.traffic = Traffic({"corp": Share(**({"connections": 10} | share))}, self.clock, self.events.append)

    def attempt(self, *outcomes: Outcome) -> bool:
        self.traffic.start("corp")
        ended = self.traffic.learn(CLAIM.transfer, outcomes)
        self.traffic.end("corp")
        return ended

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


def test_room_is_the_smallest_of_window_connections_and_rate() -> None:
    road = Road(connections=8, messages_per_minute=120)
    assert (road.traffic.room("corp", 10), road.traffic.room("corp", 1)) == (2, 1)
    road.attempt(TAKEN)
    road.attempt(TAKEN)
    assert (road.traffic.room("corp", 10), road.traffic.next_opening()) == (0, 0.5)
    road.clock.time += 0.5
    assert road.traffic.room("corp", 10) == 1
    assert Road(connections=3).traffic.room("corp", 10) == 3
    busy = Road()
    for _ in range(4):
        busy.traffic.start("corp")
    assert busy.traffic.room("corp", 10) == 1


def test_a_backend_moves_while_it_takes_mail() -> None:
    road = Road()
    assert not road.traffic.moves("corp")
    road.attempt(SILENT)
    assert not road.traffic.moves("corp")
    road.attempt(TAKEN)
    assert road.traffic.moves("corp")
    road.clock.time += 1.1
    assert not road.traffic.moves("corp")
    assert not road.traffic.moves("unknown")


def test_stopped_and_restored() -> None:
    road = Road()
    for _ in range(3):
        assert road.traffic.admits("corp")
        road.attempt(NO_PTR)
    (event,) = road.events
    fields = dict(event.fields)
    assert (event.name, event.level) == ("route-stopped", Level.ALARM)
    assert (fields["backend"], fields["cause"], fields["provider"]) == ("corp", "reverse-dns", "Google")
    assert "PTR" in str(fields["fix"])
    assert str(fields["reply"]).startswith("550 5.7.25 ")
    assert (road.traffic.admits("corp"), road.traffic.room("corp", 10)) == (False, 0)
    road.clock.time += 61
    assert [road.traffic.admits("corp") for _ in range(3)] == [True, False, False], "one message for the probe"
    assert road.traffic.room("corp", 10) == 1
    road.attempt(NO_PTR)
    assert not road.traffic.admits("corp")
    road.clock.time += 61
    assert road.attempt(TAKEN)
    assert road.names == ["route-stopped", "route-restored"]
    assert (road.events[1].level, road.traffic.admits("corp")) == (Level.ALARM, True)


def test_what_is_let_in_for_a_probe_and_does_not_come_is_replaced() -> None:
    road = Road()
    for _ in range(3):
        road.attempt(NO_PTR)
    road.clock.time += 61
    assert road.traffic.admits("corp")
    road.clock.time += 11
    assert road.traffic.admits("corp")


def test_a_rate_that_allows_more_opens_nothing() -> None:
    """A paused backend beside it is not checked all the time."""
    road = Road()
    shares = {"corp": Share(10), "other": Share(10, 60)}
    road.traffic = Traffic(shares, road.clock, road.events.append)
    assert road.traffic.next_opening() is None
    road.attempt(SILENT)
    assert road.traffic.next_opening() == 5.0


def test_paused_and_back() -> None:
    road = Road()
    assert not road.attempt(SILENT)
    assert (road.names, road.traffic.room("corp", 10), road.traffic.next_opening()) == (["backend-paused"], 0, 5.0)
    assert road.traffic.admits("corp"), "mail for it waits in the queue"
    road.clock.time += 5
    assert road.attempt(TAKEN)
    assert road.names == ["backend-paused", "backend-back"]


def test_an_unknown_backend_is_no_error() -> None:
    road = Road()
    road.traffic.start("gone")
    assert not road.traffic.learn(replace(CLAIM.transfer, backend="gone"), (TAKEN,))
    road.traffic.end("gone")
    assert road.traffic.admits("gone")


def test_an_admin_who_wants_it_now_ends_the_pause() -> None:
    road = Road()
    road.attempt(SILENT)
    assert road.traffic.room("corp", 10) == 0
    road.traffic.hurry()
    assert road.traffic.room("corp", 10) == 1, "one attempt probes"
    road.attempt(SILENT)
    assert road.traffic.room("corp", 10) == 0, "and what it finds counts"
