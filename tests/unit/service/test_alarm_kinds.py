"""An alarm is open from its first event to its all-clear, or until it has not come for its period."""

from __future__ import annotations

from gateway.model.event import Event, Level
from gateway.service.alarm_kinds import OpenAlarms


def raised(name: str, **fields: str) -> Event:
    return Event(name, "", tuple(fields.items()), Level.ALARM)


def kinds(alarms: OpenAlarms, now: float) -> list[tuple[str, float]]:
    return [(one.kind, one.since) for one in alarms.current(now)]


def test_the_all_clear_ends_the_alarm_of_the_same_subject_alone() -> None:
    alarms = OpenAlarms(100.0)
    alarms.note(raised("route-stopped", backend="a", cause="ptr", fix="mend it"), 1.0)
    alarms.note(raised("route-stopped", backend="b", cause="ptr"), 2.0)
    alarms.note(raised("route-stopped", backend="a", cause="ptr", fix="mend it"), 3.0)
    assert kinds(alarms, 1000.0) == [("route-stopped", 1.0), ("route-stopped", 2.0)]
    alarms.note(raised("route-restored", backend="a"), 4.0)
    assert [one.about for one in alarms.current(1000.0)] == [(("backend", "b"), ("cause", "ptr"))]
    alarms.note(raised("route-restored", backend="b"), 5.0)
    assert kinds(alarms, 6.0) == []


def test_an_event_of_another_level_clears_and_opens_nothing() -> None:
    alarms = OpenAlarms(100.0)
    alarms.note(raised("map-unreadable", file="/etc/a.csv"), 1.0)
    alarms.note(Event("map-read", "", (("file", "/etc/b.csv"),)), 2.0)
    assert kinds(alarms, 3.0) == [("map-unreadable", 1.0)]
    alarms.note(Event("map-read", "", (("file", "/etc/a.csv"),)), 4.0)
    assert kinds(alarms, 5.0) == []


def test_an_alarm_without_an_all_clear_is_over_after_its_period() -> None:
    alarms = OpenAlarms(100.0)
    alarms.note(raised("login-locked"), 1.0)
    alarms.note(raised("login-locked"), 50.0)
    assert kinds(alarms, 150.0) == [("login-locked", 1.0)]
    assert kinds(alarms, 151.0) == []


def test_the_text_is_plain_and_the_fix_is_that_of_the_event_or_of_the_kind() -> None:
    alarms = OpenAlarms(100.0)
    alarms.note(raised("storage-refused", fix="free space"), 1.0)
    alarms.note(raised("role-mail-kept"), 2.0)
    first, second = alarms.current(3.0)
    assert first.fix == "free space"
    assert second.fix == "waypost hold show ID"
    assert not any(mark in first.text for mark in "`[]")


def test_open_alarms_are_bounded() -> None:
    alarms = OpenAlarms(1e9)
    for number in range(5000):
        alarms.note(raised("map-unreadable", file=str(number)), 1.0)
    assert len(alarms.current(2.0)) == 1000
