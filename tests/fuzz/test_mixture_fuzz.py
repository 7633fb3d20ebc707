"""Each recipient ends in exactly one state, and no backend gets one twice, except after a lost answer.

One message, six recipients, two backends of two hosts each, and every mixture of the behaviours of hosts: take, defer,
refuse, blame us, close, hang up or fall silent before and after the end of the content; with a client that waits and
from the queue. Delivery, settlement, backends and transactions are real; sessions and the spool are in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.config.backends import BackendSettings as Settings
from gateway.config.backends import DeliverySettings
from gateway.config.model import Config, Server
from gateway.model.decision import Action, Decision
from gateway.model.delivery import Claim, Final, Intake, Trace
from gateway.model.envelope import Envelope, IPText
from gateway.model.event import Event
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.reply import Reply
from gateway.net.host_backend import HostBackend
from gateway.net.mx import Host, HostFinder
from gateway.net.outcomes import HostRefused, NoReply, Peer, Phase
from gateway.plan.settlement import find_refusal
from gateway.service.delivery import Delivery
from gateway.service.tally import SharedCounts
from gateway.service.traffic import Share, Traffic
from tests.conftest import SOAK, SOAK_FACTOR
from tests.support.fake_spool import FakeSpool
from tests.support.sending import NOW, FixedResolver, StillClock, make_claim

DAY = 86_400.0
LOST = Reply(451, "4.2", "connection lost")
OK = Reply(250, "0.0", "OK")
REPLIES = [
    OK,
    Reply(451, "7.1", "later"),
    Reply(451, "3.0", "queue"),
    Reply(450, "2.1", "busy mailbox"),
    Reply(550, "1.1", "No such user"),
    Reply(554, "7.1", "looks like spam"),
    Reply(550, "7.25", "no PTR record - gsmtp"),
    Reply(451, "7.500", "Server busy (AS1)"),
    Reply(421, "3.2", "closing"),
    Reply(421, "7.0", "closing"),
    None,
]
"""None: no answer comes."""
answers = st.sampled_from(REPLIES) | st.just(OK)


@dataclass(frozen=True)
class Conduct:
    """The behaviour of a host in one transaction."""

    greeting: Reply | None = OK
    mail: Reply | None = OK
    rcpts: tuple[Reply | None, ...] = (OK,) * 6
    data: Reply | None = OK
    lost_in_content: bool = False
    end: Reply | None = OK
    taken: bool = True
    """When no answer to the end of the content comes: the message was taken all the same."""


conducts = st.builds(
    Conduct,
    greeting=answers,
    mail=answers,
    rcpts=st.tuples(*[answers] * 6),
    data=answers,
    lost_in_content=st.sampled_from([False, False, False, True]),
    end=answers,
    taken=st.booleans(),
) | st.just(Conduct())


@dataclass
class World:
    """The behaviour of hosts, and the messages that they took."""

    conducts: Iterator[Conduct] = field(default_factory=lambda: iter(()))
    takings: list[tuple[str, str, bool]] = field(default_factory=list)
    """(backend, recipient, the answer arrived)."""

    def next(self) -> Conduct:
        return next(self.conducts, Conduct())


class Session:
    """A `net.host_backend.HostSession` without a socket."""

    def __init__(self, world: World, backend: str, host: Host, pipelining: bool) -> None:
        self.host = host
        self.peer = Peer(host.name, "192.0.2.1")
        self.extensions: Mapping[str, str] = {"pipelining": ""} if pipelining else {}
        self.opened = 0.0
        self.transactions = 0
        self.deadline = 0.0
        self.connected = True
        self._world = world
        self._backend = backend
        self._conduct = Conduct()
        self._due: list[Reply | None] = []
        self._named: list[str] = []
        self._refused = False

    @property
    def used(self) -> bool:
        return self.transactions > 0

    async def is_ready(self) -> bool:
        return self.connected

    def say(self, phase: Phase, *commands: bytes) -> None:
        for command in commands:
            verb, _, argument = command.decode().partition(" ")
            if verb == "MAIL":
                self._conduct, self._named = self._world.next(), []
                self._refused = not _positive(self._conduct.mail)
                self._due.append(self._conduct.mail)
            elif verb == "RCPT":
                address = argument.split("<")[1].split(">")[0]
                reply = Reply(503, "5.1", "MAIL first") if self._refused else self._conduct.rcpts[int(address[1])]
                if _positive(reply):
                    self._named.append(address)
                self._due.append(reply)
            elif not self._named:
                self._due.append(Reply(554, "5.1", "nobody"))
            else:
                good = _positive(self._conduct.data)
                self._due.append(Reply(354, "", "go") if good else self._conduct.data)

    async def hear(self, phase: Phase) -> Reply:
        await asyncio.sleep(0)
        reply = self._due.pop(0) if self.connected and self._due else None
        if reply is None:
            self.abort()
            raise NoReply(phase, LOST)
        if reply.code == 421:
            self.close()
        return reply

    async def ask(self, phase: Phase, command: bytes) -> Reply:
        self.say(phase, command)
        return await self.hear(phase)

    async def send_content(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        async for _ in pieces:
            await asyncio.sleep(0)
        if self._conduct.lost_in_content:
            self.abort()
            raise NoReply(Phase.CONTENT, LOST)
        reply = self._conduct.end
        if _positive(reply) or (reply is None and self._conduct.taken):
            self._world.takings += [(self._backend, rcpt, reply is not None) for rcpt in self._named]
        self.transactions += 1
        if reply is None:
            self.abort()
            raise NoReply(Phase.DOT, LOST)
        if reply.code == 421:
            self.close()
        return Phase.DOT, reply

    async def send_chunks(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        raise AssertionError("CHUNKING is not offered")

    def close(self) -> None:
        self.connected = False

    def abort(self) -> None:
        self.connected = False


class Dialer:
    def __init__(self, world: World, backend: str, pipelining: bool) -> None:
        self._world = world
        self._backend = backend
        self._pipelining = pipelining

    async def open(self, host: Host, address: IPText, deadline: float) -> Session:
        await asyncio.sleep(0)
        greeting = self._world.next().greeting
        if greeting is None:
            raise NoReply(Phase.GREETING, LOST)
        if not _positive(greeting):
            raise HostRefused(Phase.GREETING, greeting)
        return Session(self._world, self._backend, host, self._pipelining)


def _positive(reply: Reply | None) -> bool:
    return reply is not None and reply.positive


class Clock(StillClock):
    def __init__(self) -> None:
        self.time = NOW
        self.serial = 0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def new_id(self) -> str:
        self.serial += 1
        return f"n{self.serial}"


class Mixture(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.clock = Clock()
        self.events: list[Event] = []
        self.spool = FakeSpool(self.clock)
        self.told: list[Reply] = []
        self.client_waits = False

    @initialize(split=st.booleans(), waits=st.booleans(), together=st.booleans(), first=st.lists(conducts, max_size=6))
    def arrive(self, split: bool, waits: bool, together: bool, first: list[Conduct]) -> None:
        """The message is stored; with one route, a client may wait for the first attempt."""
        self.loop.run_until_complete(self._begin(split, waits and not split, together, first))

    async def _begin(self, split: bool, waits: bool, together: bool, first: list[Conduct]) -> None:
        tally = SharedCounts().tally()
        self.backends = {}
        for name in ("one", "two", "dsn"):
            given = Settings(hosts=(f"{name}1", f"{name}2"))
            hosts = HostFinder(("192.0.2.1", "192.0.2.2"), "any", FixedResolver(), "gw", self.clock.jitter)
            dialer = Dialer(self.world if name != "dsn" else World(), name, together)
            self.backends[name] = HostBackend(name, given, hosts, dialer, tally)
        config = Config.model_construct(
            server=Server(hostname="gw.example"), delivery=DeliverySettings(), hold=Config.model_fields["hold"].default
        )
        traffic = Traffic({name: Share(5) for name in self.backends}, self.clock, self.events.append)
        emit = self.events.append
        self.delivery = Delivery(self.spool, self.backends, self.clock, emit, config, lambda _: "dsn", traffic)
        claims = self._claims({"one": "012", "two": "345"} if split else {"one": "012345"})
        self.rcpts = [str(rcpt.mailbox) for claim in claims for rcpt in claim.transfer.rcpts]
        edge = EdgeIngress(IPText("192.0.2.1"), ClientSource.PEER, "x", "mx", IPText("192.0.2.1"))
        envelope = Envelope(claims[0].transfer.mail_from, tuple(rcpt for one in claims for rcpt in one.transfer.rcpts))
        decision = Decision(Action.ACCEPT, "default", "enforce", OK)
        evidence = claims[0].message.evidence
        trace = Trace("m1", NOW, edge, None, envelope, evidence, None, (), None, (), decision, (), ())
        transfers = tuple(claim.transfer for claim in claims)
        await self.spool.commit(Intake(trace, claims[0].message, transfers, claimed=waits))
        self.world.conducts = iter(first)
        self.client_waits = waits
        if waits:
            outcomes = await self.delivery.attempt(claims[0], self.clock.monotonic() + 20)
            refusal = find_refusal(outcomes or ())
            self.told = [refusal] if refusal is not None else []
        self.delivery.start()
        await self._rest()

    def _claims(self, routes: dict[str, str]) -> list[Claim]:
        return [
            make_claim(rcpts=tuple(f"r{digit}@corp.example" for digit in digits), backend=backend, id="m1")
            for backend, digits in routes.items()
        ]

    async def _rest(self) -> None:
        """Run until no attempt is under way."""
        for _ in range(2000):
            await asyncio.sleep(0)
            if not self.delivery._jobs:
                self.delivery.wake()
                for _ in range(20):
                    await asyncio.sleep(0)
                if not self.delivery._jobs:
                    return
        raise AssertionError("attempts do not end")

    @rule(seconds=st.sampled_from([10.0, 100.0, 1000.0, 20_000.0]), conduct=st.lists(conducts, max_size=6))
    def time_passes(self, seconds: float, conduct: list[Conduct]) -> None:
        self.world.conducts = iter(conduct)
        self.clock.time += seconds
        self.loop.run_until_complete(self._rest())

    @invariant()
    def holds(self) -> None:
        story = self.loop.run_until_complete(self.spool.reader.story("m1"))
        if story is None:
            return
        waiting = [str(rcpt.mailbox) for transfer in story.waiting for rcpt in transfer.rcpts]
        ended = {str(ending.rcpt.mailbox): ending.state for ending in story.endings}
        assert Counter([*waiting, *(str(one.rcpt.mailbox) for one in story.endings)]) == Counter(self.rcpts)
        heard: set[str] = set()
        for _, rcpt, answered in self.world.takings:
            assert rcpt not in heard, "it was taken twice, though the first answer had come"
            if answered:
                heard.add(rcpt)
        assert {rcpt for rcpt, state in ended.items() if state is Final.DELIVERED} == heard
        told = {rcpt for rcpt, state in ended.items() if state in (Final.FAILED, Final.EXPIRED)}
        notified = self._notified()
        if self.told:
            assert heard == set()
            state = Final.RETURNED if self.told[0].transient else Final.FAILED
            assert (set(ended.values()), waiting, notified) == ({state}, [], set())
        else:
            assert Final.RETURNED not in ended.values()
            assert notified == told, "who failed is told of, once"

    def _notified(self) -> set[str]:
        """Recipients that a DSN reports as failed; each at most once."""
        found: list[str] = []
        for settlement in self.spool.settlements:
            if settlement.dsn is not None and settlement.dsn.message is not None:
                octets = settlement.dsn.message.content.data or b""
                status = octets.split(b"message/delivery-status")[1].split(b"--=_")[0]
                failed = [block for block in status.split(b"\r\n\r\n") if b"Action: failed" in block]
                found += [block.split(b"rfc822; ")[1].split(b"\r\n")[0].decode() for block in failed]
        assert len(found) == len(set(found))
        return set(found)

    def teardown(self) -> None:
        """At the queue's end nothing waits any more."""
        if not hasattr(self, "delivery"):
            return
        for _ in range(3):
            self.time_passes(6 * DAY, [])
        story = self.loop.run_until_complete(self.spool.reader.story("m1"))
        if story is not None:
            assert story.waiting == ()
        self.holds()
        with suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.delivery.drain())
        self.loop.close()


Mixture.TestCase.settings = settings(
    max_examples=200 * (SOAK_FACTOR if SOAK else 1), stateful_step_count=8, deadline=None
)
TestMixture = Mixture.TestCase


def test_what_the_machine_would_notice() -> None:
    """The check can fail: it notices a backend that gets a recipient again after its answer."""
    machine: Any = Mixture()
    machine.arrive(split=False, waits=True, together=True, first=[])
    machine.holds()
    machine.world.takings.append(machine.world.takings[0])
    with pytest.raises(AssertionError, match="taken twice"):
        machine.holds()
    machine.world.takings.pop()
    machine.teardown()
