"""From the version before to this one and an attempt to go back: nothing that was acknowledged is lost, altered or
doubled on the way. The version before is taken from the repository's history."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.spools.make_spool import EDGE, Backend, Scene, text
from tests.support.gateway_process import ROOT

pytestmark = pytest.mark.slow

BEFORE = "d66c04c"
AUTHOR = "author@sender.example"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A checkout of the version before."""
    packed = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True)
    if packed.returncode:
        pytest.skip(f"the history has no commit {BEFORE}: {packed.stderr.decode().strip()}")
    checkout = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(checkout, filter="data")
    return checkout


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    directory = tmp_path / "scene"
    directory.mkdir()
    (directory / "zone.json").write_text('{"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]}}')
    return Scene(ROOT, directory, schedule="[1]")


def test_forth_and_not_back(scene: Scene, before: Path) -> None:
    """The version before takes mail, this one takes the spool over. It has a newer format: the version before refuses
    to start and leaves everything as it is, and this version sends all of it, once."""
    for number, checkout in enumerate((before, ROOT)):
        scene.checkout = checkout
        with scene.serving():
            sent = scene.send(EDGE, AUTHOR, ["alice@corp.example"], text(AUTHOR, f"number {number}"))
            queued = {one["message"]: one["state"] for one in scene.ask("queue", "list")}
            assert sent in queued
            assert len(queued) == number + 1
            assert "held" not in queued.values()
    scene.checkout = before
    with pytest.raises(AssertionError, match="written by a newer version"), scene.serving():
        pass
    scene.checkout = ROOT
    with ExitStack() as stack:
        north = stack.enter_context(Backend().serving())
        scene.north = north.port
        with scene.serving():
            end = time.monotonic() + 60
            while scene.ask("queue", "list"):
                assert time.monotonic() < end
                time.sleep(0.3)
    subjects = Counter(line for _, _, octets in north.taken for line in octets.split(b"\r\n") if b"Subject" in line)
    assert subjects == {b"Subject: number 0": 1, b"Subject: number 1": 1}
