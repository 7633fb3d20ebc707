"""`waypost queue list`."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from gateway.model.delivery import QueueEntry
from gateway.tools.queue import (
    Filter,
    merge_answers,
    queue_json,
    render_answers,
    render_queue,
    render_sums,
    show_span,
    sum_queue,
    sums_json,
)

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
        "Held 1 transfer: a-x.",
        "Not done: b-x: it is held already.",
        "Not done: c\\x1b: nothing of it waits here.",
    ]


def test_sums_by_route_and_reason() -> None:
    def waiting(reply: str, due: float) -> QueueEntry:
        return QueueEntry("t", "m", "google", "a@s.example", ("b@c.example",), 9, due - 100, due, 1, reply, False)

    entries = [
        waiting("451 4.7.1 try again, id 17", 4700.0),
        waiting("451 4.7.1 try again, id 18", 4650.0),
        waiting("421 4.3.2 closing", 4800.0),
        SENDING,
        HELD,
    ]
    piles = sum_queue(entries)
    found = sums_json(piles, 2, 4600.0)
    assert isinstance(found, dict)
    assert {name: found[name] for name in ("waiting", "sending", "held", "held_by_rule")} == {
        "waiting": 3,
        "sending": 1,
        "held": 1,
        "held_by_rule": 2,
    }
    assert [(one.backend, one.state, one.reason, one.transfers) for one in piles] == [
        ("google", "waiting", "451 4.7.1 try again, id 17", 2),
        ("google", "waiting", "421 4.3.2 closing", 1),
        ("ms", "sending", "", 1),
        ("ms", "held", "altered", 1),
    ]
    assert (piles[0].due, piles[0].created) == (4650.0, 4550.0)
    page = io.StringIO()
    Console(width=200, file=page).print(render_sums(piles, 2, 4600.0))
    said = page.getvalue()
    assert "Transfers: 3 waiting, 1 being sent, 1 held by hand or for a fault." in said
    assert "Messages that a rule holds: 2" in said
    assert "google: 2 waiting, 2 recipients, oldest 50 s old, next attempt 1970-01-01 01:17:30 UTC" in said
    assert "not tried yet" in said


def test_sums_of_an_empty_queue() -> None:
    page = io.StringIO()
    Console(width=200, file=page).print(render_sums((), 0, 0.0))
    assert page.getvalue() == "The queue is empty.\n"
