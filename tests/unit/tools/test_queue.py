"""`waypost queue list`."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from gateway.model.delivery import QueueEntry
from gateway.tools.queue import Filter, merge_answers, queue_json, render_answers, render_queue, show_span

LONG = "a-rather-long-mailbox-name-that-would-not-fit-a-column@corp.example"
WAITING = QueueEntry(
    "t1", "m1", "google", "", (LONG, "b@corp.example"), 1234, 1000.0, 1795295400.0, 3, "451 x\x1b", False
)
SENDING = QueueEntry("t2", "m2", "ms", "a@sender.example", ("c@corp.example",), 9, 4500.0, 0.0, 0, "", True)
HELD = QueueEntry("t3", "m3", "ms", "a@sender.example", ("c@corp.example",), 9, 4600.0, 0.0, 0, "altered", False, True)


def text_of(*entries: QueueEntry) -> str:
    page = io.StringIO()
    Console(width=80, file=page).print(render_queue(entries, 4600.0))
    return page.getvalue()


def test_for_people() -> None:
    text = text_of(WAITING, SENDING, HELD)
    assert LONG in text, "an address is never broken"
    flat = " ".join(text.split())
    assert "from <>, 1234 octets, 1 h old, tried 3 times, due 2026-11-21 21:10:00 UTC 451 x\\x1b" in flat
    assert "from a@sender.example, 9 octets, 1 min old, tried 0 times, sending m3" in flat
    assert "held altered" in flat


def test_empty() -> None:
    assert text_of() == "The queue is empty.\n"


def test_as_json() -> None:
    tree = json.loads(json.dumps(queue_json([WAITING, SENDING, HELD])))
    assert tree[0] == {
        "transfer": "t1",
        "message": "m1",
        "backend": "google",
        "mail_from": None,
        "rcpts": [LONG, "b@corp.example"],
        "size": 1234,
        "created": 1000.0,
        "due": 1795295400.0,
        "attempts": 3,
        "last_reply": "451 x\x1b",
        "state": "waiting",
    }
    assert [one["state"] for one in tree] == ["waiting", "sending", "held"]
    assert tree[1]["last_reply"] is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400, "1 d"), (9e6, "104 d")]
)
def test_spans(seconds: float, text: str) -> None:
    assert show_span(seconds) == text


@pytest.mark.parametrize(
    ("chosen", "taken"),
    [
        (Filter(), [WAITING, SENDING, HELD]),
        (Filter(backend="google"), [WAITING]),
        (Filter(sender="<>"), [WAITING]),
        (Filter(sender="A@sender.EXAMPLE"), [SENDING, HELD]),
        (Filter(sender="@sender.example"), [SENDING, HELD]),
        (Filter(rcpt="b@corp.example"), [WAITING]),
        (Filter(rcpt="@corp.example", held=True), [HELD]),
        (Filter(rcpt="corp.example"), []),
    ],
)
def test_a_filter_takes_what_it_names(chosen: Filter, taken: list[QueueEntry]) -> None:
    assert [entry for entry in (WAITING, SENDING, HELD) if chosen.takes(entry)] == taken


def test_each_id_has_one_answer_whatever_the_shards() -> None:
    here = [{"id": "a", "done": ["a-x"], "refused": []}, {"id": "b", "done": [], "refused": []}]
    there = [{"id": "a", "done": [], "refused": []}, {"id": "b", "done": [], "refused": ["b-x: it is held already"]}]
    merged = merge_answers([here, there])
    assert merged == [here[0], there[1]]
    page = io.StringIO()
    Console(width=200, file=page).print(render_answers("hold", [*merged, {"id": "c\x1b", "done": [], "refused": []}]))
    assert page.getvalue().splitlines() == [
        "hold: 1 transfer: a-x",
        "not b-x: it is held already",
        "not c\\x1b: nothing of it waits here",
    ]
