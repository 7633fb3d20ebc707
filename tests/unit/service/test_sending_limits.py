"""The limits of senders in an hour, and the suspension beyond them."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.config.outbound import Rates
from gateway.model.event import Event, Level
from gateway.service.role import Failures
from gateway.service.runtime import RuntimeConfig
from gateway.service.sending_limits import SendingLimits, Suspension, Suspensions

RATES = Rates(messages=3, recipients=10, failures=2)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return "x"


class Counts:
    """A `ports.Tally` that all limits of a test share, as workers do."""

    workers = 2

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, key: str, number: int = 1) -> int:
        self.counts[key] += number
        return self.counts[key]

    def total(self, key: str) -> int:
        return self.counts[key]


class Books:
    """The limits of two workers over one spool."""

    def __init__(self, spool: Path) -> None:
        self.clock = Clock()
        self.counts = Counts()
        self.events: list[Event] = []
        self.suspensions = Suspensions(spool)
        self.one, self.two = (
            SendingLimits(self.counts, self.clock, Suspensions(spool), self.events.append) for _ in range(2)
        )


def test_who_sends_more_is_suspended_once_with_an_alarm(tmp_path: Path) -> None:
    books = Books(tmp_path)
    for _ in range(3):
        books.one.count("sender alice", RATES, 1)
    assert not books.one.is_suspended("sender alice")
    for _ in range(3):
        books.two.count("sender alice", RATES, 1)
    assert books.one.is_suspended("sender alice")
    assert books.two.is_suspended("sender alice")
    assert not books.one.is_suspended("sender bob")
    assert [event.name for event in books.events] == ["sender-suspended"]
    assert dict(books.events[0].fields)["reason"] == "more than 3 messages in an hour"


def test_recipients_and_failures_are_counted_too(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.one.count("sender a", RATES, 11)
    assert books.one.is_suspended("sender a")
    for _ in range(9):
        books.one.fail("sender b", RATES, "typo@far.example")
    assert not books.one.is_suspended("sender b"), "the same recipient counts once"
    for number in range(3):
        books.two.fail("sender b", RATES, f"guess{number}@far.example")
    assert books.one.is_suspended("sender b")


def test_an_hour_later_it_is_forgotten(tmp_path: Path) -> None:
    books = Books(tmp_path)
    for minute in range(200):
        books.clock.time = 1000.0 + minute * 1300.0
        books.one.count("sender alice", RATES, 1)
    assert not books.one.is_suspended("sender alice")
    assert books.counts.counts["messages sender alice 0"] <= 3
    books.clock.time += 4000.0
    books.one.count("sender bob", RATES, 1)
    assert books.counts.counts["messages sender alice 0"] == 0, "what is old is taken back"


def test_a_worker_that_is_idle_counts_nothing_against_the_others(tmp_path: Path) -> None:
    """A newsletter in the morning by one worker, the next one in the afternoon by another."""
    books = Books(tmp_path)
    for _ in range(3):
        books.one.count("sender alice", RATES, 1)
    books.clock.time += 5 * 3600.0
    books.one.expire()
    books.two.count("sender alice", RATES, 1)
    assert not books.two.is_suspended("sender alice")


async def test_it_takes_back_by_itself(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.one.count("sender alice", RATES, 1)
    books.clock.time += 3601.0
    running = asyncio.create_task(books.one.run())
    await asyncio.sleep(0)
    running.cancel()
    assert set(books.counts.counts.values()) == {0}


def test_who_is_resumed_begins_anew(tmp_path: Path) -> None:
    books = Books(tmp_path)
    for _ in range(2):
        for _ in range(4):
            books.one.count("sender alice", RATES, 1)
        assert books.two.is_suspended("sender alice")
        assert books.suspensions.remove("sender alice")
    books.one.count("sender alice", RATES, 1)
    assert not books.two.is_suspended("sender alice")


def test_a_suspension_stays_until_somebody_resumes_it(tmp_path: Path) -> None:
    suspensions = Suspensions(tmp_path)
    assert suspensions.all() == ()
    assert suspensions.add(Suspension("sender alice", 5.0, "why"))
    assert not suspensions.add(Suspension("sender alice", 6.0, "again"))
    assert suspensions.add(Suspension("domain own.example", 4.0, "more"))
    assert [(one.account, one.since, one.reason) for one in Suspensions(tmp_path).all()] == [
        ("domain own.example", 4.0, "more"),
        ("sender alice", 5.0, "why"),
    ]
    assert suspensions.remove("sender alice")
    assert not suspensions.remove("sender alice")
    assert not suspensions.has("sender alice")


def test_a_file_that_was_cut_short_still_suspends(tmp_path: Path) -> None:
    suspensions = Suspensions(tmp_path)
    suspensions.add(Suspension("sender alice", 5.0, "why"))
    next((tmp_path / "suspended").iterdir()).write_text("{")
    assert suspensions.has("sender alice")
    assert [one.account for one in suspensions.all()] == ["sender alice"]


def test_a_name_of_dots_stays_in_the_directory(tmp_path: Path) -> None:
    suspensions = Suspensions(tmp_path)
    suspensions.add(Suspension("sender ..", 5.0, "why"))
    assert [file.name for file in (tmp_path / "suspended").iterdir()] == ["sender=.."]


def test_a_suspension_that_cannot_be_written_is_an_alarm_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "suspended").write_text("a file where the directory should be")
    books = Books(tmp_path)
    for _ in range(5):
        books.one.count("sender alice", RATES, 1)
    assert {(event.name, event.level) for event in books.events} == {("suspension-failed", Level.ALARM)}


@pytest.mark.parametrize("account", ["sender a/b@own.example", "sender ../a@own.example", 'sender "a b"@own.example'])
def test_any_login_can_be_suspended(tmp_path: Path, account: str) -> None:
    suspensions = Suspensions(tmp_path)
    assert not suspensions.has(account)
    assert suspensions.add(Suspension(account, 5.0, "why"))
    assert suspensions.has(account)
    assert [one.account for one in suspensions.all()] == [account]
    assert len(list((tmp_path / "suspended").iterdir())) == 1
    assert suspensions.remove(account)
    assert suspensions.generation(account)


def test_what_a_next_hop_refuses_counts_for_the_sender_and_its_domain(tmp_path: Path) -> None:
    books = Books(tmp_path)
    outbound = SimpleNamespace(domain_rates=Rates(failures=3))
    config = SimpleNamespace(outbound=outbound, sender=[SimpleNamespace(name="alice", rates=RATES)], tenant=[])
    failures = Failures(books.one, lambda: cast("RuntimeConfig", SimpleNamespace(config=config)))
    for number in range(4):
        fields = (("rcpt", f"{number}@far.example"), ("sender", "alice"), ("domain", "own.example"))
        failures(Event("failed", "x", fields, Level.WARNING))
        assert books.one.is_suspended("sender alice") is (number >= 2)
        assert books.one.is_suspended("domain own.example") is (number >= 3)
    failures(Event("failed", "x", (("rcpt", "a@b.example"),), Level.WARNING))
    failures(Event("delivered", "x", fields, Level.INFO))
