"""The contract of ports.Spool for held messages and for the memory of senders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.model.delivery import Act, Claim, Ending, Final, Hold, Intake, Quota, Settlement
from gateway.model.history import History, Sighting
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.ports import HoldFull, Spool
from tests.contract.test_spool import DAY, IMPLEMENTATIONS, LARGE, LEASE, Bench, large_message, octets, told
from tests.support.spooling import START, claim_of, content_files, make_intake, make_settlement, make_transfer

QUOTA = Quota(domain_messages=3, domain_octets=10_000, messages=5, octets=50_000_000)
HOLD = Hold("sender.example", START + 30 * DAY, QUOTA)
NETWORK = "192.0.2.0/24"
GIVEN_UP = Reply(250, "0.0", "Deleted by an admin")


@pytest.fixture(params=list(IMPLEMENTATIONS))
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    house = Bench(IMPLEMENTATIONS[request.param], tmp_path / "spool")
    yield house
    await house.close()


@pytest.fixture
async def spool(house: Bench) -> Spool:
    return await house.open()


def released(at: float = START + 5) -> Act:
    return Act(at, "released", "root")


def deleted(intake: Intake) -> Act:
    endings = (Ending(rcpt, Final.DELETED, GIVEN_UP) for rcpt in intake.trace.envelope.rcpts)
    return Act(START + 5, "deleted", "root", tuple(endings))


def seen(
    domain: str,
    source: str = NETWORK,
    passed: bool = True,
    signer: str = "",
    ours: bool = False,
    selector: str = "",
) -> Sighting:
    zone = ".".join(domain.split(".")[-2:])
    return Sighting(zone, domain, source, signer, "mail.sender.example", passed, ours, selector)


async def test_a_message_held_at_reception_waits_for_nobody(house: Bench) -> None:
    spool = await house.open()
    intake = make_intake(hold=HOLD)
    await spool.commit(intake)
    await house.close()
    spool = await house.open()
    story = await told(spool, intake)
    assert (story.held, story.content_kept, story.waiting, story.acts) == (True, True, (), ())
    assert await spool.claim((), 5, START + DAY, LEASE) == []
    assert await spool.reader.next_due() is None
    (entry,) = await spool.reader.held(10)
    assert (entry.id, entry.domain, entry.expires) == (intake.trace.id, "sender.example", HOLD.expires)
    assert (entry.mail_from, entry.rcpts) == ("author@sender.example", ("alice@corp.example",))
    assert entry.reason == intake.trace.decision.rule
    while await spool.purge(START + 100 * DAY):
        pass
    assert (await told(spool, intake)).content_kept, "nothing but a decision ends it"


async def test_released_it_is_due_with_the_octets_received(spool: Spool) -> None:
    intake = make_intake(hold=HOLD)
    await spool.commit(intake)
    transfer = make_transfer(intake.trace.id, intake.trace.envelope.rcpts, "google", START + 5)
    assert await spool.let_go(intake.trace.id, (transfer,), released())
    story = await told(spool, intake)
    assert (story.held, story.waiting, story.acts) == (False, (transfer,), (released(),))
    assert await spool.reader.held(10) == []
    (claim,) = await spool.claim((), 5, START + 5, LEASE)
    assert claim.transfer == transfer
    assert intake.message is not None
    assert await octets(spool, claim.message) == intake.message.content.data
    assert claim.message.dropped == intake.message.dropped
    assert await spool.settle(make_settlement(claim))
    story = await told(spool, intake)
    assert ([one.state for one in story.endings], story.content_kept) == ([Final.DELIVERED], False)


async def test_only_a_held_message_is_released_or_discarded(spool: Spool) -> None:
    intake = make_intake()
    await spool.commit(intake)
    before = await told(spool, intake)
    for id in (intake.trace.id, "nothing", "\udcff"):
        assert not await spool.let_go(id, (), released())
        assert not await spool.discard(id, deleted(intake))
    assert await told(spool, intake) == before


async def test_released_twice_it_is_sent_once(spool: Spool) -> None:
    intake = make_intake(hold=HOLD)
    await spool.commit(intake)
    transfer = make_transfer(intake.trace.id, intake.trace.envelope.rcpts, "google", START + 5)
    assert await spool.let_go(intake.trace.id, (transfer,), released())
    assert not await spool.let_go(intake.trace.id, (transfer,), released())
    assert not await spool.discard(intake.trace.id, deleted(intake))
    assert len(await spool.reader.queue(5)) == 1


async def test_discarded_it_leaves_its_story(spool: Spool) -> None:
    intake = make_intake(hold=HOLD)
    await spool.commit(intake)
    assert await spool.discard(intake.trace.id, deleted(intake))
    story = await told(spool, intake)
    assert (story.held, story.content_kept, story.acts) == (False, False, (deleted(intake),))
    assert [one.state for one in story.endings] == [Final.DELETED]
    assert await spool.reader.held(10) == []


async def test_discarding_removes_a_large_file(tmp_path: Path) -> None:
    house = Bench(IMPLEMENTATIONS["sqlite"], tmp_path / "spool")
    spool = await house.open()
    hold = replace(HOLD, quota=replace(QUOTA, domain_octets=50_000_000))
    intake = make_intake(hold=hold, message=await large_message(spool))
    await spool.commit(intake)
    assert len(content_files(tmp_path / "spool")) == 1
    assert await spool.discard(intake.trace.id, deleted(intake))
    await house.close()
    assert content_files(tmp_path / "spool") == set()


async def test_what_went_wrong_with_a_transfer_is_not_this_matter(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    await spool.hold(claim_of(intake), "altered")
    assert await spool.reader.held(5) == []
    assert not await spool.let_go(intake.trace.id, (), released())
    assert not await spool.discard(intake.trace.id, deleted(intake))
    assert (await told(spool, intake)).held


async def test_a_domain_can_fill_its_quota_and_no_more(spool: Spool) -> None:
    for _ in range(3):
        await spool.commit(make_intake(hold=HOLD))
    surplus = make_intake(hold=HOLD, sighting=seen("sender.example"))
    with pytest.raises(HoldFull):
        await spool.commit(surplus)
    assert await spool.reader.story(surplus.trace.id) is None
    assert await spool.reader.recall("sender.example", NETWORK) == History()
    await spool.commit(make_intake(hold=replace(HOLD, domain="other.example")))
    assert len(await spool.reader.held(10)) == 4
    first = (await spool.reader.held(1))[0].id
    assert await spool.discard(first, released())
    await spool.commit(surplus)


async def test_octets_and_the_whole_are_bounded_too(spool: Spool) -> None:
    with pytest.raises(HoldFull):
        await spool.commit(make_intake(hold=HOLD, message=await large_message(spool)))
    for number in range(5):
        await spool.commit(make_intake(hold=replace(HOLD, domain=f"d{number}.example")))
    with pytest.raises(HoldFull):
        await spool.commit(make_intake(hold=replace(HOLD, domain="d6.example")))


async def test_refused_for_the_quota_the_large_file_is_the_writers(tmp_path: Path) -> None:
    house = Bench(IMPLEMENTATIONS["sqlite"], tmp_path / "spool")
    spool = await house.open()
    writer = spool.open_content()
    writer.write(LARGE)
    path = await writer.finish()
    message = await large_message(spool, b"x" * 2_000_000)
    message = replace(message, content=replace(message.content, path=path))
    with pytest.raises(HoldFull):
        await spool.commit(make_intake(hold=HOLD, message=message))
    assert path.rpartition("/")[2] in content_files(tmp_path / "spool")
    writer.discard()
    await house.close()
    assert path.rpartition("/")[2] not in content_files(tmp_path / "spool")


async def test_overdue_ones_are_named_the_earliest_first(spool: Spool) -> None:
    late, early, later = (make_intake(hold=replace(HOLD, expires=START + day * DAY)) for day in (2, 1, 3))
    for intake in (late, early, later):
        await spool.commit(intake)
    assert await spool.reader.overdue(START + 2 * DAY, 10) == [early.trace.id, late.trace.id]
    assert await spool.reader.overdue(START + 2 * DAY, 1) == [early.trace.id]
    assert await spool.reader.overdue(START, 10) == []


async def test_what_has_expired_is_listed_for_a_time(spool: Spool) -> None:
    expired, gone = make_intake(hold=HOLD), make_intake(hold=HOLD)
    for intake, what in ((expired, "expired"), (gone, "deleted")):
        await spool.commit(intake)
        assert await spool.discard(intake.trace.id, Act(START + 5, what, ""))
    (entry,) = await spool.reader.given_up(START, 10)
    assert (entry.id, entry.expires) == (expired.trace.id, START + 5)
    assert await spool.reader.given_up(START + 5, 10) == []


# senders


async def test_receptions_teach_who_passes(house: Bench) -> None:
    spool = await house.open()
    for sighting in (
        seen("sender.example"),
        seen("sender.example"),
        seen("sender.example", "198.51.100.0/24"),
        seen("sender.example", "203.0.113.0/24", passed=False),
        seen("other.example"),
    ):
        await spool.commit(make_intake(sighting=sighting))
    await house.close()
    spool = await house.open()
    assert await spool.reader.recall("sender.example", NETWORK) == History(3, 2, 3)
    assert await spool.reader.recall("sender.example", "203.0.113.0/24") == History(3, 0, 0)
    assert await spool.reader.recall("third.example", NETWORK) == History(network_passes=3)
    names = ("sender.example", "signer.example", "nobody.example")
    await spool.commit(make_intake(sighting=seen("fourth.example", signer="signer.example")))
    found = await spool.reader.recall("third.example", "198.51.100.0/24", names)
    assert found == History(0, 0, 1, (3, 1, 0))


async def test_the_keys_that_mail_passed_with_are_remembered(house: Bench) -> None:
    """After a restart, from every source, with every message since that came without a signature."""
    spool = await house.open()
    old, new = (f"{name}._domainkey.sender.example" for name in ("s1", "s2"))
    for sighting in (
        seen("sender.example", selector=old),
        seen("sender.example", selector=old),
        seen("sender.example"),
        seen("sender.example", "198.51.100.0/24", selector=new),
        seen("other.example", selector="s1._domainkey.other.example"),
    ):
        await spool.commit(make_intake(sighting=sighting))
    await house.close()
    spool = await house.open()
    assert (await spool.reader.recall("sender.example", NETWORK)).selectors == {old, new}
    assert (await spool.reader.recall("nobody.example", NETWORK)).selectors == frozenset()


async def test_senders_of_a_domain_and_those_below_it(spool: Spool) -> None:
    intakes = [
        make_intake(sighting=seen("own.example"), received=START),
        make_intake(sighting=seen("a.own.example", passed=False, signer="saas.example"), received=START + 1),
        make_intake(sighting=seen("notown.example"), received=START + 2),
        make_intake(sighting=seen("own.example"), received=START + 3),
    ]
    for intake in intakes:
        await spool.commit(intake)
    first, second = await spool.reader.senders(("own.example",), 10)
    assert (first.domain, first.passed, first.failed) == ("own.example", 2, 0)
    assert (first.first, first.last, first.last_id) == (START, START + 3, intakes[3].trace.id)
    assert (second.domain, second.signer, second.passed, second.failed) == ("a.own.example", "saas.example", 0, 1)
    assert await spool.reader.senders(("own.example",), 1) == [first]


async def test_a_flood_from_everywhere_is_counted_in_bounded_rows(spool: Spool) -> None:
    for number in range(400):
        source, name = f"10.{number // 256}.{number % 256}.0/24", f"n{number % 2 * number}.own.example"
        await spool.commit(make_intake(sighting=seen(name, source, passed=False)))
    found = await spool.reader.senders(("own.example",), 1000)
    assert len(found) == 301
    assert sum(one.failed for one in found) == 400
    assert next(one.failed for one in found if one.source == "") == 100


async def test_whose_mail_fails_that_writes_as_others(spool: Spool) -> None:
    for sighting in (
        seen("sender.example", passed=False),
        seen("passing.example"),
        seen("own.example", passed=False, ours=True),
    ):
        await spool.commit(make_intake(sighting=sighting))
    assert [one.domain for one in await spool.reader.senders((), 10)] == ["sender.example"]


async def test_a_flood_does_not_hide_who_passes(spool: Spool) -> None:
    for number in range(310):
        await spool.commit(make_intake(sighting=seen("own.example", f"10.0.{number}.0/24", passed=False)))
    for source in ("192.0.2.0/24", "198.51.100.0/24"):
        for _ in range(3):
            await spool.commit(make_intake(sighting=seen("own.example", source)))
    assert await spool.reader.recall("own.example", "192.0.2.0/24") == History(6, 3, 3)
    assert await spool.reader.recall("own.example", "10.0.5.0/24") == History(6, 0)
    found = await spool.reader.senders(("own.example",), 1000)
    assert len(found) == 301
    assert (sum(one.failed for one in found), sum(one.passed for one in found)) == (310, 6)


def kept(intake: Intake, claim: Claim, hold: Hold = HOLD) -> Settlement:
    """A backend's refusal that is not passed on: the rest is held."""
    return replace(make_settlement(claim, remaining=claim.transfer.rcpts), hold=hold, reason="refused role mail")


async def test_an_attempt_can_end_in_a_hold(spool: Spool) -> None:
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    assert await spool.settle(kept(intake, claim_of(intake)))
    story = await told(spool, intake)
    assert (story.held, len(story.attempts), len(story.waiting)) == (True, 1, 1)
    assert await spool.claim((), 5, START + 20 * DAY, LEASE) == []
    (entry,) = await spool.reader.held(10)
    assert (entry.id, entry.expires, entry.reason) == (intake.trace.id, HOLD.expires, "refused role mail")
    assert await spool.let_go(intake.trace.id, (), released())
    (claim,) = await spool.claim((), 5, START + 5, LEASE)
    assert claim.transfer.attempts == 1


async def test_an_attempt_of_each_transfer_can(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"), claimed=True)
    await spool.commit(intake)
    for number in (0, 1):
        claim = claim_of(replace(intake, transfers=(intake.transfers[number],)))
        assert await spool.settle(kept(intake, claim))
    assert len(await spool.reader.held(10)) == 1
    assert await spool.let_go(intake.trace.id, (), released())
    assert len(await spool.claim((), 5, START + 5, LEASE)) == 2


async def test_what_is_held_already_needs_no_more_room(spool: Spool) -> None:
    intake = make_intake(backends=("google", "microsoft"), claimed=True)
    await spool.commit(intake)
    last = replace(HOLD, quota=replace(QUOTA, domain_messages=1))
    for transfer in intake.transfers:
        assert await spool.settle(kept(intake, claim_of(replace(intake, transfers=(transfer,))), last))
    assert len(await spool.reader.held(10)) == 1


async def test_an_attempt_whose_message_finds_no_room_is_not_written(spool: Spool) -> None:
    for _ in range(QUOTA.domain_messages):
        await spool.commit(make_intake(hold=HOLD))
    intake = make_intake(claimed=True)
    await spool.commit(intake)
    claim = claim_of(intake)
    with pytest.raises(HoldFull):
        await spool.settle(kept(intake, claim))
    assert (await told(spool, intake)).attempts == ()
    assert await spool.settle(make_settlement(claim)), "the claim still stands"


async def test_backlogs_count_what_waits_and_what_is_held_with_the_oldest(spool: Spool) -> None:
    assert list(await spool.reader.backlogs()) == []
    first, second = make_intake(backends=("google", "microsoft"), claimed=True), make_intake(backends=("google",))
    second = replace(second, trace=replace(second.trace, received=START + 60))
    await spool.commit(first)
    await spool.commit(second)
    await spool.hold(claim_of(first), "altered")
    found = {one.backend: one for one in await spool.reader.backlogs()}
    held = claim_of(first).transfer.backend
    other = next(name for name in ("google", "microsoft") if name != held)
    assert (found[held].held, found[held].waiting) == (1, 1 if held == "google" else 0)
    assert (found[other].held, found[other].waiting) == (0, 1)
    assert found["google"].oldest == (START + 60 if held == "google" else START)
