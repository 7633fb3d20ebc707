"""Unreadable rows: they are held, reported and shown, and everything else goes on. They go on too once a program that
can read them runs."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.spool.queries import migrate
from tests.fixtures.spools.make_spool import HERE, Backend, Scene
from tests.support.commands import type_command
from tests.support.gateway_process import ROOT

pytestmark = pytest.mark.slow

FROM_THE_FUTURE = b"\x7e\xffa form that this program does not know"
DAMAGE = {
    "waiting": "UPDATE transfer SET body = ? WHERE message = :n",
    "waiting, large": "UPDATE transfer SET rcpts = ? WHERE message = :n",
    "waiting, null sender": "UPDATE trace SET body = ? WHERE n = :n",
    "waiting, unsigned return path": "UPDATE transfer SET body = CAST(? AS TEXT) WHERE message = :n",
    "deferred": "UPDATE attempt SET body = ? WHERE message = :n",
}
"""The statement that damages a row, by the message's name."""


class Damaged:
    """A spool with such rows, and backends that take everything."""

    def __init__(self, directory: Path, north: Backend, south: Backend) -> None:
        with tarfile.open(HERE / "d66c04c.tar.xz") as packed:
            packed.extractall(directory, filter="data")
        self.ids: dict[str, str] = json.loads((directory / "told.json").read_text())["ids"]
        self.backends = (north, south)
        self.scene = Scene(ROOT, directory, north.port, south.port, north.port)
        self.scene.write_config()
        for path in sorted(self.scene.spool.glob("*/spool.db")):
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                migrate(connection, str(path))
        self._before: dict[str, tuple[Path, str, list[Any]]] = {}

    def spoil(self, name: str) -> None:
        for path in sorted(self.scene.spool.glob("*/spool.db")):
            with closing(sqlite3.connect(path)) as connection, connection:
                found = connection.execute("SELECT n FROM trace WHERE id = ?", (self.ids[name],)).fetchone()
                if found:
                    statement = DAMAGE[name].replace(":n", str(found[0]))
                    _, table, _, column, *_ = statement.split()
                    where = statement[statement.index("WHERE") :]
                    (octets,) = connection.execute(f"SELECT {column} FROM {table} {where}").fetchone()
                    connection.execute(statement, (FROM_THE_FUTURE,))
                    self._before[name] = (path, statement, octets)

    def mend(self, name: str) -> None:
        path, statement, octets = self._before[name]
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement, (octets,))

    def type(self, *words: str) -> tuple[int, str]:
        status, out, err = type_command(*words, config=self.scene.config)
        assert "Traceback" not in err
        return status, " ".join((out + err).split())

    def queued(self) -> dict[str, Any]:
        _, out, _ = type_command("queue", "list", "--json", config=self.scene.config)
        return {one["message"]: one for one in json.loads(out)}

    def events(self, name: str) -> list[Any]:
        lines = (self.scene.directory / "gateway.log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def wait(self, *names: str) -> None:
        """Until these are delivered."""
        end = time.monotonic() + 60
        while set(self.queued()) & {self.ids[name] for name in names}:
            assert time.monotonic() < end, self.queued()
            type_command("queue", "retry", "--all", config=self.scene.config)
            time.sleep(0.3)


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Damaged]:
    with ExitStack() as stack:
        north, south = (stack.enter_context(Backend().serving()) for _ in range(2))
        north.patient = south.patient = True
        yield Damaged(tmp_path, north, south)


def test_damaged_rows_are_held_told_shown_and_sent_when_they_can_be_read(damaged: Damaged) -> None:
    for name in DAMAGE:
        damaged.spoil(name)
    lost = [damaged.ids[name] for name in ("waiting", "waiting, large", "waiting, unsigned return path")]

    for words in (("explain",), ("queue", "show")):
        status, said = damaged.type(*words, damaged.ids["waiting"])
        assert status == 0
        assert "cannot be read: stored in an unknown form" in said
        status, said = damaged.type(*words, damaged.ids["waiting, null sender"])
        assert status == 2
        assert f"what is stored of {damaged.ids['waiting, null sender']} cannot be read" in said
        assert damaged.type(*words, damaged.ids["deferred"])[0] == 0
    assert set(lost) <= set(damaged.queued())
    assert damaged.type("queue", "failed")[0] == 0
    assert damaged.type("spool", "check")[0] == 1

    with damaged.scene.serving():
        # Due at once, because the step of their schedule is a century. Damage is found when a transfer is claimed.
        for path in damaged.scene.spool.glob("*/spool.db"):
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("UPDATE transfer SET wake = 1, due = 1 WHERE wake IS NOT NULL")
        damaged.wait("deferred", "waiting, split", "from within, waiting")
        end = time.monotonic() + 20
        while {event["id"] for event in damaged.events("row-unreadable")} < set(lost):
            assert time.monotonic() < end
            time.sleep(0.2)
        assert {event["level"] for event in damaged.events("row-unreadable")} == {"alarm"}
        queued = damaged.queued()
        for id in lost:
            assert queued[id]["state"] == "held"
            assert queued[id]["last_reply"].startswith("unreadable row: ")
        status, said = damaged.type("queue", "release", lost[0])
        assert (status, "its row is unreadable" in said) == (1, True)

    damaged.mend("waiting")
    with damaged.scene.serving():
        damaged.wait("waiting")
        assert lost[1] in damaged.queued(), "the other is still not readable"
    status, said = damaged.type("queue", "show", lost[0])
    assert (status, "delivered" in said) == (0, True)


def test_a_transfer_whose_message_is_gone_is_shown_and_stops_nobody(damaged: Damaged) -> None:
    id = damaged.ids["waiting"]
    for path in damaged.scene.spool.glob("*/spool.db"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM message WHERE n = (SELECT n FROM trace WHERE id = ?)", (id,))
            connection.execute("UPDATE transfer SET wake = 1, due = 1 WHERE wake IS NOT NULL")
    assert id in damaged.queued()
    with damaged.scene.serving():
        damaged.wait("waiting, large", "waiting, split")
    assert damaged.events("row-unreadable")[0]["error"] == "its message is gone"
    assert damaged.queued()[id]["state"] == "held"
