"""`waypost find`: times as an admin writes them, the table, and what is said when nothing is found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from rich.console import Console, RenderableType

from gateway.model.search import DeliveryState, FoundMessage, FoundRecipient, MessageQuery
from gateway.model.value import replace
from gateway.tools.find import (
    BEFORE_REACH,
    EMPTY,
    FUTURE,
    NEXT,
    NO_SUBJECTS,
    message_json,
    read_query,
    read_time,
    render_found,
    render_nothing,
    tell_reason,
    widen,
)

NOW = datetime.fromisoformat("2026-11-30T10:30:00+01:00").timestamp()
FOUND = FoundMessage(
    "0abcdefgh0abcde", NOW, "192.0.2.1", "ann@sender.example", "ann@sender.example",
    (FoundRecipient("alice@corp.example", "google", DeliveryState.DELIVERED, "250 2.0.0 OK"),),
    "Figures", "1@sender.example", 10, "accept", "default", "250 2.6.0 Queued", "pass", "none", "pass",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(text: RenderableType) -> str:
    console = Console(width=10_000)
    with console.capture() as capture:
        console.print(text)
    return capture.get()


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("10:15", False, "2026-11-30T10:15:00+01:00"),
        ("10:15", True, "2026-11-30T10:15:59.999999+01:00"),
        ("9:05:30", True, "2026-11-30T09:05:30.999999+01:00"),
        # The last such time: that of today has not come yet.
        ("22:00", False, "2026-11-29T22:00:00+01:00"),
        ("today", False, "2026-11-30T00:00:00+01:00"),
        ("yesterday", False, "2026-11-29T00:00:00+01:00"),
        ("yesterday", True, "2026-11-29T23:59:59.999999+01:00"),
        ("2h", False, "2026-11-30T08:30:00+01:00"),
        ("3d", True, "2026-11-27T10:30:00+01:00"),
        ("2026-11-30T10:15", False, "2026-11-30T10:15:00+01:00"),
        ("2026-11-30 10:15", True, "2026-11-30T10:15:59.999999+01:00"),
        ("2026-11-28", True, "2026-11-28T23:59:59.999999+01:00"),
        ("2026-11-30T09:15:00Z", False, "2026-11-30T10:15:00+01:00"),
        ("2026-11-30T04:15:00-05:00", False, "2026-11-30T10:15:00+01:00"),
    ],
)
def test_times_as_an_admin_writes_them(text: str, end: bool, expected: str) -> None:
    assert read_time(text, NOW, end) == pytest.approx(datetime.fromisoformat(expected).timestamp(), abs=1e-4)


@pytest.mark.parametrize("text", ["teatime", "25:00", "10:75", "2026-13-01", "h", "-2h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: write 10:15"):
        read_time(text, NOW)


def test_options_become_a_query_and_mistakes_are_told() -> None:
    query = read_query({"sender": " ann@x.example ", "state": "HELD", "since": "1h"}, ["word", " "], NOW)
    assert query == MessageQuery(words=("word",), sender="ann@x.example", state=DeliveryState.HELD, since=NOW - 3600)
    with pytest.raises(ValueError, match="there are: refused, deferred, greylisted"):
        read_query({"state": "lost"}, (), NOW)
    with pytest.raises(ValueError, match="before it begins"):
        read_query({"since": "1h", "until": "2h"}, (), NOW)


def test_the_table_cuts_nothing_and_shows_hostile_text_as_text() -> None:
    long = f"{'a' * 60}@{'b' * 60}.example"
    hostile = replace(
        FOUND, mail_from=long, author="evil\x1b[2J\u202e@x.example", subject="[red]x[/red]\n<script>", rule="r"
    )
    text = shown(render_found((hostile,), True, "77"))
    for part in (long, FOUND.id, "alice@corp.example", "delivered", "google", "[red]x[/red]\\n<script>", "--after 77"):
        assert part in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert "Figures" not in shown(render_found((FOUND,), False, ""))
    assert "received" not in shown(render_found((FOUND,), False, "", follows=True))
    assert message_json(FOUND, "node", False)["subject"] is None
    assert message_json(FOUND, "node", True)["subject"] == "Figures"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"action": "quarantine", "rule": "dmarc-quarantine"}, "dmarc-quarantine"),
        ({"action": "reject", "rule": "r", "reply": "550 no"}, "r: 550 no"),
        ({"rcpts": (FoundRecipient("a@b", "google", DeliveryState.WAITING, "451 later"),)}, "451 later"),
    ],
)
def test_the_reason_is_the_rule_or_the_last_reply(changes: dict[str, object], reason: str) -> None:
    assert tell_reason(replace(FOUND, **changes)) == reason


def test_nothing_found_is_explained() -> None:
    query = MessageQuery(rcpt="bob@corp.example", subject="x", since=NOW - 9e5, until=NOW + 9e5)
    text = shown(render_nothing(query, NOW - 8e5, None, False, NOW))
    for part in ("recipient bob@corp.example", "subject x", BEFORE_REACH, FUTURE, NO_SUBJECTS, NEXT, "MX corp.example"):
        assert part in text
    text = shown(render_nothing(MessageQuery(), None, None, True, NOW))
    assert EMPTY in text
    assert "Searched: everything." in text
    text = shown(render_nothing(query, NOW - 9e5, FOUND, True, NOW))
    assert f"waypost explain {FOUND.id}" in text
    assert NEXT not in text


def test_only_a_bounded_question_about_something_is_asked_again_without_its_time() -> None:
    assert widen(MessageQuery(since=1.0)) is None
    assert widen(MessageQuery(rcpt="a@b")) is None
    assert widen(MessageQuery(rcpt="a@b", until=1.0)) == MessageQuery(rcpt="a@b")
