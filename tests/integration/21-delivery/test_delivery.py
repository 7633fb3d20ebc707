"""The scheduler with real backends on real sockets: every claim is settled once, held, or returned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

import pytest

from gateway.config.backends import BackendSettings as Settings
from gateway.config.backends import DeliverySettings
from gateway.config.model import Config, Server
from gateway.model.decision import Action, Decision
from gateway.model.delivery import Claim, Final, Intake, Outcome, OutcomeKind, Settlement, Story, Trace
from gateway.model.envelope import Envelope, IPText
from gateway.model.event import Event, Level
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import replace
from gateway.net.smtp_backend import make_smtp_backend
from gateway.plan.holding import USUAL_TERMS
from gateway.plan.settlement import find_refusal
from gateway.ports import Backend, HoldFull, SpoolDoubtful, SpoolFull
from gateway.service.delivery import Delivery
from gateway.service.tally import SharedCounts
from gateway.service.traffic import Share, Traffic
from tests.support.fake_spool import FakeSpool
from tests.support.sending import PREFIX, TEXT, FixedResolver, changed, make_claim, make_message
from tests.support.smtp_sink import HANG_UP, SILENCE, Sink

DSN_BACKEND = "direct"


class OffsetClock:
    """The real clock, which a test can put forward."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.serial = 0

    def now(self) -> float:
        return time.time() + self.offset

    def monotonic(self) -> float:
        return time.monotonic() + self.offset

    def jitter(self) -> float:
        return 0.5

    def new_id(self) -> str:
        self.serial += 1
        return f"n{self.serial}"


class House:
    """A delivery service with its spool and backends."""

    def __init__(self, backends: Mapping[str, Backend], clock: OffsetClock) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self.spool = FakeSpool(clock)
        config = Config.model_construct(
            server=Server(hostname="gw.example"),
            delivery=DeliverySettings(schedule=(60.0, 600.0), expire=432_000.0, delay_warning=14_400.0),
        )
        traffic = Traffic(dict.fromkeys(backends, Share(10)), clock, self.events.append)
        self.delivery = Delivery(
            self.spool, backends, clock, self.events.append, config, lambda _: DSN_BACKEND, traffic
        )
        self.backends = backends

    async def commit(self, claim: Claim, claimed: bool = False) -> Claim:
        """Store the claim's message as a reception would."""
        now = self.clock.now()
        transfer = replace(claim.transfer, created=min(now, claim.transfer.created), due=now)
        envelope = Envelope(transfer.mail_from, transfer.rcpts)
        edge = EdgeIngress(IPText("192.0.2.1"), ClientSource.PEER, "x", "mx", IPText("192.0.2.1"))
        decision = Decision(Action.ACCEPT, "default", "enforce", Reply(250, "0.0", "OK"))
        trace = Trace(
            transfer.message_id, now, edge, None, envelope, claim.message.evidence, None, (), None, (), decision, (), ()
        )
        await self.spool.commit(Intake(trace, claim.message, (transfer,), claimed))
        return Claim(transfer, claim.message, 1)

    async def attempt(self, claim: Claim, budget: float = 5.0) -> tuple[Outcome, ...] | None:
        return await self.delivery.attempt(await self.commit(claim, True), self.clock.monotonic() + budget)

    async def story(self, id: str = "m1") -> Story:
        story = await self.spool.reader.story(id)
        assert story is not None
        return story

    async def states(self, id: str = "m1") -> list[Final]:
        return [ending.state for ending in (await self.story(id)).endings]

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


@pytest.fixture
async def direct() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


def hold_up_settling(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Outcomes are written only after the second event; the first tells that one waits for it."""
    writing, go_on = asyncio.Event(), asyncio.Event()
    settle = house.spool.settle

    async def slow_settle(settlement: Settlement) -> bool:
        writing.set()
        await go_on.wait()
        return await settle(settlement)

    monkeypatch.setattr(house.spool, "settle", slow_settle)
    return writing, go_on


def backend_of(sink: Sink, name: str = "corp", **settings: object) -> Backend:
    given: dict[str, object] = {"hosts": (sink.address,), "command_seconds": 2.0, "final_seconds": 5.0}
    return make_smtp_backend(
        name, Settings(**(given | settings)), FixedResolver(), OffsetClock(), "gw.example", SharedCounts().tally()
    )  # type: ignore[arg-type]


@pytest.fixture
async def house(sink: Sink, direct: Sink) -> AsyncIterator[House]:
    backends = {"corp": backend_of(sink, connections=3), DSN_BACKEND: backend_of(direct, DSN_BACKEND)}
    house = House(backends, OffsetClock())
    yield house
    await house.delivery.drain()
    for backend in backends.values():
        await backend.close()


# due transfers


async def test_what_is_due_is_delivered(house: House, sink: Sink) -> None:
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: len(sink.mails) == 1)
    await until(lambda: bool(house.named("delivered")))
    assert sink.mails[0].content == PREFIX + TEXT
    assert await house.states() == [Final.DELIVERED]
    assert not (await house.story()).content_kept


async def test_wake_on_commit(house: House, sink: Sink) -> None:
    house.delivery.start()
    await asyncio.sleep(0.05)
    await house.commit(make_claim())
    house.delivery.wake()
    await until(lambda: len(sink.mails) == 1, seconds=0.5)


async def test_deferred_comes_back_when_it_is_due(house: House, sink: Sink) -> None:
    sink.answers("DOT", b"451 4.7.1 greylisted\r\n", b"250 2.0.0 OK\r\n")
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: bool(house.named("deferred")))
    (waiting,) = (await house.story()).waiting
    assert waiting.attempts == 1
    assert waiting.due == pytest.approx(house.clock.now() + 60, abs=2)
    await asyncio.sleep(0.1)
    assert len(house.spool.settlements) == 1
    house.clock.offset += 61
    house.delivery.wake()
    await until(lambda: bool(house.named("delivered")))
    assert len((await house.story()).attempts) == 2


async def test_a_clock_that_jumps_past_the_lease_doubles_nothing(house: House, sink: Sink) -> None:
    sink.gate.clear()
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: sink.connections > 0)
    house.clock.offset += 100_000.0
    house.delivery.wake()
    await asyncio.sleep(0.3)
    sink.gate.set()
    await until(lambda: bool(house.named("delivered")))
    await asyncio.sleep(0.3)
    assert len(sink.mails) == 1
    assert await house.states() == [Final.DELIVERED]
    assert not house.named("claim-lost")


async def test_a_claim_renewed_while_it_is_written_down_is_settled_all_the_same(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = hold_up_settling(house, monkeypatch)
    await house.commit(make_claim())
    house.delivery.start()
    await writing.wait()
    house.clock.offset += 100_000.0
    house.delivery.wake()
    await asyncio.sleep(0.3)
    go_on.set()
    await until(lambda: bool(house.named("delivered")))
    assert await house.states() == [Final.DELIVERED]
    assert (len(sink.mails), await house.spool.reader.queue(9)) == (1, [])


async def test_a_renewal_that_comes_back_after_the_write_was_refused(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool has renewed the claim, and delivery does not know it yet: the outcome must not be lost."""
    writing, go_on = asyncio.Event(), asyncio.Event()
    settle, claim = house.spool.settle, house.spool.claim

    async def late_settle(settlement: object) -> bool:
        writing.set()
        await go_on.wait()
        return await settle(settlement)  # type: ignore[arg-type]

    async def slow_claim(skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        claims = await claim(skip, limit, now, lease)
        if writing.is_set() and claims:
            go_on.set()
            await asyncio.sleep(0.3)
        return claims

    monkeypatch.setattr(house.spool, "settle", late_settle)
    monkeypatch.setattr(house.spool, "claim", slow_claim)
    await house.commit(make_claim())
    house.delivery.start()
    await writing.wait()
    house.clock.offset += 100_000.0
    house.delivery.wake()
    await until(lambda: bool(house.named("delivered")))
    assert not house.named("claim-lost")
    assert await house.states() == [Final.DELIVERED]
    assert (len(sink.mails), await house.spool.reader.queue(9)) == (1, [])


@pytest.mark.parametrize("client_waits", [True, False])
async def test_what_was_claimed_from_the_spool_before_it_was_handed_over_is_sent_once(
    house: House, sink: Sink, client_waits: bool
) -> None:
    """The wall clock jumps between the commit and the hand-over: the lease of the fresh claim is over. The connection
    that was promised to it is given back."""
    fresh = make_claim()
    assert house.delivery.reserve(("corp",))
    await house.commit(fresh)
    house.delivery.start()
    await until(lambda: bool(house.named("delivered")))
    if client_waits:
        assert await house.delivery.attempt(fresh, house.clock.monotonic() + 5) is None
    else:
        await house.delivery.send(fresh)
    await asyncio.sleep(0.3)
    assert len(sink.mails) == 1
    assert await house.states() == [Final.DELIVERED]
    assert [house.delivery.reserve(("corp",)) for _ in range(4)] == [True, True, True, False]


async def test_a_claim_renewed_under_way_is_given_back_as_it_is_now(house: House, sink: Sink) -> None:
    """A claim returned under the old epoch would stay with the new one until its lease ends."""
    sink.gate.clear()
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: sink.dots == 1)
    house.clock.offset += 100_000.0
    house.delivery.wake()
    await asyncio.sleep(0.3)
    await house.delivery.drain(0)
    assert [entry.claimed for entry in await house.spool.reader.queue(9)] == [False]


async def test_many_transfers_share_the_window(house: House, sink: Sink) -> None:
    sink.delay = 0.02
    for number in range(40):
        await house.commit(make_claim(id=f"m{number}"))
    house.delivery.start()
    await until(lambda: len(house.named("delivered")) == 40)
    assert sink.connections <= 3
    assert len(sink.mails) == 40
    assert await house.spool.reader.counts() == {}


async def test_one_backend_does_not_hold_up_another(house: House, sink: Sink, direct: Sink) -> None:
    sink.gate.clear()
    for number in range(10):
        await house.commit(make_claim(id=f"m{number}"))
    await house.commit(make_claim(id="other", backend=DSN_BACKEND))
    house.delivery.start()
    await until(lambda: len(direct.mails) == 1)
    assert (sink.dots, sink.mails) == (3, [])
    sink.gate.set()
    await until(lambda: len(sink.mails) == 10)


async def test_failure_sends_a_dsn(house: House, sink: Sink, direct: Sink) -> None:
    sink.answers("RCPT", b"550 5.1.1 nobody\r\n")
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: len(direct.mails) == 1)
    (dsn,) = direct.mails
    assert dsn.mail.startswith("FROM:<> ")
    assert dsn.rcpts == ["TO:<alice@sender.example>"]
    assert b"Diagnostic-Code: smtp; 550 5.1.1 nobody\r\n" in dsn.content
    assert await house.states() == [Final.FAILED]
    (event,) = house.named("dsn")
    await until(lambda: len(house.named("delivered")) == 1)
    assert await house.states(str(dict(event.fields)["dsn"])) == [Final.DELIVERED]


async def test_unverified_return_path_gets_none(house: House, sink: Sink, direct: Sink) -> None:
    sink.answers("RCPT", b"550 5.1.1 nobody\r\n")
    await house.commit(changed(make_claim(), return_path_verified=False))
    house.delivery.start()
    await until(lambda: bool(house.named("dsn-withheld")))
    assert await house.states() == [Final.WITHHELD]
    assert direct.connections == 0


async def test_unknown_backend_waits_and_alarms(house: House) -> None:
    await house.commit(make_claim(backend="gone"))
    house.delivery.start()
    await until(lambda: bool(house.named("deferred")))
    (event,) = house.named("deferred")
    assert event.level is Level.ALARM
    assert "No backend is called gone" in str(dict(event.fields)["reply"])


# in session


async def test_delivery_in_session(house: House, sink: Sink) -> None:
    outcomes = await house.attempt(make_claim())
    assert outcomes is not None
    assert outcomes[0].kind is OutcomeKind.DELIVERED
    assert await house.states() == [Final.DELIVERED]
    assert len(sink.mails) == 1


async def test_refusal_in_session_is_told_and_makes_no_dsn(house: House, sink: Sink, direct: Sink) -> None:
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    house.delivery.start()
    outcomes = await house.attempt(make_claim())
    assert outcomes is not None
    assert str(find_refusal(outcomes)) == "550 5.7.1 content refused"
    assert await house.states() == [Final.FAILED]
    await asyncio.sleep(0.1)
    assert (direct.connections, house.named("dsn")) == (0, [])


async def test_role_mail_that_the_backend_takes_for_spam_is_kept_and_the_client_told_250(
    house: House, sink: Sink, direct: Sink
) -> None:
    sink.answers("DOT", b"550 5.7.1 likely unsolicited mail\r\n")
    house.delivery.start()
    claim = changed(make_claim(rcpts=("abuse@corp.example",)), role=True, return_path_verified=True)
    assert await house.attempt(claim) is None
    story = await house.story()
    assert (story.held, story.endings, len(story.attempts)) == (True, (), 1)
    assert [event.level for event in house.named("role-mail-kept")] == [Level.ALARM]
    await asyncio.sleep(0.1)
    assert (direct.connections, house.named("dsn")) == (0, [])


async def test_role_mail_beyond_the_quota_is_refused_as_any_other(house: House, sink: Sink) -> None:
    sink.answers("DOT", b"550 5.7.1 likely unsolicited mail\r\n")
    for number in range(USUAL_TERMS.quota.domain_messages):
        claim = changed(make_claim(rcpts=("abuse@corp.example",), id=f"k{number}"), role=True)
        assert await house.attempt(claim) is None
    outcomes = await house.attempt(changed(make_claim(rcpts=("abuse@corp.example",)), role=True))
    assert outcomes is not None
    assert str(find_refusal(outcomes)) == "550 5.7.1 likely unsolicited mail"
    assert [event.level for event in house.named("hold-full")] == [Level.ALARM]


async def test_hold_that_fills_up_while_the_budget_runs_out_is_told_once(
    house: House, sink: Sink, direct: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second write too answers the client that waits for the first one, and no DSN repeats the answer."""
    sink.answers("DOT", b"550 5.7.1 likely unsolicited mail\r\n")
    settle = house.spool.settle

    async def slow_settle(settlement: Settlement) -> bool:
        if settlement.hold is not None:
            await asyncio.sleep(0.4)
            raise HoldFull("corp")
        return await settle(settlement)

    monkeypatch.setattr(house.spool, "settle", slow_settle)
    claim = changed(make_claim(rcpts=("abuse@corp.example",)), role=True)
    outcomes = await house.attempt(claim, budget=0.2)
    assert outcomes is not None
    assert find_refusal(outcomes) is not None
    assert (house.named("dsn"), await house.states()) == ([], [Final.FAILED])


async def test_answer_that_comes_too_late_is_settled_by_itself(house: House, sink: Sink) -> None:
    sink.gate.clear()
    assert await house.attempt(make_claim(), budget=0.1) is None
    assert (await house.story()).waiting
    sink.gate.set()
    await until(lambda: bool(house.named("delivered")))
    assert await house.states() == [Final.DELIVERED]
    assert (len(sink.mails), house.spool.calls["settle"]) == (1, 1)


async def test_late_refusal_is_told_by_a_dsn(house: House, sink: Sink, direct: Sink) -> None:
    sink.gate.clear()
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    house.delivery.start()
    assert await house.attempt(make_claim(), budget=0.1) is None
    sink.gate.set()
    await until(lambda: len(direct.mails) == 1)
    assert await house.states() == [Final.FAILED]
    assert len(house.spool.settlements) >= 1


async def test_client_is_never_told_250_for_what_is_settled_as_told(
    house: House, sink: Sink, direct: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget runs out while the refusal is being written: the client waits for that write and gets the refusal."""
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    writing, go_on = hold_up_settling(house, monkeypatch)
    attempt = asyncio.create_task(house.attempt(make_claim(), budget=0.2))
    await writing.wait()
    await asyncio.sleep(0.4)
    assert not attempt.done()
    go_on.set()
    outcomes = await attempt
    assert outcomes is not None
    assert find_refusal(outcomes) is not None
    assert house.named("dsn") == []


async def test_every_race_of_budget_and_answer_tells_the_sender_once(house: House, sink: Sink, direct: Sink) -> None:
    """Either the client gets the refusal or a DSN goes out: never both, never neither."""
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    sink.delay = 0.03
    house.delivery.start()
    budgets = [0.0, 2.0, *(0.02 + 0.001 * number for number in range(38))]
    told = 0
    for number, budget in enumerate(budgets):
        outcomes = await house.attempt(make_claim(id=f"m{number}"), budget)
        told += outcomes is not None
    await until(lambda: len(house.named("failed")) == 40)
    assert 0 < told < 40
    await until(lambda: len(direct.mails) == 40 - told)
    await asyncio.sleep(0.05)
    assert len(direct.mails) == len(house.named("dsn")) == 40 - told


async def test_settlement_that_cannot_be_written_is_told_250(house: House, sink: Sink, direct: Sink) -> None:
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    house.spool.failures["settle"] = [SpoolFull("disk full")]
    house.delivery.start()
    assert await house.attempt(make_claim()) is None
    await until(lambda: len(direct.mails) == 1)
    assert await house.states() == [Final.FAILED]
    assert sink.dots == 1


@pytest.mark.parametrize("again", [[], [SpoolDoubtful("fsync"), SpoolFull("disk full")]], ids=["once", "several times"])
async def test_a_refusal_that_is_written_perhaps_is_told_to_the_client(
    house: House, sink: Sink, direct: Sink, monkeypatch: pytest.MonkeyPatch, again: list[Exception]
) -> None:
    """After a crash it may be in the spool, without a DSN. It is told once: no DSN follows either."""
    monkeypatch.setattr("gateway.service.settling._PAUSES", (0.05,))
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    house.spool.failures["settle"] = [SpoolDoubtful("fsync"), *again]
    house.delivery.start()
    outcomes = await house.attempt(make_claim())
    assert outcomes is not None
    refusal = find_refusal(outcomes)
    assert refusal is not None
    assert refusal.code == 550
    await until(lambda: bool(house.named("failed")))
    await asyncio.sleep(0.1)
    assert await house.states() == [Final.FAILED]
    assert (sink.dots, len(direct.mails), house.named("dsn")) == (1, 0, [])


async def test_a_claim_from_memory_whose_clock_was_set_is_not_old(house: House, sink: Sink) -> None:
    """The clock was set between the message's arrival and its first attempt."""
    sink.answers("DOT", b"451 4.3.0 later\r\n")
    claim = await house.commit(make_claim(), True)
    await house.delivery.send(changed(claim, created=claim.transfer.created - 20 * 86_400))
    await until(lambda: bool(house.named("deferred")))
    assert await house.states() == []
    assert not house.named("dsn")


async def test_an_attempt_during_which_the_clock_is_set_is_not_late(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end was read on the old clock, and its message moved along before it was written down."""
    sink.answers("DOT", b"451 4.3.0 later\r\n")
    monkeypatch.setattr("gateway.service.settling._PAUSES", (0.2,))
    house.spool.failures["settle"] = [SpoolFull("disk full")]
    monotonic = house.clock.monotonic
    await house.delivery.send(await house.commit(make_claim(), True))
    await until(lambda: house.spool.calls["settle"] == 1)
    seconds = -20 * 86_400

    def adopt() -> None:
        house.clock.offset += seconds
        monkeypatch.setattr(house.clock, "monotonic", lambda: monotonic() - seconds)

    await house.delivery.move_times(seconds, adopt)
    await until(lambda: bool(house.named("deferred")))
    (entry,) = await house.spool.reader.queue(9)
    assert abs(entry.due - house.clock.now()) < 3600
    assert not house.named("dsn")
    assert await house.states() == []


async def test_delivered_is_not_sent_again_because_the_disk_was_full(house: House, sink: Sink) -> None:
    house.spool.failures["settle"] = [SpoolFull("disk full"), OSError(5, "I/O error")]
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: bool(house.named("delivered")))
    assert await house.states() == [Final.DELIVERED]
    assert len(sink.mails) == 1


async def test_no_free_connection_gives_the_claim_back(house: House, sink: Sink) -> None:
    sink.gate.clear()
    running = [asyncio.create_task(house.attempt(make_claim(id=f"m{number}"))) for number in range(3)]
    await until(lambda: sink.dots == 3)
    assert not house.delivery.has_room("corp")
    assert await house.attempt(make_claim(id="late")) is None
    (entry,) = [entry for entry in await house.spool.reader.queue(9) if entry.message_id == "late"]
    assert not entry.claimed
    house.delivery.start()
    sink.gate.set()
    assert all(await asyncio.gather(*running))
    await until(lambda: len(sink.mails) == 4)


async def test_client_that_goes_away_changes_nothing(house: House, sink: Sink) -> None:
    sink.gate.clear()
    attempt = asyncio.create_task(house.attempt(make_claim()))
    await until(lambda: sink.dots == 1)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    sink.gate.set()
    await until(lambda: bool(house.named("delivered")))
    assert len(sink.mails) == 1


async def test_claim_that_was_lost_answers_nothing(house: House, sink: Sink) -> None:
    sink.gate.clear()
    attempt = asyncio.create_task(house.attempt(make_claim()))
    await until(lambda: sink.dots == 1)
    await house.spool.claim((), 1, house.clock.now() + 10_000, 60)
    sink.gate.set()
    assert await attempt is None
    assert house.named("claim-lost")
    assert await house.states() == []


# trouble


async def test_dead_backend_is_paused_and_noticed_when_it_is_back(house: House, sink: Sink) -> None:
    await sink.shut()
    for number in range(6):
        await house.commit(make_claim(id=f"m{number}"))
    house.delivery.start()
    await until(lambda: bool(house.named("backend-paused")))
    await asyncio.sleep(0.3)
    deferred = len(house.named("deferred"))
    assert deferred <= 3, "what was not under way is left alone"
    assert not house.delivery.has_room("corp")
    assert await house.attempt(make_claim(id="fresh")) is None
    for pauses in (2, 3, 4):
        house.clock.offset += float(dict(house.named("backend-paused")[-1].fields)["seconds"]) + 0.1
        house.delivery.wake()
        await until(lambda: len(house.named("backend-paused")) == pauses)  # noqa: B023
    assert [dict(event.fields)["seconds"] for event in house.named("backend-paused")] == [5, 10, 20, 40]
    assert len(house.named("deferred")) == deferred + 3, "one probe for each pause"
    await sink.listen()
    house.clock.offset += 700
    house.delivery.wake()
    await until(lambda: len(house.named("delivered")) == 7)
    assert len(house.named("backend-back")) == 1


async def test_what_becomes_due_while_its_backend_is_paused_goes_when_both_are_over(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.policy.flow._FIRST_PAUSE", 0.4)
    await sink.shut()
    house.delivery.start()
    await house.attempt(make_claim())
    assert house.named("backend-paused")
    await sink.listen()
    later = await house.commit(make_claim(id="later"), claimed=True)
    await house.spool.release(later, house.clock.now() + 0.8)
    house.delivery.wake()
    await until(lambda: len(sink.mails) == 1, seconds=2)


async def test_connection_lost_after_the_dot_waits(house: House, sink: Sink) -> None:
    sink.answers("DOT", HANG_UP)
    outcomes = await house.attempt(make_claim())
    assert outcomes is not None
    assert (outcomes[0].kind, outcomes[0].ambiguous) == (OutcomeKind.DEFERRED, True)
    assert (await house.story()).waiting[0].attempts == 1
    assert dict(house.named("deferred")[0].fields)["ambiguous"] is True


async def test_altered_content_is_held_and_alarmed(house: House, sink: Sink) -> None:
    message = make_message(TEXT, data=TEXT.replace(b"Hello", b"Hellx"))
    assert await house.attempt(make_claim(message=message)) is None
    story = await house.story()
    assert (story.held, sink.dots) == (True, 0)
    (event,) = house.named("content-altered")
    assert (event.level, event.id) == (Level.ALARM, "m1")
    assert await house.spool.claim((), 9, house.clock.now() + 1e6, 60) == []


class BrokenBackend:
    """Fails in an unforeseen way."""

    name = "corp"

    def has_room(self) -> bool:
        return True

    def room(self) -> int:
        return 5

    async def deliver(self, claim: Claim, content: object) -> tuple[Outcome, ...]:
        raise ZeroDivisionError("a slip of ours")

    async def close(self) -> None:
        pass


async def test_a_bug_defers_and_is_told() -> None:
    house = House({"corp": BrokenBackend()}, OffsetClock())
    outcomes = await house.attempt(make_claim())
    assert outcomes is not None
    assert (outcomes[0].kind, "slip" in str(outcomes[0].reply)) == (OutcomeKind.DEFERRED, False)
    assert find_refusal(outcomes) == REPLIES["route-stopped"]
    assert await house.states() == [Final.RETURNED]
    assert "a slip of ours" in str(house.named("error")[0].fields)
    assert house.named("returned")[0].level is Level.ALARM
    await house.delivery.drain()


async def test_a_bug_in_settling_writes_the_least_and_sends_nothing_again(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered recipients are done; the rest is held after a few tries, and an admin sees the reason."""
    monkeypatch.setattr("gateway.service.settling.settle", lambda *_: 1 / 0)
    monkeypatch.setattr("gateway.service.settling._PAUSES", (0.01,))
    sink.answers("RCPT", b"250 2.1.5 OK\r\n", b"451 4.2.1 later\r\n")
    assert await house.attempt(make_claim(rcpts=("bob@corp.example", "eve@corp.example"))) is None
    house.delivery.start()
    await until(lambda: bool(house.named("unplanned")))
    assert await house.states() == [Final.DELIVERED]
    (entry,) = await house.spool.reader.queue(9)
    assert (entry.held, entry.rcpts, "ZeroDivisionError" in entry.last_reply) == (True, ("eve@corp.example",), True)
    house.clock.offset += 9000
    house.delivery.wake()
    await asyncio.sleep(0.2)
    assert len(sink.mails) == 1


@pytest.mark.parametrize("failing", ["settle", "hold"])
async def test_not_even_the_least_can_be_written(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Then the transfer is held; until that succeeds the claim is kept, and nothing is sent again."""
    monkeypatch.setattr("gateway.service.settling._PAUSES", (0.01,))
    house.spool.failures["settle"] = [ValueError("row")] * 9
    house.spool.failures["hold"] = [ValueError("row")] * (3 if failing == "hold" else 0)
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: house.spool.calls["hold"] == (4 if failing == "hold" else 1))
    (entry,) = await house.spool.reader.queue(9)
    assert entry.held
    house.clock.offset += 9000
    house.delivery.wake()
    await asyncio.sleep(0.2)
    assert len(sink.mails) == 1


async def test_a_spool_that_is_full_for_long_is_waited_for(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.service.settling._PAUSES", (0.01,))
    house.spool.failures["settle"] = [SpoolFull("full")] * 30
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: bool(house.named("delivered")))
    assert (await house.states(), len(sink.mails)) == ([Final.DELIVERED], 1)


async def test_what_could_not_be_written_is_tried_once_more_before_the_end(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.service.settling._PAUSES", (60.0,))
    house.spool.failures["settle"] = [SpoolFull("full")]
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: house.spool.calls["settle"] == 1)
    await house.delivery.drain()
    assert (await house.states(), len(sink.mails)) == ([Final.DELIVERED], 1)


async def test_a_fault_in_what_is_learnt_of_a_backend_costs_no_delivery(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.service.traffic.read_sign", lambda *_: 1 / 0)
    assert await house.attempt(make_claim()) is not None
    assert (await house.states(), len(sink.mails)) == ([Final.DELIVERED], 1)


async def test_the_loop_outlives_a_spool_that_fails(house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.delivery._PAUSE_AFTER_ERROR", 0.05)
    house.spool.failures["claim"] = [OSError(5, "I/O error"), SpoolFull("full")]
    house.spool.failures["next_due"] = [OSError(5, "I/O error")]
    await house.commit(make_claim())
    house.delivery.start()
    await until(lambda: len(sink.mails) == 1)
    assert len(house.named("error")) >= 2


async def test_unreadable_spool_defers(house: House, sink: Sink) -> None:
    house.spool.failures["read_content"] = [OSError(5, "I/O error")]
    outcomes = await house.attempt(make_claim())
    assert outcomes is not None
    assert outcomes[0].kind is OutcomeKind.DEFERRED
    assert sink.dots == 0


async def test_an_idle_loop_hardly_asks(house: House) -> None:
    house.delivery.start()
    await asyncio.sleep(0.5)
    assert house.spool.calls["claim"] <= 2


async def test_mail_that_comes_faster_than_it_leaves_is_slowed_down(house: House, sink: Sink) -> None:
    async def bring(count: int) -> float:
        started = time.monotonic()
        for number in range(count):
            assert not house.delivery.reserve(["corp"])
            await house.commit(make_claim(id=f"{started}{number}"))
            await house.delivery.enqueue(["corp"])
        return time.monotonic() - started

    sink.gate.clear()
    assert all(house.delivery.reserve(["corp"]) for _ in range(3))
    assert await bring(150) < 1, "a backend that takes nothing slows nobody down"
    sink.gate.set()
    house.delivery.forgo(["corp"] * 3)
    house.delivery.start()
    await until(lambda: bool(house.named("delivered")))
    sink.gate.clear()
    house.delivery.reserve(["corp"])
    started = time.monotonic()
    await house.delivery.enqueue(["corp"])
    waited = time.monotonic() - started
    assert 0.01 < waited < 0.5
    sink.gate.set()
    await until(lambda: len(house.named("delivered")) == 150)
    started = time.monotonic()
    await house.delivery.enqueue(["corp"])
    assert time.monotonic() - started < 0.01, "all has left"


async def test_mail_goes_on_when_every_attempt_ends_while_the_queue_is_looked_at(
    house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt is then left that would wake the scheduler at its end."""
    looked, told, real = asyncio.Event(), asyncio.Event(), house.spool.reader.next_due

    async def look(skip: Collection[str] = ()) -> float | None:
        found = await real(skip)
        looked.set()
        await told.wait()
        return found

    monkeypatch.setattr(house.spool.reader, "next_due", look)
    sink.gate.clear()
    for number in range(8):
        await house.commit(make_claim(id=f"m{number}"))
    house.delivery.start()
    await looked.wait()
    sink.gate.set()
    await until(lambda: not house.delivery._jobs)
    told.set()

    async def all_are_there() -> bool:
        return [await house.states(f"m{number}") for number in range(8)] == [[Final.DELIVERED]] * 8

    await until(all_are_there)


async def test_a_closed_backend_is_not_polled_busily(house: House, sink: Sink) -> None:
    sink.gate.clear()
    for number in range(9):
        await house.commit(make_claim(id=f"m{number}"))
    house.delivery.start()
    await until(lambda: sink.dots == 3)
    before = house.spool.calls["claim"]
    await asyncio.sleep(0.5)
    assert house.spool.calls["claim"] - before <= 3
    sink.gate.set()
    await until(lambda: len(sink.mails) == 9)


# drain


async def test_drain_waits_for_what_is_under_way(house: House, sink: Sink) -> None:
    sink.gate.clear()
    for number in range(6):
        await house.commit(make_claim(id=f"m{number}"))
    house.delivery.start()
    await until(lambda: sink.dots == 3)
    asyncio.get_running_loop().call_later(0.2, sink.gate.set)
    await house.delivery.drain(5)
    assert len(house.named("delivered")) == len(sink.mails) == 3
    assert {entry.claimed for entry in await house.spool.reader.queue(9)} == {False}
    assert await house.attempt(make_claim(id="late")) is None


async def test_drain_gives_back_what_takes_too_long(house: House, sink: Sink) -> None:
    sink.gate.clear()
    for number in range(3):
        await house.commit(make_claim(id=f"m{number}"))
    house.delivery.start()
    waiting = asyncio.create_task(house.attempt(make_claim(id="late"), budget=9))
    await until(lambda: sink.dots == 3)
    began = time.monotonic()
    await house.delivery.drain(0.2)
    assert time.monotonic() - began < 2
    entries = await house.spool.reader.queue(9)
    assert ([entry.claimed for entry in entries], len(entries)) == ([False] * 4, 4)
    assert await waiting is None


async def test_drain_writes_down_whom_the_backend_has_taken_already() -> None:
    """One transaction is finished, the next one is stopped: returning the whole claim would send the message to the
    first twice."""
    async with Sink() as sink:
        sink.answers("DOT", b"250 2.0.0 Queued\r\n", SILENCE)
        house = House({"corp": backend_of(sink, one_domain_per_transaction=True)}, OffsetClock())
        await house.commit(make_claim(rcpts=("a@one.example", "b@two.example")))
        house.delivery.start()
        await until(lambda: sink.dots == 2)
        await house.delivery.drain(0)
        await house.backends["corp"].close()
    assert [(str(one.rcpt.mailbox), one.state) for one in (await house.story()).endings] == [
        ("a@one.example", Final.DELIVERED)
    ]
    (waiting,) = (await house.story()).waiting
    assert [str(rcpt.mailbox) for rcpt in waiting.rcpts] == ["b@two.example"]
    assert [entry.claimed for entry in await house.spool.reader.queue(9)] == [False]


async def test_drain_lets_a_write_finish(house: House, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    sink.answers("DOT", b"550 5.7.1 content refused\r\n")
    settle = house.spool.settle

    async def slow_settle(settlement: object) -> bool:
        await asyncio.sleep(0.3)
        return await settle(settlement)  # type: ignore[arg-type]

    monkeypatch.setattr(house.spool, "settle", slow_settle)
    attempt = asyncio.create_task(house.attempt(make_claim()))
    await until(lambda: sink.dots == 1)
    await asyncio.sleep(0.1)
    await house.delivery.drain(0)
    outcomes = await attempt
    assert outcomes is not None
    assert find_refusal(outcomes) is not None
    assert await house.states() == [Final.FAILED]


# fresh messages, from memory


async def test_fresh_message_is_sent_without_reading_it_back(house: House, sink: Sink) -> None:
    house.delivery.start()
    assert house.delivery.reserve(["corp"])
    await house.delivery.send(await house.commit(make_claim(), True))
    await until(lambda: bool(house.named("delivered")))
    assert len(sink.mails) == 1
    assert await house.states() == [Final.DELIVERED]


async def test_what_is_promised_is_nobody_elses(house: House, sink: Sink) -> None:
    """Three connections, all reserved: mail waiting in the spool stays there until they are used."""
    sink.gate.clear()
    assert all(house.delivery.reserve(["corp"]) for _ in range(3))
    assert not house.delivery.reserve(["corp"])
    await house.commit(make_claim(id="old"))
    house.delivery.start()
    await asyncio.sleep(0.05)
    assert sink.dots == 0
    for number in range(3):
        await house.delivery.send(await house.commit(make_claim(id=f"m{number}"), True))
    await until(lambda: sink.dots == 3)
    sink.gate.set()
    await until(lambda: len(house.named("delivered")) == 4)


async def test_fresh_message_of_a_drain_is_given_back(house: House, sink: Sink) -> None:
    assert house.delivery.reserve(["corp"])
    await house.delivery.drain(0)
    assert not house.delivery.reserve(["corp"])
    await house.delivery.send(await house.commit(make_claim(), True))
    (entry,) = await house.spool.reader.queue(9)
    assert not entry.claimed
    assert sink.dots == 0
