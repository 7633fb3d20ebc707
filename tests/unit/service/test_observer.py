from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from gateway.model.event import Event, Level
from gateway.service.observer import LinePace, Lines, Observer

ACCEPTED = Event("accepted", "id1", (("action", "accept"), ("dmarc", "pass"), ("size", 5000), ("client", "192.0.2.1")))


def test_one_event_is_one_line_and_one_count() -> None:
    stream = io.StringIO()
    observer = Observer(Lines("json", Level.INFO), stream)
    observer(ACCEPTED)
    observer(Event("noise", "", (), Level.DEBUG))
    observer.close()
    [line] = stream.getvalue().splitlines()
    assert json.loads(line) | {"timestamp": ""} == {
        "event": "accepted",
        "level": "info",
        "id": "id1",
        "action": "accept",
        "dmarc": "pass",
        "size": 5000,
        "client": "192.0.2.1",
        "timestamp": "",
    }
    metrics = generate_latest(observer.registry).decode()
    assert 'waypost_events_total{detail="accept,pass",name="accepted"} 1.0' in metrics
    assert 'waypost_message_octets_bucket{le="16384.0"} 1.0' in metrics
    assert "192.0.2.1" not in metrics, "what a client chooses is never a label"


HOSTILE = "a\x1b[31m\u202eb\u2066\u2028c\x85\x9b\x7f\x00\udc80\r\nd\U000e0001é"


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_line_holds_no_character_that_moves_the_cursor_or_reorders_it(format: str) -> None:
    line = Lines(format, Level.INFO).line(Event("refused", HOSTILE, (("reply", HOSTILE), ("tries", 3))))
    assert line is not None
    assert line.endswith("\n")
    assert [char for char in line[:-1] if not char.isprintable()] == []
    if format == "json":
        assert json.loads(line)["reply"] == HOSTILE
    else:
        assert "\\u202e" in line


def test_colours_are_for_a_terminal() -> None:
    plain = Lines("text", Level.INFO).line(ACCEPTED)
    coloured = Lines("text", Level.INFO, colors=True).line(ACCEPTED)
    assert plain is not None
    assert coloured is not None
    assert "\x1b" not in plain
    assert "\x1b" in coloured


def test_a_reader_that_does_not_read_delays_nobody() -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            time.sleep(3600)
            return 0

    observer = Observer(Lines("json", Level.INFO), Stuck())
    start = time.monotonic()
    for _ in range(11_000):
        observer(ACCEPTED)
    assert time.monotonic() - start < 5
    lost = observer.registry.get_sample_value("waypost_log_lines_lost_total")
    assert lost is not None
    assert lost > 500


def test_an_event_that_stands_for_many_counts_as_many() -> None:
    observer = Observer(Lines("json", Level.ALARM), io.StringIO())
    fields = (("listener", "mx"), ("reason", "timeout"), ("client", "192.0.2.1"))
    for count in (1, 41):
        observer(Event("listener-refused", "", (*fields, ("count", count))))
    observer.close()
    found = observer.registry.get_sample_value(
        "waypost_events_total", {"name": "listener-refused", "detail": "timeout"}
    )
    assert found == 42


def refused_by(client: str) -> Event:
    return Event("refused", "id2", (("action", "reject"), ("rule", "relay"), ("client", client)))


def written(*events: Event, level: Level = Level.INFO) -> tuple[list[dict[str, Any]], Observer]:
    stream = io.StringIO()
    observer = Observer(Lines("json", level), stream, LinePace(lambda: 0.0))
    for event in events:
        observer(event)
    observer.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()], observer


def test_refused_clients_do_not_fill_the_log() -> None:
    lines, observer = written(
        *[refused_by("192.0.2.1")] * 900, *[refused_by("192.0.2.9")] * 50, refused_by("2001:db8::1")
    )
    assert sum(line["event"] == "refused" for line in lines) == 301
    assert [line["client"] for line in lines if line["event"] == "refused"][-1] == "2001:db8::1", "another network's"
    [told] = [line for line in lines if line["event"] == "log-lines-dropped"]
    assert (told["count"], told["most_from"], told["from_there"]) == (650, "192.0.2.0/24", 650)
    counted = observer.registry.get_sample_value("waypost_events_total", {"name": "refused", "detail": "relay"})
    assert counted == 951, "counters miss nothing"


def test_refused_clients_of_many_networks_do_not_fill_the_log_either() -> None:
    events = [refused_by(f"10.{number >> 8}.{number & 255}.1") for number in range(8000)]
    lines, observer = written(*events)
    assert sum(line["event"] == "refused" for line in lines) == 3000
    assert lines[-1]["count"] == 5000
    assert len(observer._pace._dropped) == 0


@pytest.mark.parametrize("action", ["accept", "quarantine", "hold"])
def test_lines_of_accepted_mail_and_alarms_are_never_dropped(action: str) -> None:
    flood = [refused_by(f"10.{number >> 8}.{number & 255}.1") for number in range(3000)]
    after = [
        ACCEPTED,
        Event("held", "id3", (("client", "10.0.0.1"),)),
        Event("shadow", "id1", (("set", "enforce"), ("rule", "x"), ("live", action))),
        Event("login-locked", "", (("login", "x"),), Level.ALARM),
    ]
    lines, _ = written(*flood, *(after * 200))
    assert len(lines) == 3800


def test_lines_that_are_not_shown_are_not_dropped() -> None:
    lines, _ = written(*[refused_by("192.0.2.1")] * 900, level=Level.WARNING)
    assert lines == []


def test_what_was_dropped_is_told_when_its_minute_is_over() -> None:
    now = [0.0]
    pace = LinePace(lambda: now[0])
    event = refused_by("192.0.2.1")
    assert sum(pace.admits(event, "192.0.2.1") for _ in range(310)) == 300
    assert pace.take_told() == []
    now[0] = 60.0
    [told] = pace.take_told()
    assert dict(told.fields)["count"] == 10
    assert pace.admits(event, "192.0.2.1")
    now[0] = 120.0
    assert pace.take_told(last=True) == []
