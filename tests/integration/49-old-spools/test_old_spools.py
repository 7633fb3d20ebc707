"""A spool of each version before, as `tests/fixtures/spools/make_spool.py` made it: today's program opens it, gives the
same account of every message, sends waiting mail octet for octet, and repeats the decisions."""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.spools.make_spool import HERE, Backend, Scene
from tests.support.commands import type_command
from tests.support.gateway_process import ROOT

pytestmark = pytest.mark.slow

SPOOLS = sorted(HERE.glob("*.tar.xz"))
TOLD = ("id", "received", "ingress", "envelope", "evidence", "dns", "results", "decision", "routes", "added", "omitted")
"""Keys of the output that later versions must not change."""
DONE = {"waiting": "delivered", "held": "delivered"}
"""The final state of each state after all mail is released."""


class OldSpool:
    """The spool below `scene`, its version's output about it, and backends that take everything."""

    def __init__(self, archive: Path, directory: Path, north: Backend, south: Backend) -> None:
        with tarfile.open(archive) as packed:
            packed.extractall(directory, filter="data")
        self.told: dict[str, Any] = json.loads((directory / "told.json").read_text())
        self.backends = (north, south)
        self.scene = Scene(ROOT, directory, north.port, south.port, north.port)
        self.scene.write_config()

    def explain(self, name: str) -> Any:
        return self.ask("explain", self.told["ids"][name])

    def ask(self, *words: str) -> Any:
        """The JSON output of a command."""
        _, out, err = type_command(*words, "--json", config=self.scene.config)
        assert out, err
        return json.loads(out)

    def let_all_go(self) -> None:
        """Everything that waits or is held is sent."""
        for name in ("held by a rule", "held by hand"):
            words = ("hold", "release") if name == "held by a rule" else ("queue", "release")
            status, out, err = type_command(*words, self.told["ids"][name], config=self.scene.config)
            assert status == 0, out + err
        end = time.monotonic() + 60
        while left := self.ask("queue", "list"):
            assert time.monotonic() < end, left
            type_command("queue", "retry", "--all", config=self.scene.config)
            time.sleep(0.5)

    def taken(self) -> Counter[str]:
        """Number of times that each content was taken, by its hash, without the fields put above."""
        known = {
            (told["evidence"]["size"], told["evidence"]["sha256"])
            for told in self.told["told"].values()
            if told["evidence"]
        }
        found: Counter[str] = Counter()
        for _, rcpts, octets in [one for backend in self.backends for one in backend.taken]:
            for size, digest in known:
                if hashlib.sha256(octets[-size:]).hexdigest() == digest:
                    found[digest] += len(rcpts)
        return found


@pytest.fixture(params=SPOOLS, ids=lambda path: path.name.split(".")[0])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OldSpool]:
    with ExitStack() as stack:
        north, south = (stack.enter_context(Backend().serving()) for _ in range(2))
        north.patient = south.patient = True
        yield OldSpool(request.param, tmp_path, north, south)


def states(tree: Any) -> dict[str, str]:
    return {one["rcpt"]: one["state"] for one in tree["recipients"]}


JUDGED_OTHERWISE = {"refused"}
"""Today's rules ask for other grounds than the rules of then, so judging again does not give the same decision."""


def test_it_says_and_does_what_it_would_have_done(old: OldSpool) -> None:
    with old.scene.serving():
        for name, before in old.told["told"].items():
            now = old.explain(name)
            assert {key: now[key] for key in TOLD} == {key: before[key] for key in TOLD}, name
            replayed = "different" if name in JUDGED_OTHERWISE else before["replayed"]
            assert (now["content"], now["replayed"]) == (before["content"], replayed), name
            assert states(now) == states(before), name
        assert {one["transfer"] for one in old.ask("queue", "list")} == {one["transfer"] for one in old.told["queue"]}
        replayed = old.ask("replay", "--since", "36500d")
        for key in ("judged", "passed_over", "changed"):
            assert replayed[key] == old.told["replay"][key], key

        old.let_all_go()
        for name, before in old.told["told"].items():
            wanted = {rcpt: DONE.get(state, state) for rcpt, state in states(before).items()}
            assert states(old.explain(name)) == wanted, name
        assert old.ask("spool", "check")["problems"] == []

    wanted = Counter[str]()
    for before in old.told["told"].values():
        if waiting := sum(state in DONE for state in states(before).values()):
            wanted[before["evidence"]["sha256"]] += waiting
    assert old.taken() == wanted
