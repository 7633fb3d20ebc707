"""The index follows the spool: new mail, what becomes of it, what is gone; and a search is complete without it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.model.delivery import Act, Ending, Final, Hold, Quota
from gateway.model.search import DeliveryState, MessageQuery
from gateway.model.value import replace
from gateway.spool.index import DIRECTORY, INDEX, IndexBroken, IndexInUse, IndexMissing, IndexReader, IndexWriter
from gateway.spool.indexing import Indexer, IndexNoRoom
from gateway.spool.rows import RetentionPeriods
from gateway.spool.search import SpoolSearch
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.stories import ShardStories
from tests.support.spooling import (
    OK,
    START,
    HandClock,
    claim_of,
    make_intake,
    make_refusal,
    make_settlement,
)

DAY = 86_400.0


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SqliteSpool]:
    made = await SqliteSpool.open(tmp_path, HandClock(), retention=RetentionPeriods(0.0, 0.0, 10 * DAY), reserve=0)
    yield made
    await made.close()


@pytest.fixture
def indexer(tmp_path: Path, spool: SqliteSpool) -> Iterator[Indexer]:
    made = Indexer(tmp_path, IndexWriter(tmp_path, True))
    yield made
    made.close()


def catch_up(indexer: Indexer) -> int:
    """Step until nothing is left; the number of messages read."""
    read = 0
    while (progress := indexer.step()).behind or progress.messages:
        read += progress.messages
    return read


def found(directory: Path, query: MessageQuery | None = None, limit: int = 100) -> list[str]:
    with closing(SpoolSearch(directory, True)) as search:
        return [one.id for one in search.find(query or MessageQuery(), limit).messages]


def proposed(directory: Path, query: MessageQuery) -> list[str]:
    """What the index alone proposes."""
    with closing(IndexReader(directory, True)) as reader:
        return [id for _, id in reader.candidates(query, 1 << 62)]


async def test_new_mail_is_found_and_each_step_reads_it_once(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer
) -> None:
    one, refused = make_intake(rcpts=("ann",), received=START + 1), make_refusal()
    await spool.commit(one)
    await spool.commit(replace(refused, durable=True))
    assert catch_up(indexer) == 2
    assert catch_up(indexer) == 0
    assert found(tmp_path) == [one.trace.id, refused.trace.id]
    assert proposed(tmp_path, MessageQuery(rcpt="ann@corp.example")) == [one.trace.id]
    assert found(tmp_path, MessageQuery(rcpt="ann@corp.example", state=DeliveryState.WAITING)) == [one.trace.id]
    assert found(tmp_path, MessageQuery(rcpt="nobody@corp.example")) == [refused.trace.id]
    with closing(IndexReader(tmp_path, True)) as reader:
        assert reader.position("0") == (2, 0)


async def test_what_becomes_of_a_message_is_followed_also_after_a_restart(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer
) -> None:
    intake = make_intake(rcpts=("ann", "ben"), claimed=True)
    await spool.commit(intake)
    catch_up(indexer)
    failed = MessageQuery(state=DeliveryState.FAILED)
    waiting, held = MessageQuery(state=DeliveryState.WAITING), MessageQuery(state=DeliveryState.HELD)
    assert (proposed(tmp_path, waiting), proposed(tmp_path, failed)) == ([intake.trace.id], [])
    ann, ben = intake.transfers[0].rcpts
    claim = claim_of(intake)
    await spool.settle(make_settlement(claim, done=((ann, Final.FAILED),), remaining=(ben,), due=START))
    catch_up(indexer)
    assert (proposed(tmp_path, waiting), proposed(tmp_path, failed)) == ([intake.trace.id], [intake.trace.id])
    (claim,) = await spool.claim((), 1, START, 60.0)
    await spool.hold(claim, "altered")
    indexer.close()
    again = Indexer(tmp_path, IndexWriter(tmp_path, True))
    catch_up(again)
    assert (proposed(tmp_path, waiting), proposed(tmp_path, held)) == ([], [intake.trace.id])
    assert found(tmp_path, MessageQuery(state=DeliveryState.HELD, rcpt="ben@corp.example")) == [intake.trace.id]
    assert found(tmp_path, MessageQuery(state=DeliveryState.HELD, rcpt="zoe@corp.example")) == []
    again.close()


async def test_a_held_message_that_an_admin_deletes(tmp_path: Path, spool: SqliteSpool, indexer: Indexer) -> None:
    intake = make_intake(hold=Hold("sender.example", START + DAY, Quota()))
    await spool.commit(intake)
    catch_up(indexer)
    assert proposed(tmp_path, MessageQuery(state=DeliveryState.HELD)) == [intake.trace.id]
    ending = Ending(intake.trace.envelope.rcpts[0], Final.DELETED, OK)
    await spool.discard(intake.trace.id, Act(START + 5, "deleted", "ann", (ending,)))
    assert catch_up(indexer) == 1
    assert proposed(tmp_path, MessageQuery(state=DeliveryState.HELD)) == []
    assert found(tmp_path, MessageQuery(state=DeliveryState.DELETED)) == [intake.trace.id]


async def test_ended_between_two_looks_it_is_still_followed(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer
) -> None:
    # The transfer is in no snapshot of waiting ones: it was read with its trace, and is gone at the next look.
    first = make_intake(claimed=True)
    await spool.commit(first)
    catch_up(indexer)
    await spool.settle(make_settlement(claim_of(first)))
    catch_up(indexer)
    assert proposed(tmp_path, MessageQuery(state=DeliveryState.WAITING)) == []
    assert proposed(tmp_path, MessageQuery(state=DeliveryState.DELIVERED)) == [first.trace.id]


async def test_traces_that_are_gone_leave_the_index_and_missed_ones_come(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer
) -> None:
    old, new = make_intake(claimed=True, received=START), make_intake(claimed=True, received=START + 9 * DAY)
    for intake in (old, new):
        await spool.commit(intake)
        await spool.settle(make_settlement(claim_of(intake)))
    catch_up(indexer)
    assert found(tmp_path) == [new.trace.id, old.trace.id]
    assert await spool.purge(START + 11 * DAY)
    indexer.compare()
    assert proposed(tmp_path, MessageQuery()) == [new.trace.id]
    with closing(sqlite3.connect(tmp_path / DIRECTORY / INDEX)) as connection:
        # The old day's terms went with it.
        assert connection.execute("SELECT count(*) FROM part").fetchone()[0] == 1
        connection.execute("DELETE FROM entry")
        connection.commit()
    indexer.compare()
    assert proposed(tmp_path, MessageQuery()) == [new.trace.id]


async def test_without_an_index_or_behind_it_nothing_is_hidden(tmp_path: Path, spool: SqliteSpool) -> None:
    intakes = [make_intake(rcpts=("ann",), received=START + at) for at in range(5)]
    for intake in intakes[:3]:
        await spool.commit(intake)
    everything = [intake.trace.id for intake in reversed(intakes)]
    assert found(tmp_path) == everything[2:]
    indexer = Indexer(tmp_path, IndexWriter(tmp_path, True))
    catch_up(indexer)
    indexer.close()
    for intake in intakes[3:]:
        await spool.commit(intake)
    assert found(tmp_path) == everything
    with closing(SpoolSearch(tmp_path, True)) as search:
        assert (search.measure().indexed, search.measure().behind) == (True, 2)
        pages, after = [], ""
        for _ in range(3):
            page = search.find(MessageQuery(domain="corp.example"), 2, after)
            pages.append([one.id for one in page.messages])
            after = page.next
    assert pages == [everything[:2], everything[2:4], everything[4:]]
    assert after == ""


async def test_times_bound_a_search(tmp_path: Path, spool: SqliteSpool, indexer: Indexer) -> None:
    intakes = [make_intake(received=START + at * DAY) for at in range(4)]
    for intake in intakes:
        await spool.commit(intake)
    query = MessageQuery(since=START + DAY, until=START + 2 * DAY)
    expected = [intakes[2].trace.id, intakes[1].trace.id]
    assert found(tmp_path, query) == expected
    catch_up(indexer)
    for one in (query, replace(query, sender="author@sender.example"), replace(query, state=DeliveryState.WAITING)):
        assert found(tmp_path, one) == proposed(tmp_path, one) == expected


async def test_one_instant_has_room_for_many(tmp_path: Path, spool: SqliteSpool, indexer: Indexer) -> None:
    intakes = [make_intake(received=START) for _ in range(4)]
    for intake in intakes:
        await spool.commit(intake)
    catch_up(indexer)
    assert set(found(tmp_path)) == {intake.trace.id for intake in intakes}


async def test_an_unreadable_trace_is_counted_and_hides_no_other(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer
) -> None:
    intakes = [make_intake(), make_intake()]
    for intake in intakes:
        await spool.commit(intake)
    with closing(sqlite3.connect(tmp_path / "0" / "spool.db")) as connection:
        connection.execute("UPDATE trace SET body = x'07' WHERE n = 1")
        connection.commit()
    catch_up(indexer)
    assert indexer.unreadable >= 1
    assert found(tmp_path) == [intakes[1].trace.id]


async def test_another_version_other_settings_and_damage_make_it_anew(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer
) -> None:
    await spool.commit(make_intake())
    catch_up(indexer)
    with pytest.raises(IndexInUse, match="another process writes the index"):
        IndexWriter(tmp_path, True)
    with pytest.raises(IndexMissing, match="other settings"):
        IndexReader(tmp_path, False)
    indexer.close()
    writer = IndexWriter(tmp_path, False)
    assert writer.count() == 0
    writer.close()
    path = tmp_path / DIRECTORY / INDEX
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(IndexMissing, match="cannot be read"):
        IndexReader(tmp_path, True)
    again = Indexer(tmp_path, IndexWriter(tmp_path, True))
    assert catch_up(again) == 1
    again.close()


async def test_a_fault_of_the_file_is_told_from_one_that_passes(
    tmp_path: Path, spool: SqliteSpool, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool.commit(make_intake())
    for error, damaged in ((sqlite3.OperationalError("full"), False), (sqlite3.DatabaseError("malformed"), True)):

        def fail(*arguments: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(ShardStories, "heads", fail)
            with pytest.raises(IndexBroken) as broken:
                indexer.step()
        assert broken.value.damaged is damaged
    monkeypatch.setattr("gateway.spool.indexing.RESERVE", 1 << 60)
    with pytest.raises(IndexNoRoom, match="almost full"):
        indexer.step()
