"""Receives mail: what each SMTP command is answered, and what is stored before 250. Free of transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.authentication import spf
from gateway.authentication.seal import DIGEST
from gateway.config.model import Config
from gateway.mail.header import Field
from gateway.model.address import Mailbox
from gateway.model.decision import Stage
from gateway.model.delivery import Claim, Intake, Outcome
from gateway.model.envelope import Envelope, Recipient
from gateway.model.event import Event, Level
from gateway.model.ingress import EdgeIngress, Ingress, Tls
from gateway.model.message import Message
from gateway.model.reply import REPLIES, Reply
from gateway.model.route import Route
from gateway.plan import client
from gateway.plan.admission import Asking, Refusal, refuse_recipient
from gateway.plan.intake import Arrival, refuse, take_in, turn_away
from gateway.plan.judgement import Bench
from gateway.plan.settlement import find_refusal
from gateway.policy.routing import RoutingTable
from gateway.policy.rules import RuleFailure
from gateway.ports import Clock, Connection, Conversation, EventSink, HoldFull, IntakeStore, SpoolFull, emit_all
from gateway.service.authenticator import Authenticator
from gateway.service.collector import Collector
from gateway.service.faults import find_fault, find_obstacle
from gateway.service.flow import Flow
from gateway.service.hearing import Hearing, put_off, report_failure
from gateway.service.ingress import find_ingress
from gateway.service.inquiry import Inquiry, NoInquiry
from gateway.service.judge import Judge, Judged, again
from gateway.service.patience import Patience


class Deliverer(Protocol):
    """What reception needs of delivery."""

    def has_room(self, backend: str) -> bool:
        """An attempt started now would not wait for a connection."""

    async def attempt(self, claim: Claim, deadline: float) -> Sequence[Outcome] | None:
        """One attempt of a claimed transfer; None when it is not settled by `deadline` (monotonic) and goes on."""

    def wake(self) -> None:
        """Something new is due."""


@dataclass(frozen=True, slots=True)
class Law:
    """What can be replaced while running: configuration and all that is made from it."""

    config: Config
    bench: Bench
    routing: RoutingTable


@dataclass(frozen=True, slots=True)
class Desk:
    """What a conversation works with."""

    clock: Clock
    spool: IntakeStore
    authenticator: Authenticator
    deliverer: Deliverer
    emit: EventSink
    inquiry: Inquiry = field(default_factory=NoInquiry)
    flow: Flow = field(default_factory=Flow)
    patience: Patience = field(default_factory=Patience)


class MxReception:
    """Serves `mx` listeners: mail for our domains, from anyone."""

    def __init__(self, desk: Desk, law: Callable[[], Law]) -> None:
        self._desk = desk
        self._law = law

    async def connect(self, connection: Connection) -> Conversation | Reply:
        conversation = MxConversation(self._desk, self._law, connection)
        return await conversation.admit() or conversation


class MxConversation:
    """One session."""

    def __init__(self, desk: Desk, law: Callable[[], Law], connection: Connection) -> None:
        self._desk = desk
        self._flow = desk.flow
        self._current_law = law
        self._law = law()
        self._connection = connection
        self._helo = ""
        self._esmtp = False
        self._tls: Tls | None = None
        self._login = ""
        self._id = ""
        self._size: int | None = None
        self._envelope: Envelope | None = None
        self._collector: Collector | None = None
        self._overflow = False
        self._hearing = Hearing(connection.client)

    async def admit(self) -> Reply | None:
        """The reply when the rules refuse the connection itself."""
        return await self._hear(Stage.CONNECT, Envelope(None, ()), "")

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        self.abandon()
        self._helo, self._esmtp, self._tls = name, esmtp, tls

    def login(self, name: str) -> None:
        self._login = name

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        named = () if path is None else (Recipient(path),)
        if self._envelope is None:
            envelope, stage = Envelope(path, ()), Stage.MAIL
        else:
            envelope, stage = replace(self._envelope, rcpts=named), Stage.RCPT
        if self._collector is not None:
            stage = Stage.DATA
        rule = "too-big" if reply.code == 552 else "protocol"
        return await self._store_refusal(self._arrival("", envelope), rule, reply, stage)

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        self._law = self._current_law()
        if size is not None and size > self._law.config.limits.message_size:
            return await self.refuse(REPLIES["too-big"], envelope.mail_from)
        id = self._desk.clock.new_id()
        refusal = await self._hear(Stage.MAIL, envelope, id)
        if refusal is not None:
            return refusal
        self._id, self._size, self._envelope = id, size, envelope
        ingress = self._ingress(None)
        if isinstance(ingress, EdgeIngress):
            early = client.questions(ingress, self._law.bench.client)
            self._desk.authenticator.prefetch((*spf.questions(ingress, envelope.mail_from), *early))
        return Reply(250, "1.0", "Sender OK")

    async def rcpt(self, recipient: Recipient) -> Reply:
        envelope = self._transaction()
        law, asking = self._law, Asking(envelope, self._size, self._connection.client)
        takes = self._desk.inquiry.capabilities
        rules_for = law.bench.rules_for
        refusal = refuse_recipient(recipient, asking, law.routing, rules_for, takes, law.config.limits.recipients)
        refusal = refusal or await self._call_out(recipient.mailbox)
        if refusal is not None:
            return await self._refuse_recipient(recipient, *refusal)
        # Role addresses are always accepted (RFC 5321 section 4.5.1): no rule is asked about them before the message.
        if not law.routing.role(recipient.mailbox):
            refused = await self._hear(Stage.RCPT, replace(envelope, rcpts=(recipient,)), "")
            if refused is not None:
                return refused
        self._envelope = replace(envelope, rcpts=(*envelope.rcpts, recipient))
        return Reply(250, "1.5", "Recipient OK")

    async def _call_out(self, mailbox: Mailbox) -> Refusal | None:
        """Ask the backend about a mailbox, where the admin wants that; role addresses exist without a question."""
        routing = self._law.routing
        backend = routing.backend_for(mailbox)
        if backend is None or mailbox.ascii_domain not in routing.callout or routing.role(mailbox):
            return None
        unknown = await self._desk.inquiry.is_unknown(mailbox, backend, self._connection.client)
        return ("callout", REPLIES["unknown-mailbox"]) if unknown else None

    async def begin(self) -> Reply:
        limits = self._law.config.limits
        if self._flow.octets() >= limits.bytes_in_flight:
            return await self._refuse_overflow()
        self._overflow = False
        digests = {DIGEST} if self._law.bench.sealing else set()
        self._collector = Collector(self._desk.spool, limits.header_size, digests, self._connection.carry)
        return Reply(354, "", "End data with <CR><LF>.<CR><LF>")

    async def take(self, chunk: bytes) -> None:
        if self._collector is None:
            return
        self._flow.add(len(chunk))
        await self._collector.take(chunk)
        if self._flow.octets() > self._law.config.limits.bytes_in_flight:
            self._let_go(self._collector)
            self._collector, self._overflow = None, True

    async def finish(self) -> Reply:
        collector, self._collector = self._collector, None
        if self._overflow:
            return await self._refuse_overflow()
        if collector is None:
            raise RuntimeError("end of data without data")
        deadline = self._desk.clock.monotonic() + self._law.config.delivery.session_budget
        try:
            return await self._receive(collector, deadline)
        except SpoolFull:
            return REPLIES["no-storage"].with_id(self._id)
        finally:
            self._let_go(collector)
            self._envelope = None

    def abandon(self) -> None:
        if self._collector is not None:
            self._let_go(self._collector)
            self._collector = None
        self._envelope = None

    def close(self) -> None:
        self.abandon()

    async def _refuse_overflow(self) -> Reply:
        """Too much is on its way in over all sessions (promise P7)."""
        arrival = self._arrival(self._id, self._transaction())
        self._overflow, self._envelope = False, None
        return await self._store_refusal(arrival, "no-storage", REPLIES["no-storage"], Stage.DATA)

    def _let_go(self, collector: Collector) -> None:
        collector.discard()
        self._flow.add(-collector.size)

    def _transaction(self) -> Envelope:
        if self._envelope is None:
            raise RuntimeError("no transaction is open")
        return self._envelope

    def _ingress(self, header: tuple[Field, ...] | None) -> Ingress:
        return find_ingress(self._connection, self._helo, self._esmtp, self._tls, self._law.config, header, self._login)

    async def _refuse_recipient(self, recipient: Recipient, rule: str, reply: Reply) -> Reply:
        """Each refused recipient has an id and a trace of its own: the transaction may go on without it."""
        arrival = self._arrival("", replace(self._transaction(), rcpts=(recipient,)))
        return await self._store_refusal(arrival, rule, reply, Stage.RCPT)

    async def _hear(self, stage: Stage, envelope: Envelope, id: str) -> Reply | None:
        """Ask the rules of a stage before the end of data: their reply, unless the client may go on."""
        try:
            decision = self._hearing.ask(stage, self._ingress(None), envelope, self._law.bench)
        except RuleFailure as failure:
            return await self._put_off(self._arrival(id, envelope), failure, stage)
        return None if decision is None else await self._store(turn_away(self._arrival(id, envelope), decision))

    async def _put_off(self, arrival: Arrival, failure: RuleFailure, stage: Stage) -> Reply:
        self._desk.emit(report_failure(failure, arrival.id, stage))
        return await self._store(turn_away(arrival, put_off(failure, stage, self._law.bench)))

    def _arrival(self, id: str, envelope: Envelope) -> Arrival:
        """Without content; what has no id yet gets one."""
        clock = self._desk.clock
        return Arrival(id or clock.new_id(), clock.now(), self._ingress(None), envelope, None)

    async def _store_refusal(self, arrival: Arrival, rule: str, reply: Reply, stage: Stage) -> Reply:
        return await self._store(refuse(arrival, rule, reply, stage))

    async def _store(self, intake: Intake) -> Reply:
        """Leave the trace of a refusal; its reply."""
        await self._desk.spool.commit(intake)
        emit_all(self._desk.emit, intake.events)
        return intake.trace.decision.reply.with_id(intake.trace.id)

    async def _receive(self, collector: Collector, deadline: float) -> Reply:
        """Everything between the final dot and its answer."""
        message = await collector.finish()
        header = collector.header
        ingress = self._ingress(header)
        arrival = Arrival(self._id, self._desk.clock.now(), ingress, self._transaction(), message, header)
        routes = self._law.routing.group(arrival.envelope.rcpts)
        fault = find_fault(collector, self._law.config.server.hostname)
        fault = fault or await find_obstacle(collector, routes, self._desk.inquiry, self._connection.client)
        if fault is not None:
            return await self._store_refusal(arrival, fault, REPLIES[fault], Stage.DATA)
        try:
            intake = await self._take_in(arrival, message, routes)
        except RuleFailure as failure:
            return await self._put_off(arrival, failure, Stage.DATA)
        if intake.message is not None:
            collector.keep()
        emit_all(self._desk.emit, intake.events)
        reply = intake.trace.decision.reply.with_id(self._id)
        if not intake.transfers:
            return reply
        if intake.claimed:
            return await self._deliver_now(intake, deadline, reply)
        self._desk.deliverer.wake()
        return reply

    async def _take_in(self, arrival: Arrival, message: Message, routes: Sequence[Route]) -> Intake:
        """Judge and store. What should be held and finds no room is turned back instead."""
        desk, bench = self._desk, self._law.bench
        judge = Judge(desk.authenticator, desk.spool, desk.patience, desk.emit)
        judged = await judge.judge(arrival, message, bench)
        try:
            return await self._commit(arrival, judged, routes)
        except HoldFull as error:
            fields = (("from", judged.judgement.authentication.dmarc.domain), ("reason", str(error)))
            desk.emit(Event("hold-full", arrival.id, fields, Level.WARNING))
        full = replace(judged.circumstances, hold_full=True)
        return await self._commit(arrival, again(judged, arrival, message, bench, full), routes)

    async def _commit(self, arrival: Arrival, judged: Judged, routes: Sequence[Route]) -> Intake:
        action = judged.judgement.decision.action
        in_session = action.delivers and self._goes_in_session([route.backend for route in routes])
        judgement = replace(judged.judgement, decision=self._hearing.complete(judged.judgement.decision))
        intake = take_in(arrival, judgement, judged.window, routes, self._law.bench, in_session, judged.circumstances)
        await self._desk.spool.commit(intake)
        return intake

    def _goes_in_session(self, backends: Sequence[str]) -> bool:
        """In-session delivery: one route takes the whole message, and a connection to it is free (SPEC section 7)."""
        return (
            self._law.config.delivery.in_session and len(backends) == 1 and self._desk.deliverer.has_room(backends[0])
        )

    async def _deliver_now(self, intake: Intake, deadline: float, accepted: Reply) -> Reply:
        """The backend's own permanent refusal is the client's answer; anything else is 250: the message is stored."""
        if intake.message is None:
            raise RuntimeError("a claimed intake has a message")
        claim = Claim(intake.transfers[0], intake.message, epoch=1)
        outcomes = await self._desk.deliverer.attempt(claim, deadline)
        refusal = find_refusal(outcomes or ())
        return refusal.with_id(self._id) if refusal is not None else accepted
