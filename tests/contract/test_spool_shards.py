"""Shards: each has one owner, a worker takes over those that have none, and readers see all of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.model.delivery import Act, Hold, Quota
from gateway.model.history import Acquaintance
from gateway.model.message import Evidence, Message
from gateway.model.value import replace
from gateway.net.system import SystemClock
from gateway.ports import HoldFull, Spool, SpoolReader
from gateway.spool.disk import SpoolUnusable
from gateway.spool.shards import ShardedSpool, find_adopted, shard_name
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.view import ShardedView
from tests.support.spooling import START, HandClock, content_of, make_intake, make_settlement

LEASE = 600.0


async def open_worker(directory: Path, worker: int = 0, workers: int = 1) -> ShardedSpool:
    return await ShardedSpool.open(directory, HandClock(), LEASE, worker, workers)


@pytest.fixture
async def spool(tmp_path: Path) -> ShardedSpool:
    """One worker in place of two: `own` and `orphan` wait, each in its shard."""
    for worker, id in enumerate(("own", "orphan")):
        before = await open_worker(tmp_path, worker, 2)
        await before.commit(make_intake(id=id, due=START + worker))
        await before.close()
    return await open_worker(tmp_path)


async def test_orphan_is_adopted_by_one_worker_only(tmp_path: Path) -> None:
    for worker in range(5):
        await (await open_worker(tmp_path, worker, 5)).close()
    (tmp_path / "metrics").mkdir()
    assert [find_adopted(tmp_path, worker, 2) for worker in range(2)] == [["2", "4"], ["3"]]
    assert [find_adopted(tmp_path, worker, 8) for worker in range(8)] == [[]] * 8
    assert find_adopted(tmp_path / "none", 0, 1) == []


async def test_shard_has_one_owner(tmp_path: Path) -> None:
    first = await open_worker(tmp_path, 1, 2)
    with pytest.raises(SpoolUnusable, match="in use"):
        await open_worker(tmp_path, 0, 1)
    second = await open_worker(tmp_path, 0, 2)
    await second.close()
    await first.close()


async def test_adopted_mail_is_claimed_settled_and_forgotten(spool: ShardedSpool) -> None:
    claims = {claim.transfer.message_id: claim for claim in await spool.claim((), 10, START + 9, LEASE)}
    assert claims.keys() == {"own", "orphan"}
    for claim in claims.values():
        assert await spool.settle(make_settlement(claim))
        assert not await spool.settle(make_settlement(claim))
    assert spool._homes == {}
    assert await spool.reader.counts() == {}
    story = await spool.reader.story("orphan")
    assert story is not None
    assert len(story.endings) == 1
    await spool.close()


async def test_dsn_of_adopted_mail_is_stored_with_its_settlement(spool: ShardedSpool) -> None:
    claims = {claim.transfer.message_id: claim for claim in await spool.claim((), 10, START + 9, LEASE)}
    assert await spool.settle(replace(make_settlement(claims["orphan"]), dsn=make_intake(id="dsn")))
    (again,) = await spool.claim((), 10, START + 9, LEASE)
    assert again.transfer.message_id == "dsn"
    assert await spool.settle(make_settlement(again))
    await spool.close()


async def test_adopted_claim_can_be_given_back_and_held(spool: ShardedSpool) -> None:
    claims = await spool.claim((), 10, START + 9, LEASE)
    for claim in claims:
        await spool.release(claim, START + 50)
    assert await spool.claim((), 10, START + 9, LEASE) == []
    assert await spool.reader.next_due() == START + 50
    for claim in await spool.claim((), 10, START + 50, LEASE):
        await spool.hold(claim, "altered")
    assert await spool.reader.next_due() is None
    assert [entry.last_reply for entry in await spool.reader.queue(9)] == ["altered", "altered"]
    await spool.close()


async def test_adopted_claim_that_was_renewed_is_settled_as_it_is_now(spool: ShardedSpool) -> None:
    late = START + 2 * LEASE
    old = {claim.transfer.message_id: claim for claim in await spool.claim((), 10, START + 9, LEASE)}
    new = {claim.transfer.message_id: claim for claim in await spool.claim((), 10, late, LEASE)}
    assert not await spool.settle(make_settlement(old["orphan"]))
    assert await spool.settle(make_settlement(new["orphan"]))
    await spool.close()


async def test_at_most_as_many_are_claimed_as_asked_for(spool: ShardedSpool) -> None:
    assert len(await spool.claim((), 1, START + 9, LEASE)) == 1
    assert len(await spool.claim((), 1, START + 9, LEASE)) == 1
    assert await spool.claim((), 1, START + 9, LEASE) == []
    await spool.close()


async def test_large_content_of_an_adopted_shard_is_read(tmp_path: Path) -> None:
    octets = bytes(range(256)) * 8192
    before = await open_worker(tmp_path, 1, 2)
    writer = before.open_content()
    writer.write(octets)
    content = content_of(octets, await writer.finish())
    await before.commit(make_intake(message=Message(content, Evidence(b"", (), len(octets)))))
    await before.close()
    spool = await open_worker(tmp_path)
    (claim,) = await spool.claim((), 1, START, LEASE)
    assert b"".join([chunk async for chunk in spool.read_content(claim.message.content)]) == octets
    await spool.settle(make_settlement(claim))
    await spool.close()
    assert list((tmp_path / "1" / "content").iterdir()) == []


async def test_view_sees_all_shards_also_those_made_later(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match="no spool"):
        ShardedView(tmp_path)
    clocks = [SystemClock(0), SystemClock(1)]
    ids = [clock.new_id() for clock in clocks]
    spools = [await ShardedSpool.open(tmp_path, clocks[0], LEASE, 0, 2)]
    view = ShardedView(tmp_path)
    spools.append(await ShardedSpool.open(tmp_path, clocks[1], LEASE, 1, 2))
    for worker, (spool, id) in enumerate(zip(spools, ids, strict=True)):
        now = clocks[0].now()
        await spool.commit(make_intake(id=id, due=now - worker, received=now))
    assert [entry.message_id for entry in await view.queue(9)] == ids[::-1]
    assert [entry.message_id for entry in await view.queue(1)] == ids[1:]
    assert await view.counts() == {"google": 2}
    for id in ids:
        story, content = await view.story(id), await view.content(id)
        assert story is not None
        assert story.trace.id == id
        assert content is not None
        assert b"".join([chunk async for chunk in content]).endswith(b"Hello.\r\n")
    assert await view.story("nothing") is None
    assert await view.content("nothing") is None
    await view.close()
    for spool in spools:
        await spool.close()


async def test_a_shard_that_is_being_made_is_looked_at_when_it_is_whole(tmp_path: Path) -> None:
    spool = await open_worker(tmp_path, 0, 2)
    (tmp_path / "1").mkdir()
    sqlite3.connect(tmp_path / "1" / "spool.db").close()
    (tmp_path / "1" / "spool.db").touch()
    view = ShardedView(tmp_path)
    assert await view.queue(9) == []
    other = await open_worker(tmp_path, 1, 2)
    await other.commit(make_intake(id="late"))
    assert [entry.message_id for entry in await view.queue(9)] == ["late"]
    for opened in (view, other, spool):
        await opened.close()


async def test_a_shard_that_only_its_owner_can_open_now_stops_no_other_worker(tmp_path: Path) -> None:
    """On a disk with no octet free a reader cannot make the files that SQLite needs beside the database."""
    for worker in (0, 1):
        await (await open_worker(tmp_path, worker, 2)).close()
    kept = (tmp_path / "1" / "spool.db").rename(tmp_path / "kept")
    (tmp_path / "1" / "spool.db").write_bytes(b"no database" * 100)
    spool = await open_worker(tmp_path, 0, 2)
    with pytest.raises(SpoolUnusable, match="cannot be read"):
        ShardedView(tmp_path)
    view = ShardedView(tmp_path, running=True)
    kept.rename(tmp_path / "1" / "spool.db")
    other = await open_worker(tmp_path, 1, 2)
    await other.commit(make_intake(id="late"))
    for reader in (view, spool.reader):
        assert [entry.message_id for entry in await reader.queue(9)] == ["late"]
    for opened in (view, other, spool):
        await opened.close()


async def test_message_is_found_in_a_shard_that_its_id_does_not_name(tmp_path: Path) -> None:
    """A DSN that a worker made for mail of a shard that it had adopted."""
    id = SystemClock(0).new_id()
    for name in ("0", "1"):
        shard = await SqliteSpool.open(tmp_path, HandClock(), shard=name)
        if name == "1":
            await shard.commit(make_intake(id=id))
        await shard.close()
    view = ShardedView(tmp_path)
    assert await view.story(id) is not None
    await view.close()


def test_ids_name_the_shard() -> None:
    assert [SystemClock(worker).new_id()[9] for worker in (0, 1, 31)] == [shard_name(w) for w in (0, 1, 31)]


async def test_what_is_held_counts_in_all_shards(tmp_path: Path) -> None:
    first, second = await open_worker(tmp_path, 0, 2), await open_worker(tmp_path, 1, 2)
    hold = Hold("sender.example", START + 600, Quota(2, 10_000, 5, 10_000))
    intakes = [make_intake(hold=hold) for _ in range(3)]
    await first.commit(intakes[0])
    await second.commit(intakes[1])
    for spool in (first, second):
        with pytest.raises(HoldFull):
            await spool.commit(intakes[2])
        assert [one.id for one in await spool.reader.held(10)] == [one.trace.id for one in intakes[:2]]
    ended = Act(START + 600, "expired", "")
    assert await first.reader.overdue(START + 600, 10) == [intakes[0].trace.id], "each worker ends what is in its shard"
    assert not await first.discard(intakes[1].trace.id, ended)
    assert await second.discard(intakes[1].trace.id, ended)
    assert [one.id for one in await first.reader.given_up(START, 10)] == [intakes[1].trace.id]
    await first.commit(intakes[2])
    await first.close()
    await second.close()


async def test_a_list_of_what_is_held_is_small_whatever_senders_wrote(tmp_path: Path) -> None:
    spool = await open_worker(tmp_path)
    for subject in (b"hello", b"x" * 400_000):
        evidence = Evidence(b"Subject: " + subject + b"\r\n", (), 2)
        intake = make_intake(
            message=Message(content_of(b"\r\n"), evidence), hold=Hold("sender.example", START, Quota())
        )
        await spool.commit(intake)
    assert [len(one.subject) for one in await spool.reader.held(10)] == [5, 999]
    await spool.close()


async def test_role_mail_that_is_kept_counts_in_all_shards(tmp_path: Path) -> None:
    first, second = await open_worker(tmp_path, 0, 2), await open_worker(tmp_path, 1, 2)
    hold = Hold("role mail", START + 600, Quota(1, 10_000, 5, 10_000))
    await first.commit(make_intake(hold=hold))
    await second.commit(make_intake())
    (claim,) = await second.claim((), 1, START, LEASE)
    kept = replace(make_settlement(claim, remaining=claim.transfer.rcpts), hold=hold, reason="refused role mail")
    with pytest.raises(HoldFull):
        await second.settle(kept)
    assert await second.settle(make_settlement(claim)), "the claim still stands"
    await first.close()
    await second.close()


async def test_the_greylist_of_one_worker_is_known_to_all(tmp_path: Path) -> None:
    workers = [await open_worker(tmp_path, number, 2) for number in range(2)]
    stranger = Acquaintance("domain new.example", START, passed=False, expires=START + 100)
    friend = Acquaintance("domain new.example", START, passed=True, expires=START + 1000)
    for worker, known in ((workers[0], stranger), (workers[1], friend)):
        await worker.commit(replace(make_intake(), acquaintance=known))
        assert [await one.reader.acquaintance(stranger.key) for one in workers] == [known] * 2
    assert await workers[0].reader.acquaintance("domain other.example") is None
    for worker in workers:
        await worker.close()


async def test_whose_client_was_told_at_a_repetition_is_written_in_an_adopted_shard(tmp_path: Path) -> None:
    before = await open_worker(tmp_path, 1, 2)
    id, mark = SystemClock(1).new_id(), b"f" * 32
    await before.commit(replace(make_intake(id=id), fingerprint=mark))
    before.note_answer(id, heard=False)
    await before.close()
    spool = await open_worker(tmp_path)
    assert await spool.find_unheard((mark, mark), START, sure=True) == id
    spool.note_answer(id, heard=True)
    await spool.close()
    again = await open_worker(tmp_path)
    assert await again.find_unheard((mark, mark), START, sure=True) is None
    await again.close()


@pytest.mark.parametrize("owner", [SqliteSpool, ShardedSpool, Spool])
def test_what_is_read_is_declared_by_the_reader_alone(owner: type) -> None:
    reads = {name for one in SpoolReader.__mro__ for name in vars(one) if name[0] != "_"}
    assert {"story", "recall", "next_due"} <= reads
    assert {name for one in owner.__mro__ for name in vars(one)} & reads == {"close"}
