"""A backend's window over all workers: never more sessions than its size, and a guaranteed part for each worker."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from gateway.net import pool
from gateway.net.pool import ConcurrencyWindow
from gateway.service.tally import SharedCounts


def make_windows(most: int, workers: int = 2) -> list[ConcurrencyWindow]:
    counts = SharedCounts(workers)
    return [ConcurrencyWindow("google", most, counts.tally(worker)) for worker in range(workers)]


async def hold(window: ConcurrencyWindow, release: asyncio.Event) -> None:
    async with window.place():
        await release.wait()


async def start(window: ConcurrencyWindow, count: int, release: asyncio.Event) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(hold(window, release)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_one_worker_has_all_of_it() -> None:
    (window,) = make_windows(3, workers=1)
    release = asyncio.Event()
    tasks = await start(window, 2, release)
    assert (window.room(), window.spare()) == (1, 1)
    tasks += await start(window, 2, release)
    assert window.room() == 0
    release.set()
    await asyncio.gather(*tasks)
    assert window.room() == 3


async def test_places_of_the_others_are_taken() -> None:
    one, other = make_windows(4)
    release = asyncio.Event()
    tasks = await start(one, 3, release)
    assert other.room() == 1
    release.set()
    await asyncio.gather(*tasks)
    assert other.room() == 4


async def test_idle_sessions_of_the_others_are_taken_and_ones_own_are_not() -> None:
    one, other = make_windows(4)
    one.keep(2)
    assert (one.room(), other.room()) == (4, 2)
    one.keep(0)
    assert other.room() == 4
    release = asyncio.Event()
    tasks = await start(one, 3, release)
    assert one.spare() == 0
    release.set()
    await asyncio.gather(*tasks)


async def test_who_has_more_than_its_part_gives_way_to_who_has_less() -> None:
    one, other = make_windows(4)
    first, second = asyncio.Event(), asyncio.Event()
    tasks = await start(one, 2, first) + await start(one, 2, second)
    assert other.room() == 0
    first.set()
    await asyncio.gather(*tasks[:2])
    # Both places are free, and for the other.
    assert (one.room(), other.room()) == (0, 2)
    more = asyncio.Event()
    tasks += await start(other, 2, more)
    assert other.room() == 0
    second.set()
    more.set()
    await asyncio.gather(*tasks)
    assert (one.room(), other.room()) == (4, 4)


async def test_more_workers_than_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its turn, and never two at once."""
    monkeypatch.setattr(pool, "_PAUSE", 0.001)
    windows = make_windows(1, workers=3)
    busy, most, done = 0, 0, [0, 0, 0]

    async def work(number: int) -> None:
        nonlocal busy, most
        while done[number] < 20:
            if not windows[number].room():
                await asyncio.sleep(0.001)
                continue
            async with windows[number].place():
                busy += 1
                most = max(most, busy)
                await asyncio.sleep(0)
                busy -= 1
            done[number] += 1

    async with asyncio.timeout(10):
        await asyncio.gather(*(work(number) for number in range(3)))
    assert most == 1


async def test_never_more_than_the_window_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_PAUSE", 0.001)
    windows = make_windows(5, workers=3)
    busy, most = 0, 0

    async def work(window: ConcurrencyWindow) -> None:
        nonlocal busy, most
        async with window.place():
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.001)
            busy -= 1

    async with asyncio.timeout(20):
        await asyncio.gather(*(work(window) for window in itertools.islice(itertools.cycle(windows), 90)))
    assert most == 5
    assert [window.room() for window in windows] == [5, 5, 5]


async def test_cancelled_waiter_leaves_nothing_behind() -> None:
    one, other = make_windows(1)
    release = asyncio.Event()
    tasks = await start(one, 1, release)
    waiting = await start(other, 1, release)
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    release.set()
    await asyncio.gather(*tasks)
    assert (one.room(), other.room()) == (1, 1)
