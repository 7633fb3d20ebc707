"""The memory of the greylist: learnt with a reception, removed in time, bounded in number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.model.history import Acquaintance
from gateway.model.value import replace
from gateway.ports import Spool
from tests.contract.test_spool import DAY, IMPLEMENTATIONS, Bench
from tests.support.spooling import START, make_intake, make_refusal

STRANGER = Acquaintance("domain new.example", START, passed=False, expires=START + 2 * DAY)
FRIEND = Acquaintance("domain new.example", START, passed=True, expires=START + 35 * DAY)


@pytest.fixture(params=list(IMPLEMENTATIONS))
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    house = Bench(IMPLEMENTATIONS[request.param], tmp_path / "spool")
    yield house
    await house.close()


@pytest.fixture
async def spool(house: Bench) -> Spool:
    return await house.open()


async def learn(spool: Spool, *known: Acquaintance) -> None:
    for one in known:
        await spool.commit(replace(make_intake() if one.passed else make_refusal(durable=False), acquaintance=one))
    await spool.commit(make_intake())  # writes are in order, so queued ones are written before it


async def test_nobody_is_known_at_first(spool: Spool) -> None:
    assert await spool.reader.acquaintance(STRANGER.key) is None


async def test_a_first_try_is_learnt_with_the_refusal_and_outlives_the_process(house: Bench) -> None:
    spool = await house.open()
    odd = replace(STRANGER, key="network 192.0.2.0/24 b\udcff@x.example")
    await learn(spool, STRANGER, odd)
    await house.close()
    spool = await house.open()
    assert await spool.reader.acquaintance(STRANGER.key) == STRANGER
    assert await spool.reader.acquaintance(odd.key) == odd


async def test_who_was_let_in_stays_so(spool: Spool) -> None:
    await learn(spool, STRANGER, FRIEND)
    assert await spool.reader.acquaintance(STRANGER.key) == FRIEND
    await learn(spool, replace(STRANGER, expires=START + DAY))
    assert await spool.reader.acquaintance(STRANGER.key) == FRIEND, "a message that went another way takes nothing back"


async def test_who_comes_again_after_that_is_a_stranger(spool: Spool) -> None:
    await learn(spool, FRIEND)
    later = replace(STRANGER, first=START + 36 * DAY, expires=START + 38 * DAY)
    await learn(spool, later)
    assert await spool.reader.acquaintance(STRANGER.key) == later


async def test_what_has_expired_is_forgotten(spool: Spool) -> None:
    other = replace(FRIEND, key="domain old.example")
    await learn(spool, STRANGER, other)
    await spool.purge(START + 3 * DAY)
    assert await spool.reader.acquaintance(STRANGER.key) is None
    assert await spool.reader.acquaintance(other.key) == other
    await spool.purge(START + 36 * DAY)
    assert await spool.reader.acquaintance(other.key) is None
