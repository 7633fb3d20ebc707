"""An alarm is open from its first event to its all-clear, or until it has not come for its period; it is told once and
cleared once, over all workers and restarts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gateway.model.event import Event, Level
from gateway.service.alarm_kinds import CLEARING, KINDS, AlarmKind
from gateway.service.open_alarms import FILE, AlarmFile, OpenAlarms


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


PERIOD = 100.0
LASTING = [kind for kind in KINDS if kind.cleared_by]


def subject(kind: AlarmKind) -> dict[str, str]:
    """Its fields as one backend, file or listener would have them."""
    return {"backend": "inside", "file": "/etc/a", "where": "listener mx", "worker": "1", "map": "a", "listener": "mx"}


def restart(directory: Path, *files: AlarmFile) -> list[AlarmFile]:
    """The files of two workers that begin."""
    for file in files:
        file.close()
    found = [AlarmFile(directory, PERIOD) for _ in range(2)]
    for number, file in enumerate(found):
        with file.change() as alarms:
            alarms.disown(number, 2)
    return found


def note(file: AlarmFile, event: Event, now: float, worker: int = 0, told: bool = True) -> list[str]:
    """The names of what the worker is to tell, and has told."""
    with file.change() as alarms:
        telling = alarms.note(event, now, worker)
    with file.change() as alarms:
        for alarm in telling if told else ():
            alarms.settle(alarm, True)
    return [alarm.name for alarm in telling]


def due(file: AlarmFile, now: float, began: float = 0.0, worker: int = 0) -> list[str]:
    with file.change() as alarms:
        telling = alarms.due(now, worker, began)
        for alarm in telling:
            alarms.settle(alarm, True)
    return [alarm.name for alarm in telling]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name not in CLEARING], ids=lambda kind: kind.name)
def test_each_kind_is_told_once_over_two_workers_and_a_restart(tmp_path: Path, kind: AlarmKind) -> None:
    first, second = restart(tmp_path)
    event = raised(kind.name, **subject(kind))
    assert note(first, event, 1.0) == [kind.name]
    assert note(second, event, 1.5, 1) == note(first, event, 50.0) == []
    first, second = restart(tmp_path, first, second)
    assert note(second, event, 99.0, 1) == note(first, event, 99.5) == []
    assert due(first, 100.0, began=98.0) == []
    with first.change() as alarms:
        assert kinds(alarms, 100.0) == [(kind.name, 1.0)]
    for end in kind.cleared_by:
        over = Event(end, "", tuple(subject(kind).items()))
        assert note(second, over, 100.0, 1) == [end]
        assert note(first, over, 100.0) == []
        with first.change() as alarms:
            assert kinds(alarms, 100.5) == []
    assert note(first, event, 101.0) == [kind.name], "its period is over"


@pytest.mark.parametrize("kind", LASTING, ids=lambda kind: kind.name)
def test_each_kind_that_comes_back_within_its_period_is_told_at_its_end(tmp_path: Path, kind: AlarmKind) -> None:
    first, second = restart(tmp_path)
    event, over = raised(kind.name, **subject(kind)), Event(kind.cleared_by[0], "", tuple(subject(kind).items()))
    assert note(first, event, 1.0) == [kind.name]
    assert note(second, over, 2.0, 1) == [kind.cleared_by[0]]
    assert note(first, event, 3.0) == note(second, over, 4.0, 1) == note(first, event, 5.0) == []
    assert due(second, 100.0, worker=1) == []
    assert due(second, 101.0, worker=1) == [kind.name]
    assert due(first, 102.0) == []
    assert note(first, over, 103.0) == [kind.cleared_by[0]]


@pytest.mark.parametrize("kind", LASTING, ids=lambda kind: kind.name)
def test_no_kind_stays_open_for_ever_after_a_restart(tmp_path: Path, kind: AlarmKind) -> None:
    first, second = restart(tmp_path)
    assert note(first, raised(kind.name, **subject(kind)), 1.0) == [kind.name]
    first, second = restart(tmp_path, first, second)
    assert due(first, 149.0, began=50.0) == []
    assert due(first, 150.0, began=50.0) == [kind.cleared_by[0]]
    assert due(second, 151.0, began=50.0, worker=1) == []


def test_what_a_dead_worker_was_telling_is_told_by_another(tmp_path: Path) -> None:
    first, second = restart(tmp_path)
    event = raised("route-silent", backend="inside")
    assert note(second, event, 1.0, 1, told=False) == ["route-silent"]
    assert due(first, 2.0) == [], "it may still be telling"
    first, second = restart(tmp_path, first, second)
    assert due(first, 3.0) == ["route-silent"]
    assert note(second, Event("route-takes", "", (("backend", "inside"),)), 4.0, 1, told=False) == ["route-takes"]
    first, second = restart(tmp_path, first, second)
    assert due(first, 5.0) == ["route-takes"]
    assert due(first, 6.0) == []


def test_an_all_clear_without_an_alarm_is_not_told(tmp_path: Path) -> None:
    first, _ = restart(tmp_path)
    assert note(first, Event("storage-restored", "", (), Level.ALARM), 1.0) == []


def test_a_clock_that_was_set_back_silences_nothing(tmp_path: Path) -> None:
    first, _ = restart(tmp_path)
    assert note(first, raised("route-silent", backend="a"), 1e9) == ["route-silent"]
    assert note(first, raised("route-silent", backend="a"), 5.0) == ["route-silent"]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100, b"\x00" * 7 + b"\x02{}", b"\x00" * 7 + b"\x04[{}]"], ids=repr)
def test_a_damaged_file_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    first, second = restart(tmp_path)
    event = raised("route-silent", backend="a")
    assert (note(first, event, 1.0), note(second, event, 1.0, 1)) == (["route-silent"], [])


def test_the_room_of_the_file_is_reserved_and_enough(tmp_path: Path) -> None:
    first, _ = restart(tmp_path)
    size = os.stat(tmp_path / FILE).st_blocks * 512
    for number in range(500):
        fields = {
            "file": f"/etc/{number}",
            "problem": "x" * 1000,
            "more": "y" * 1000,
            "most": "z" * 1000,
            "all": "!" * 1000,
        }
        assert note(first, raised("map-unreadable", **fields), 1.0) == ["map-unreadable"]
    assert os.stat(tmp_path / FILE).st_blocks * 512 <= max(size, 524_288)
    assert os.stat(tmp_path / FILE).st_size == 524_288


def test_without_a_directory_each_worker_knows_its_own(tmp_path: Path) -> None:
    file = AlarmFile(tmp_path / "missing", PERIOD)
    event = raised("route-silent", backend="a")
    assert (note(file, event, 1.0), note(file, event, 2.0)) == (["route-silent"], [])


def test_a_worker_that_was_stopped_while_it_held_the_lock_stops_no_other(tmp_path: Path) -> None:
    other = AlarmFile(tmp_path, 3600.0)
    with other.change():
        began = time.monotonic()
        with AlarmFile(tmp_path, 3600.0).change() as alarms:
            assert alarms.note(Event("storage-refused", "", (), Level.ALARM), 1000.0)
        assert time.monotonic() - began < 1.0
