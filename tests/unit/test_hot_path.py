"""The regression guard: the number of steps of a message, counted, not timed.

A count is the same on every machine and at every load. A change that needs more steps has to raise the number here, and
say why; one that needs fewer lowers it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.checks import make_message
from bench.sealing import make_key, make_run, make_runtime
from gateway.model.event import Event, Level
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.service.observer import Lines, Observer
from gateway.spool.disk import Disk
from gateway.spool.sqlite import SqliteSpool
from tests.support.spooling import HandClock, claim_of, make_intake, make_settlement

JUDGED = 1515
"""Calls from the first octet to the planned writes of a signed message of 10 kB to one recipient."""
SEALED = 660
"""Additional calls for an ARC seal."""
RECIPIENT = 50
"""Additional calls for one more recipient of the same domain."""
STATEMENTS = 9
"""SQL statements that store a message which is sent at once, and settle it; BEGIN and COMMIT are shared by a batch."""
LINE = 70
"""Calls for an event's line and count, in the thread that has mail to do."""


def count_calls(action: Callable[[], object]) -> int:
    """Python's and C's functions called by `action`, when it runs for the third time."""
    for _ in range(2):
        action()
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], bytes]]:
    message, zone = make_message()
    known = ZoneResolver(build_zone({name: {"TXT": records} for name, records in zone.items()})).known
    key = make_key(tmp_path_factory.mktemp("key"))
    plain, sealing = make_runtime(key, False), make_runtime(key, True)
    return {
        "plain": make_run(plain, message, known),
        "sealed": make_run(sealing, message, known),
        "twenty": make_run(plain, message, known, recipients=21),
    }


def test_judging_a_message(runs: dict[str, Callable[[], bytes]]) -> None:
    calls = count_calls(runs["plain"])
    assert 500 < calls <= JUDGED


def test_sealing_it(runs: dict[str, Callable[[], bytes]]) -> None:
    calls = count_calls(runs["sealed"]) - count_calls(runs["plain"])
    assert 50 < calls <= SEALED


def test_one_more_recipient(runs: dict[str, Callable[[], bytes]]) -> None:
    calls = (count_calls(runs["twenty"]) - count_calls(runs["plain"])) / 20
    assert 0 < calls <= RECIPIENT


async def test_statements_of_a_message(tmp_path: Path) -> None:
    said: list[str] = []

    def connect(path: Path, read_only: bool) -> sqlite3.Connection:
        connection = Disk().connect(path, read_only)
        if not read_only:
            connection.set_trace_callback(said.append)
        return connection

    spool = await SqliteSpool.open(tmp_path, HandClock(), disk=Disk(connect=connect))
    intakes = [make_intake(claimed=True) for _ in range(20)]
    said.clear()
    await asyncio.gather(*(spool.commit(intake) for intake in intakes))
    await asyncio.gather(*(spool.settle(make_settlement(claim_of(intake))) for intake in intakes))
    await spool.close()
    own = [statement for statement in said if statement.split()[0] in ("INSERT", "UPDATE", "DELETE", "SELECT")]
    assert 0 < len(own) / len(intakes) <= STATEMENTS
    assert sum(statement == "COMMIT" for statement in said) <= 4, "many messages, few commits"


def test_line_of_the_log() -> None:
    class Nowhere:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            pass

    observer = Observer(Lines("json", Level.INFO), Nowhere())  # type: ignore[arg-type]
    fields = (("client", "192.0.2.1"), ("size", 4096), ("action", "accept"), ("dmarc", "pass"), ("rule", "default"))
    calls = count_calls(lambda: observer(Event("accepted", "0t5f4k2j7h1abcd", fields)))
    observer.close()
    assert 5 < calls <= LINE
