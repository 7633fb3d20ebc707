from __future__ import annotations

import io
import json
import time

import pytest
from prometheus_client.exposition import generate_latest

from gateway.model.event import Event, Level
from gateway.service.observer import Lines, Observer

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
