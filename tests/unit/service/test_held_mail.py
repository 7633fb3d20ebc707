"""Held messages come to one end each: released, deleted, or expired in time; postmaster gets one list a day."""

from __future__ import annotations

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.config.model import Config
from gateway.mail.digest import Digest, compose
from gateway.mail.header import fields, parse_header
from gateway.model.delivery import Final, Hold, Intake, Quota, Story
from gateway.model.envelope import Mailbox, Recipient
from gateway.model.event import Event
from gateway.model.message import Departure
from gateway.model.value import replace
from gateway.policy.routing import RoutingTable
from gateway.service.held_mail import HeldMail, NotHeld
from gateway.service.runtime import RuntimeConfig
from tests.support.fake_spool import FakeSpool
from tests.support.spooling import START, HandClock, claim_of, mailbox, make_intake, make_settlement

DAY = 86_400.0
DIGEST_HOUR = 6
MORNING = START - START % DAY + DAY + DIGEST_HOUR * 3600
QUOTA = Quota()


class House:
    """A HeldMail with its surroundings."""

    def __init__(self, hold: dict[str, object] | None = None) -> None:
        self.clock = HandClock()
        self.spool = FakeSpool(self.clock)
        self.events: list[Event] = []
        self.woken = 0
        config = Config.model_validate(
            {
                "server": {"hostname": "mx.gw.example"},
                "listener": [{"address": "127.0.0.1:25"}],
                "domain": [{"name": "corp.example", "backend": "google"}],
                "backend": {"google": {"hosts": "mx"}, "microsoft": {"hosts": "mx"}},
                "routing": {"addresses": {"bob@corp.example": "microsoft"}},
                "hold": hold or {},
            }
        )
        self.runtime: RuntimeConfig = make_runtime(config)
        self.held_mail = HeldMail(
            self.spool, lambda: self.runtime, self.clock, self.events.append, self.wake, lambda _: "google"
        )

    def wake(self) -> None:
        self.woken += 1

    async def round(self) -> None:
        await self.held_mail.expire()
        await self.held_mail.send_list()

    async def hold(self, days: float = 30.0, **changes: object) -> Intake:
        intake = make_intake(hold=Hold("sender.example", START + days * DAY, QUOTA), **changes)  # type: ignore[arg-type]
        await self.spool.commit(intake)
        return intake

    async def story(self, id: str) -> Story:
        story = await self.spool.reader.story(id)
        assert story is not None
        return story

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def digests(self) -> list[tuple[Intake, str]]:
        """The lists sent, with their text."""
        sent = [one for one in self.spool.committed if one.trace.decision.rule == "digest"]
        return [(one, (one.message.content.data or b"").decode("ascii")) for one in sent if one.message]


@pytest.fixture
async def house() -> House:
    return House()


async def test_released_it_goes_by_the_routes_of_now(house: House) -> None:
    intake = await house.hold(rcpts=("alice", "bob"))
    house.clock.time = START + 6 * DAY
    await house.held_mail.release(intake.trace.id, "root")
    story = await house.story(intake.trace.id)
    assert {transfer.backend for transfer in story.waiting} == {"google", "microsoft"}
    assert [act.what for act in story.acts] == ["released"]
    for transfer in story.waiting:
        assert transfer.created == transfer.due == START + 6 * DAY, "its days of retrying begin now"
        header = parse_header(transfer.prefix)
        (verdict,) = fields(header, "x-waypost-verdict")
        assert b"action=released;" in verdict.value
        assert len(fields(header, "received")) == 1
        assert f"id {intake.trace.id}\r\n".encode() in fields(header, "received")[0].value
        assert transfer.return_path_verified
    assert (house.names(), house.woken) == (["released"], 1)


async def test_what_is_not_held_is_left_alone(house: House) -> None:
    intake = make_intake()
    await house.spool.commit(intake)
    for id in (intake.trace.id, "nothing"):
        with pytest.raises(NotHeld, match=f"{id} is not held"):
            await house.held_mail.release(id, "root")
        with pytest.raises(NotHeld, match=f"{id} is not held"):
            await house.held_mail.delete(id, "root")
    assert house.names() == []


async def test_a_recipient_without_a_route_keeps_it_held(house: House) -> None:
    intake = await house.hold()
    house.runtime = replace(house.runtime, routing=RoutingTable({"other.example": "google"}, {}))
    with pytest.raises(NotHeld, match=r"cannot be delivered: alice@corp\.example has no route"):
        await house.held_mail.release(intake.trace.id, "root")
    assert (await house.story(intake.trace.id)).held


async def test_deleted_each_recipient_is_done(house: House) -> None:
    intake = await house.hold(rcpts=("alice", "bob"))
    await house.held_mail.delete(intake.trace.id, "root")
    story = await house.story(intake.trace.id)
    assert [ending.state for ending in story.endings] == [Final.DELETED] * 2
    assert (story.held, story.content_kept) == (False, False)


async def test_the_list_is_sent_once_a_day_at_its_hour(house: House) -> None:
    intake = await house.hold()
    house.clock.time = MORNING - 1
    await house.round()
    assert house.names() == []
    for moment in (MORNING, MORNING + 60, MORNING + 3600):
        house.clock.time = moment
        await house.round()
    assert house.names() == ["hold-digest"]
    ((sent, text),) = house.digests()
    assert sent.trace.envelope.mail_from is None
    assert [str(one.mailbox) for one in sent.trace.envelope.rcpts] == ["postmaster@corp.example"]
    assert "Subject: Mail held at mx.gw.example: 1 held\r\n" in text
    assert "Auto-Submitted: auto-generated\r\n" in text
    assert f"\r\n{intake.trace.id}  " in text
    house.clock.time = MORNING + DAY
    await house.round()
    assert house.names() == ["hold-digest", "hold-digest"]


async def test_nothing_held_is_nothing_to_tell(house: House) -> None:
    house.clock.time = MORNING
    await house.round()
    assert house.names() == []


async def test_what_expires_is_announced_then_given_up_and_told(house: House) -> None:
    intake = await house.hold(days=4)
    house.clock.time = MORNING + DAY
    await house.round()
    ((_, text),) = house.digests()
    assert "1 held, 1 expire soon" in text
    assert "These are given up soon:" in text
    house.clock.time = MORNING + 5 * DAY
    await house.round()
    story = await house.story(intake.trace.id)
    assert [ending.state for ending in story.endings] == [Final.EXPIRED]
    assert [(act.what, act.by) for act in story.acts] == [("expired", "")]
    assert house.names() == ["hold-digest", "hold-expired", "hold-digest"]
    _, text = (house.digests())[-1]
    assert "Subject: Mail held at mx.gw.example: 0 held, 1 given up\r\n" in text
    assert intake.trace.id in text.partition("nobody decided in time")[2]


async def test_the_list_can_be_for_someone_else_or_for_nobody() -> None:
    house = House({"digest_to": "desk@corp.example"})
    await house.hold()
    house.clock.time = MORNING
    await house.round()
    ((sent, _),) = house.digests()
    assert sent.trace.envelope.rcpts[0].mailbox == Mailbox("desk", "corp.example", "corp.example")
    silent = House({"digest": False})
    intake = await silent.hold(days=0.1)
    silent.clock.time = MORNING
    await silent.round()
    assert silent.names() == ["hold-expired"]
    assert not (await silent.story(intake.trace.id)).held


async def test_what_a_sender_wrote_cannot_leave_its_line(house: House) -> None:
    intake = await house.hold()
    (entry,) = await house.spool.reader.held(1)
    nasty = replace(entry, subject="a\r\n.\r\nSubject: b\u202ec\x00\udcff" + "x" * 5000, mail_from="é\n@x")
    to = Mailbox("postmaster", "corp.example", "corp.example")
    octets = compose(Digest("d1", "mx.gw.example", to, START, START, [nasty] * 500, []))
    assert octets.isascii()
    lines = octets.split(b"\r\n")
    assert max(map(len, lines)) < 400
    assert b"." not in lines
    assert not any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines)
    assert (
        lines.count(f"{intake.trace.id}  {entry.size} octets, received Fri, 15 Jan 2027 08:00:00 +0000,".encode())
        == 200
    )
    assert b"And 300 more: waypost hold list" in lines


async def test_what_a_backend_refused_goes_on_as_it_was(house: House) -> None:
    intake = make_intake(claimed=True)
    await house.spool.commit(intake)
    claim = claim_of(intake)
    hold = Hold("role mail", START + DAY, QUOTA)
    kept = replace(make_settlement(claim, remaining=claim.transfer.rcpts), hold=hold, reason="google refused it")
    assert await house.spool.settle(kept)
    (entry,) = await house.spool.reader.held(1)
    assert entry.reason == "google refused it"
    await house.held_mail.release(intake.trace.id, "root")
    (transfer,) = (await house.story(intake.trace.id)).waiting
    assert (transfer.id, transfer.prefix) == (claim.transfer.id, claim.transfer.prefix)


async def test_what_leaves_us_goes_out_as_it_was_signed(house: House) -> None:
    far = mailbox("carol", "far.example")
    departure = Departure("crm", "a login", mailbox("news"), (b"DKIM-Signature: ours\r\n",), ())
    intake = make_intake(hold=Hold("sender.example", START + DAY, QUOTA))
    envelope = replace(intake.trace.envelope, rcpts=(Recipient(far),))
    trace = replace(intake.trace, envelope=envelope, departure=departure)
    await house.spool.commit(replace(intake, trace=trace))
    await house.held_mail.release(trace.id, "root")
    (transfer,) = (await house.story(trace.id)).waiting
    assert (transfer.rcpts, transfer.mail_from) == (envelope.rcpts, departure.mail_from)
    assert transfer.backend == house.runtime.outgoing.route
    assert transfer.prefix.endswith(b"DKIM-Signature: ours\r\n")
