"""Group commit: jobs that wait together form one transaction, and each job in it is all or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.ports import SpoolFull
from gateway.spool import writer
from gateway.spool.writer import Writer


class Spy(sqlite3.Connection):
    """Counts commits; the next `failing` ones fail like a failing fsync."""

    commits = 0
    failing = 0

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.commits += 1
            if self.failing:
                self.failing -= 1
                raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *values)


def put(value: str, times: int = 1) -> Callable[[sqlite3.Connection], str]:
    """A job that writes rows; each value is unique."""

    def work(connection: sqlite3.Connection) -> str:
        for _ in range(times):
            connection.execute("INSERT INTO kept VALUES (?)", (value,))
        return value

    return work


def fail_once() -> Callable[[sqlite3.Connection], str]:
    """A job that refuses before it writes, and would not do so a second time."""
    calls = []

    def work(connection: sqlite3.Connection) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise SpoolFull("almost")
        return "at last"

    return work


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, factory=Spy, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE kept (value TEXT UNIQUE)")
        self.writer = Writer(self.connection)

    async def together(self, *works: Callable[[sqlite3.Connection], object]) -> list[Any]:
        """Run jobs as one batch: they queue up after one that waits for them."""
        gate = threading.Event()
        first = asyncio.ensure_future(self.writer.run(lambda _: gate.wait(5)))
        await asyncio.sleep(0.05)
        tasks = [asyncio.ensure_future(self.writer.run(work)) for work in works]
        await asyncio.sleep(0)
        failing, self.connection.failing = self.connection.failing, 0
        gate.set()
        await first
        self.connection.failing = failing
        return await asyncio.gather(*tasks, return_exceptions=True)

    def kept(self) -> list[str]:
        connection = sqlite3.connect(self.path)
        values = [value for (value,) in connection.execute("SELECT value FROM kept ORDER BY value")]
        connection.close()
        return values


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "db")
    yield bench
    await bench.writer.close()


async def test_what_waits_together_is_one_transaction(bench: Bench) -> None:
    values = [f"{at:02d}" for at in range(40)]
    assert await bench.together(*map(put, values)) == values
    assert bench.connection.commits == 2
    assert bench.kept() == values


async def test_job_that_fails_half_way_fails_alone(bench: Bench) -> None:
    results = await bench.together(put("a"), put("b", times=2), put("c"))
    assert (results[0], results[2]) == ("a", "c")
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert bench.kept() == ["a", "c"]


async def test_job_that_fails_at_once_disturbs_nobody(bench: Bench) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        raise SpoolFull("almost")

    results = await bench.together(put("a"), refuse, put("b"))
    assert isinstance(results[1], SpoolFull)
    assert bench.connection.commits == 2
    assert bench.kept() == ["a", "b"]


async def test_failed_sync_fails_the_whole_batch_and_is_not_tried_again(bench: Bench) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(bench.writer.run(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    # The first commit of these two batches fails, then the second: a third could succeed.
    bench.connection.failing = 2
    tasks = [asyncio.ensure_future(bench.writer.run(put(value))) for value in "abc"]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert all(isinstance(result, SpoolFull) for result in results)
    assert bench.kept() == []
    assert await bench.writer.run(put("d")) == "d"
    assert bench.kept() == ["d"]


async def test_cancelled_caller_does_not_undo_and_the_hook_runs(bench: Bench) -> None:
    seen: list[str] = []
    task = asyncio.ensure_future(bench.writer.run(put("a"), settled=seen.append))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bench.writer.run(put("b"))
    assert (bench.kept(), seen) == (["a", "b"], ["a"])


async def test_hook_does_not_run_for_what_failed(bench: Bench) -> None:
    seen: list[str] = []
    with pytest.raises(sqlite3.IntegrityError):
        await bench.writer.run(put("a", times=2), settled=seen.append)
    gate = threading.Event()
    first = asyncio.ensure_future(bench.writer.run(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    refused = asyncio.ensure_future(bench.writer.run(fail_once(), settled=seen.append))
    good = asyncio.ensure_future(bench.writer.run(put("b"), settled=seen.append))
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(first, refused, good, return_exceptions=True)
    assert isinstance(results[1], SpoolFull)
    assert seen == ["b"]


async def test_error_of_a_batch_that_was_begun_again_is_forgotten(bench: Bench) -> None:
    results = await bench.together(fail_once(), put("b", times=2))
    assert results[0] == "at last"
    assert isinstance(results[1], sqlite3.IntegrityError)


async def test_queue_is_bounded(bench: Bench) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(bench.writer.run(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    posts = [asyncio.ensure_future(bench.writer.post(put(f"{at:04d}"))) for at in range(1000)]
    await asyncio.sleep(0.05)
    assert 0 < sum(post.done() for post in posts) < 600
    gate.set()
    await asyncio.gather(first, *posts)
    await bench.writer.run(put("last"))
    assert len(bench.kept()) == 1001


async def test_failures_nobody_waits_for_are_counted(bench: Bench) -> None:
    await bench.writer.post(put("a", times=2))
    await bench.writer.post(put("b"))
    await bench.writer.run(put("c"))
    assert bench.writer.unwritten == 1
    assert bench.kept() == ["b", "c"]


async def test_durable_commits_sync_and_others_need_not(bench: Bench) -> None:
    def level(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    assert await bench.writer.run(level, durable=False) == normal
    assert await bench.writer.run(level) == full
    assert await bench.writer.run(level, durable=False) == normal
    # One durable job makes the whole batch durable.
    gate = threading.Event()
    first = asyncio.ensure_future(bench.writer.run(lambda _: gate.wait(5), durable=False))
    await asyncio.sleep(0.05)
    rest = [asyncio.ensure_future(bench.writer.run(level, durable=durable)) for durable in (False, True, False)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*rest) == [full] * 3
    await first


async def test_small_writes_are_put_by_the_loop_and_others_by_the_thread(bench: Bench) -> None:
    def where(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO kept VALUES (?)", (str(threading.get_ident()),))
        return threading.get_ident()

    here = threading.get_ident()
    assert await bench.writer.run(where, quick=True) == here
    thread = await bench.writer.run(where)
    assert thread != here
    assert sorted(bench.kept()) == sorted(map(str, (here, thread)))
    # One slow job moves its whole batch to the thread.
    bench.connection.execute("DELETE FROM kept")

    def who(connection: sqlite3.Connection) -> int:
        return threading.get_ident()

    both = await asyncio.gather(bench.writer.run(who, quick=True), bench.writer.run(who))
    assert both == [thread, thread]


async def test_small_write_that_is_wrong_fails_alone(bench: Bench) -> None:
    writes = [bench.writer.run(put(value, times), quick=True) for value, times in (("a", 1), ("b", 2), ("c", 1))]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert bench.kept() == ["a", "c"]


async def test_small_write_whose_sync_fails_is_refused(bench: Bench) -> None:
    bench.connection.failing = 1
    with pytest.raises(SpoolFull):
        await bench.writer.run(put("a"), quick=True)
    assert await bench.writer.run(put("b"), quick=True) == "b"
    assert bench.kept() == ["b"]


async def test_lone_write_does_not_wait_for_company(bench: Bench) -> None:
    await bench.writer.run(put("warm"), quick=True)
    started = time.perf_counter()
    for number in range(20):
        await bench.writer.run(put(str(number)), quick=True, durable=False)
    assert time.perf_counter() - started < 20 * 0.005, "that would be all of its patience"


async def test_hook_that_fails_disturbs_nobody(bench: Bench) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(str(context["exception"])))

    def fail(result: str) -> None:
        raise RuntimeError(f"after {result}")

    first = bench.writer.run(put("a"), quick=True, settled=fail)
    assert await asyncio.gather(first, bench.writer.run(put("b"), quick=True)) == ["a", "b"]
    assert told == ["after a"]
    assert await bench.writer.run(put("c")) == "c"


async def test_checkpoint_that_fails_stops_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_LONG_LOG", 0)
    tried: list[str] = []

    def fail(self: Spy, sql: str, *values: Any) -> sqlite3.Cursor:
        if "wal_checkpoint(PASSIVE)" in sql:
            tried.append(sql)
            raise MemoryError
        return sqlite3.Connection.execute(self, sql, *values)

    monkeypatch.setattr(Spy, "execute", fail)
    for value in "abc":
        assert await asyncio.wait_for(bench.writer.run(put(value), quick=True), 5) == value
    assert tried
    assert bench.kept() == ["a", "b", "c"]


async def test_close_that_was_cancelled_goes_on(bench: Bench) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(bench.writer.run(lambda _: gate.wait(5)))
    await asyncio.sleep(0.05)
    last = asyncio.ensure_future(bench.writer.run(put("last"), quick=True))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(bench.writer.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    gate.set()
    assert await last == "last"
    await first
    await asyncio.wait_for(bench.writer.close(), 5)
    assert bench.kept() == ["last"]


async def test_closed_writer_refuses(bench: Bench) -> None:
    await bench.writer.run(put("a"))
    await bench.writer.close()
    await bench.writer.close()
    with pytest.raises(SpoolFull):
        await bench.writer.run(put("b"))
