"""The invariants of a spool after its process was killed, and the output of the killed process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.model.delivery import Story
from gateway.net.system import SystemClock
from gateway.spool.sqlite import SqliteSpool
from tests.support.spooling import content_files

_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Log:
    """The output of the killed processes (spool_victim.py)."""

    begun: dict[str, tuple[int, str, list[str]]] = field(default_factory=dict)
    """Commits: recipients of each transfer, SHA-256, backends."""
    acknowledged: set[str] = field(default_factory=set)
    settling: dict[float, tuple[str, str]] = field(default_factory=dict)
    """Settlements: message and DSN, by token."""
    settled: set[float] = field(default_factory=set)

    def read(self, path: Path) -> None:
        for line in path.read_text().splitlines():
            kind, *words = line.split()
            if kind in "cC":
                self.begun[words[0]] = (int(words[1]), words[2], words[3].split(","))
            elif kind in "sS":
                self.settling[float(words[0])] = (words[1], words[2])
            if kind == "C":
                self.acknowledged.add(words[0])
            elif kind == "S":
                self.settled.add(float(words[0]))


def run_and_kill(spool: Path, log: Path, seed: int, seconds: float, extra: Mapping[str, str] | None = None) -> None:
    """Start a victim, let it work, kill it."""
    command = [sys.executable, str(_ROOT / "tests/chaos/spool_victim.py"), str(spool), str(log), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **(extra or {})}
    with subprocess.Popen(command, env=environment, cwd=_ROOT) as process:
        end = time.monotonic() + 20
        while not (log.exists() and log.read_text().startswith("ready")):
            assert process.poll() is None, "the victim ended by itself"
            assert time.monotonic() < end, "the victim does not start"
            time.sleep(0.005)
        time.sleep(seconds)
        assert process.poll() is None, "the victim ended by itself"
        process.kill()


async def check(directory: Path, log: Log) -> None:
    """Everything that must hold after a crash."""
    spool = await SqliteSpool.open(directory, SystemClock(), reserve=0)
    try:
        stories = {id: await spool.reader.story(id) for id in log.begun}
        for id, story in stories.items():
            assert story is not None or id not in log.acknowledged, f"{id} was acknowledged and is gone"
            if story is not None:
                check_whole(story, *log.begun[id])
        for token, (message, dsn) in log.settling.items():
            told = stories[message]
            done = told is not None and token in {attempt.started for attempt in told.attempts}
            assert done or token not in log.settled, f"a settled outcome of {message} is gone"
            if dsn != "-":
                assert (await spool.reader.story(dsn) is not None) == done, f"DSN of {message} without its settlement"
        await check_claims(spool, {id: story for id, story in stories.items() if story}, log, directory)
    finally:
        await spool.close()


def check_whole(story: Story, rcpts: int, sha256: str, backends: list[str]) -> None:
    """Each recipient of each transfer waits or has ended, exactly once; content is there while one waits."""
    assert story.trace.content is not None
    assert story.trace.content.sha256.hex() == sha256
    by_rcpt = Counter(str(ending.rcpt.mailbox) for ending in story.endings)
    by_rcpt.update(str(rcpt.mailbox) for transfer in story.waiting for rcpt in transfer.rcpts)
    expected = {f"{story.trace.id}r{at}@corp.example": len(backends) for at in range(rcpts)}
    assert by_rcpt == expected
    assert story.content_kept or not story.waiting


async def check_claims(spool: SqliteSpool, stories: dict[str, Story], log: Log, directory: Path) -> None:
    """All waiting transfers can be claimed at once, with the received octets; no file is left over."""
    waiting = {transfer.id for story in stories.values() for transfer in story.waiting}
    claimed, files, now = set(), set(), time.time() + 60
    while claims := await spool.claim({"direct"}, 50, now, 900.0):
        for claim in claims:
            claimed.add(claim.transfer.id)
            digest = hashlib.sha256()
            async for chunk in spool.read_content(claim.message.content):
                digest.update(chunk)
            assert digest.hexdigest() == log.begun[claim.transfer.message_id][1]
            if claim.message.content.path:
                files.add(Path(claim.message.content.path).name)
    assert claimed == waiting
    while await spool.purge(time.time() + 1e6):
        pass
    await spool.close()
    assert content_files(directory) == files
