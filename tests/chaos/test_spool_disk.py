"""A disk that fills up, fails, or loses its power: refused writes are not kept, acknowledged ones are."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.model.delivery import Intake
from gateway.model.message import Evidence, Message
from gateway.ports import SpoolFull
from gateway.spool.disk import Disk
from gateway.spool.rows import RetentionPeriods
from gateway.spool.sqlite import SqliteSpool
from tests.chaos.spool_checks import Log, check, run_and_kill
from tests.support.spooling import (
    HandClock,
    claim_of,
    content_files,
    content_of,
    make_intake,
    make_message,
    make_refusal,
    make_settlement,
)

_ROOT = Path(__file__).resolve().parent.parent.parent


async def open_spool(directory: Path, disk: Disk, reserve: int = 0) -> SqliteSpool:
    return await SqliteSpool.open(directory, HandClock(), retention=RetentionPeriods(), reserve=reserve, disk=disk)


async def commit_until_full(
    spool: SqliteSpool, size: int = 20_000, at_once: int = 8
) -> tuple[list[Intake], list[Intake]]:
    """(stored, refused) receptions, the last round of them all or partly refused."""
    stored: list[Intake] = []
    while True:
        intakes = [make_intake(message=make_message(os.urandom(size)), claimed=True) for _ in range(at_once)]
        results = await asyncio.gather(*(spool.commit(one) for one in intakes), return_exceptions=True)
        refused = [one for one, result in zip(intakes, results, strict=True) if result is not None]
        stored += [one for one in intakes if one not in refused]
        if refused:
            assert all(isinstance(result, SpoolFull | None) for result in results)
            return stored, refused


async def expect(spool: SqliteSpool, stored: list[Intake], refused: list[Intake]) -> None:
    for intake in stored:
        story = await spool.reader.story(intake.trace.id)
        assert story is not None
        assert story.waiting == intake.transfers
    for intake in refused:
        assert await spool.reader.story(intake.trace.id) is None
    assert sum((await spool.reader.counts()).values()) == len(stored)


# a full disk


async def test_database_that_may_not_grow(tmp_path: Path) -> None:
    def connect(path: Path, read_only: bool) -> sqlite3.Connection:
        connection = Disk().connect(path, read_only)
        connection.execute("PRAGMA max_page_count = 200")
        return connection

    spool = await open_spool(tmp_path, Disk(connect=connect))
    stored, refused = await commit_until_full(spool)
    assert len(stored) > 20
    await expect(spool, stored, refused)
    # Outcomes can still be written, and they make room.
    for intake in stored[:10]:
        assert await spool.settle(make_settlement(claim_of(intake)))
    await spool.commit(refused[0])
    await spool.close()
    spool = await open_spool(tmp_path, Disk(connect=connect))
    await expect(spool, [*stored[10:], refused[0]], refused[1:])
    await spool.close()


@contextmanager
def largest_file(octets: int) -> Iterator[None]:
    """No file of this process may grow beyond `octets`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_log_that_may_not_grow(tmp_path: Path) -> None:
    spool = await open_spool(tmp_path, Disk())
    with largest_file(1_000_000):
        stored, refused = await commit_until_full(spool)
        await expect(spool, stored, refused)
    assert len(stored) > 10
    await spool.commit(refused[0])
    assert await spool.settle(make_settlement(claim_of(stored[0])))
    await spool.close()
    spool = await open_spool(tmp_path, Disk())
    await expect(spool, [*stored[1:], refused[0]], refused[1:])
    await spool.close()


async def test_content_file_that_may_not_grow(tmp_path: Path) -> None:
    spool = await open_spool(tmp_path, Disk())
    with largest_file(3_000_000):
        writer = spool.open_content()
        for _ in range(100):
            writer.write(bytes(65_536))
        with pytest.raises(SpoolFull):
            await writer.finish()
        writer.discard()
        assert content_files(tmp_path) == set()
    await spool.close()


async def test_reserve_refuses_mail_but_takes_outcomes(tmp_path: Path) -> None:
    free = [10_000_000]
    spool = await open_spool(tmp_path, Disk(free=lambda _: free[0]), reserve=5_000_000)
    kept, refused = make_intake(claimed=True), make_intake()
    await spool.commit(kept)
    free[0] = 4_999_999
    results = await asyncio.gather(
        spool.commit(refused), spool.settle(make_settlement(claim_of(kept))), return_exceptions=True
    )
    assert isinstance(results[0], SpoolFull)
    assert results[1] is True
    await spool.commit(make_refusal(durable=False))  # refusals are recorded in half of the reserve
    await spool.purge(0)  # writes are in order
    assert await spool.reader.story(refused.trace.id) is None
    free[0] = 2_499_999
    await spool.commit(make_refusal(durable=False))
    writer = spool.open_content()
    for _ in range(200):
        writer.write(bytes(65_536))
    with pytest.raises(SpoolFull):
        await writer.finish()
    await spool.close()
    assert spool.unwritten == 1
    assert content_files(tmp_path) == set()


# a disk that fails


class Switch:
    """Lets fsync fail, and records the synced files."""

    def __init__(self) -> None:
        self.fails = False
        self.calls = 0

    def sync(self, descriptor: int) -> None:
        self.calls += 1
        if self.fails:
            raise OSError(5, "Input/output error")
        os.fsync(descriptor)


async def test_content_whose_sync_fails_is_refused_and_gone(tmp_path: Path) -> None:
    switch = Switch()
    spool = await open_spool(tmp_path, Disk(sync=switch.sync))
    switch.fails = True
    writer = spool.open_content()
    for _ in range(400):
        writer.write(bytes(65_536))
    with pytest.raises(SpoolFull, match="Input/output error"):
        await writer.finish()
    # After a failure the same descriptor is not synced again, and the success of the next file does not clear the
    # fault.
    switch.fails = False
    writer.discard()
    other = spool.open_content()
    other.write(bytes(2_000_000))
    assert {Path(await other.finish()).name} == content_files(tmp_path)
    await spool.close()


async def test_content_is_synced_with_its_directory_before_the_row(tmp_path: Path) -> None:
    switch = Switch()
    spool = await open_spool(tmp_path, Disk(sync=switch.sync))
    switch.calls = 0
    data = bytes(2_000_000)
    writer = spool.open_content()
    writer.write(data)
    message = Message(content_of(data, await writer.finish()), Evidence(b"", (), len(data)))
    assert switch.calls == 2
    await spool.commit(make_intake(message=message))
    await spool.close()


async def test_refused_commit_takes_its_file_away(tmp_path: Path) -> None:
    spool = await open_spool(tmp_path, Disk())
    await spool.commit(make_intake(id="twice"))
    writer = spool.open_content()
    writer.write(bytes(2_000_000))
    message = Message(content_of(bytes(2_000_000), await writer.finish()), Evidence(b"", (), 2_000_000))
    with pytest.raises(sqlite3.IntegrityError):
        await spool.commit(make_intake(id="twice", message=message))
    await spool.close()
    assert content_files(tmp_path) == set()


class FailingConnection(sqlite3.Connection):
    """COMMIT and checkpoints fail on demand, as they do when the disk does."""

    fails: frozenset[str] = frozenset()
    seen: tuple[str, ...] = ()

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        word = next((word for word in ("COMMIT", "checkpoint(TRUNCATE)") if word in sql), "")
        if word:
            self.seen += (word,)
        if word in self.fails:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *values)


async def test_after_a_failed_commit_the_log_is_emptied_first(tmp_path: Path) -> None:
    made: list[FailingConnection] = []

    def connect(path: Path, read_only: bool) -> sqlite3.Connection:
        made.append(sqlite3.connect(path, factory=FailingConnection, isolation_level=None, check_same_thread=False))
        return made[-1]

    spool = await open_spool(tmp_path, Disk(connect=connect))
    writing = made[0]
    first, refused, last = make_intake(), [make_intake() for _ in range(6)], make_intake()
    await spool.commit(first)
    writing.fails = frozenset(("COMMIT", "checkpoint(TRUNCATE)"))
    results = await asyncio.gather(*(spool.commit(one) for one in refused[:5]), return_exceptions=True)
    assert all(isinstance(result, SpoolFull) for result in results)
    # The commit would succeed now, but the content of the log is not yet certain.
    writing.fails, writing.seen = frozenset(("checkpoint(TRUNCATE)",)), ()
    with pytest.raises(SpoolFull):
        await spool.commit(refused[5])
    assert "COMMIT" not in writing.seen
    writing.fails, writing.seen = frozenset(), ()
    await spool.commit(last)
    assert writing.seen == ("checkpoint(TRUNCATE)", "COMMIT")
    await spool.close()
    spool = await open_spool(tmp_path, Disk())
    await expect(spool, [first, last], refused)
    await spool.close()


# the same by real system calls, and a power failure


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for failing_disk.c")
    library = tmp_path_factory.mktemp("disk") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


@pytest.mark.parametrize("failure", ["eio", "full"])
@pytest.mark.parametrize("end", ["heal", "die"])
def test_failing_system_calls(failing_disk: Path, tmp_path: Path, failure: str, end: str) -> None:
    directory = tmp_path / "spool"
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "LD_PRELOAD": str(failing_disk), "DISK_ROOT": str(directory)}
    ended = subprocess.run(
        [sys.executable, str(_ROOT / "tests/chaos/spool_on_bad_disk.py"), str(directory), failure, end],
        env=environment,
        cwd=_ROOT,
        timeout=30,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["stored"] * 4 + ["SpoolFull"] * 8 + ["stored"] * 3 * (end == "heal")
    asyncio.run(expect_after_failure(directory, certain=end == "heal" or failure == "full", healed=end == "heal"))


async def expect_after_failure(directory: Path, certain: bool, healed: bool) -> None:
    """`certain` is False when the process died before the log could be emptied after an fsync error: then the octets
    of a refused write may be found whole. That doubles a message whose client tries again, and loses none."""
    spool = await SqliteSpool.open(directory, HandClock())
    for at in range(4):
        story = await spool.reader.story(f"before{at}")
        assert story is not None
        if certain:
            assert bool(story.endings) == (at == 1 and healed)
    for id in ("during", *(f"during{at}" for at in range(5))):
        story = await spool.reader.story(id)
        assert story is None or (not certain and story.content_kept and len(story.waiting) == 1)
    assert (await spool.reader.story("after") is not None) == healed
    assert content_files(directory) == set()
    await spool.close()


def rebuild(shadow: Path, image: Path) -> None:
    """Rebuild the disk after a power failure: the names that a directory sync wrote, with the octets that a file sync
    wrote."""
    image.mkdir()
    for name in (shadow / ".names").read_text().split():
        source, target = shadow / name, image / name
        if source.is_dir():
            if (source / ".names").exists():
                rebuild(source, target)
            else:
                target.mkdir()
        elif source.exists():
            shutil.copyfile(source, target)
        elif not name.endswith("-shm"):
            target.touch()


async def test_power_cut(failing_disk: Path, tmp_path: Path, full_count: Callable[[int], int]) -> None:
    chance = random.Random()
    for round in range(full_count(3)):
        directory, shadow, path = (tmp_path / f"{name}{round}" for name in ("spool", "shadow", "log"))
        extra = {"LD_PRELOAD": str(failing_disk), "DISK_ROOT": str(directory), "DISK_SHADOW": str(shadow)}
        run_and_kill(directory, path, chance.randrange(1 << 30), chance.uniform(0.3, 0.8), extra)
        log = Log()
        log.read(path)
        assert log.acknowledged
        rebuild(shadow, tmp_path / f"image{round}")
        await check(tmp_path / f"image{round}", log)
