"""Receives mail: the reply to each SMTP command, and the writes before 250. Independent of the transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.authentication import spf
from gateway.authentication.signing import DIGEST
from gateway.mail.header import Field
from gateway.model.decision import Stage
from gateway.model.delivery import Intake
from gateway.model.envelope import Envelope, Mailbox, Recipient, network_of
from gateway.model.event import Event, Level
from gateway.model.ingress import EdgeIngress, Ingress, Tls
from gateway.model.message import Message, Route
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import replace
from gateway.plan import client
from gateway.plan.admission import Asking
from gateway.plan.intake import Arrival, make_marks, refuse, take_in, turn_away
from gateway.plan.judgement import Judged, again
from gateway.policy.rules import RuleFailure
from gateway.policy.weighing import Case
from gateway.ports import Connection, Conversation, HoldFull, SpoolFull, emit_all
from gateway.service.collector import Collector, find_fault, find_obstacle
from gateway.service.handover import hand_over, keep_word
from gateway.service.judge import EarlyRules, Judge, put_off, report_failure
from gateway.service.recipients import find_rcpt_refusal
from gateway.service.repetition import Repetitions, UnderWay
from gateway.service.role import Client, EdgeRole, Role
from gateway.service.runtime import RuntimeConfig, Services


class MxReception:
    """Serves listeners of one role."""

    def __init__(self, services: Services, runtime: Callable[[], RuntimeConfig], role: Role | None = None) -> None:
        """`role` is `mx` by default."""
        self._services = services
        self._runtime = runtime
        self._role = role or EdgeRole()

    async def connect(self, connection: Connection) -> Conversation | Reply:
        conversation = MxConversation(self._services, self._runtime, self._role, connection)
        return await conversation.admit() or conversation


class MxConversation:
    """One session."""

    def __init__(
        self, services: Services, runtime: Callable[[], RuntimeConfig], role: Role, connection: Connection
    ) -> None:
        self._services = services
        self._role = role
        self._flow = services.flow
        self._repetitions = Repetitions(services.spool, services.arrivals, services.clock)
        self._slot: int | None = None
        self._gone = False
        self._current_runtime = runtime
        self._runtime = runtime()
        self._client = Client(connection)
        self._id = ""
        self._size: int | None = None
        self._envelope: Envelope | None = None
        self._collector: Collector | None = None
        self._overflow = False
        self._stored = ""
        """Id of the last stored message, while its client is not known to have got the reply."""
        self._early_rules = EarlyRules(connection.client)
        self._end_lookups: Callable[[], None] = _no_lookups
        """Ends the lookups made ahead of the message."""

    async def admit(self) -> Reply | None:
        """The reply if the rules refuse the connection itself."""
        return await self._hear(Stage.CONNECT, Envelope(None, ()), "")

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        self.abandon()
        self._client = replace(self._client, helo=name, esmtp=esmtp, tls=tls)

    def login(self, name: str) -> None:
        self._client = replace(self._client, login=name)

    def forced_sender(self) -> Mailbox | None:
        return self._role.find_forced(self._client, self._current_runtime())

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
        self._runtime = self._current_runtime()
        if size is not None and size > self._runtime.config.limits.message_size:
            return await self.refuse(REPLIES["too-big"], envelope.mail_from)
        id = self._services.clock.new_id()
        denied = self._role.refuse_mail(self._client, self._runtime, envelope.mail_from)
        if denied is not None:
            return await self._store_refusal(self._arrival(id, envelope), *denied, Stage.MAIL)
        refusal = await self._hear(Stage.MAIL, envelope, id)
        if refusal is not None:
            return refusal
        self._id, self._size, self._envelope = id, size, envelope
        return Reply(250, "1.0", "Sender OK")

    async def rcpt(self, recipient: Recipient) -> Reply:
        envelope = self._transaction()
        runtime, routing, clock = self._runtime, self._role.find_routing(self._runtime), self._services.clock
        asking = Asking(envelope, self._size, self._client.connection.client, clock.now(), self._role.sends)
        refusal = await find_rcpt_refusal(
            recipient, asking, self._ingress(None), runtime, routing, self._services, self._admits
        )
        if refusal is not None:
            return await self._refuse_recipient(recipient, *refusal)
        # Role addresses are always accepted (RFC 5321 section 4.5.1): no rule is asked about them before the message.
        if not runtime.routing.role(recipient.mailbox):
            refused = await self._hear(Stage.RCPT, replace(envelope, rcpts=(recipient,)), "")
            if refused is not None:
                return refused
        self._envelope = replace(envelope, rcpts=(*envelope.rcpts, recipient))
        if not envelope.rcpts:
            self._prefetch(envelope)
        return Reply(250, "1.5", "Recipient OK")

    def _prefetch(self, envelope: Envelope) -> None:
        """Start the lookups that every judgement needs. Not before a recipient was accepted: a client without mail for
        us must not cause work."""
        ingress = self._ingress(None)
        if isinstance(ingress, EdgeIngress) and ingress.client is not None:
            early = client.questions(ingress, self._runtime.context.client)
            questions = (*spf.questions(ingress, envelope.mail_from), *early)
            self._end_lookups = self._services.authenticator.prefetch(questions, network_of(ingress.client))

    def _leave_transaction(self) -> None:
        self._envelope = None
        self._end_lookups()
        self._end_lookups = _no_lookups

    def _admits(self, backend: str) -> bool:
        """Mail of our own senders waits in the queue while a route is stopped."""
        return self._role.sends or self._services.deliverer.admits(backend)

    async def begin(self) -> Reply:
        limits = self._runtime.config.limits
        if self._flow.room(self._client.connection.client, limits) <= 0:
            return await self._refuse_for_room()
        self._overflow = False
        digests = {DIGEST} if self._role.sends or self._runtime.context.sealing else set()
        self._collector = Collector(self._services.spool, limits.header_size, digests, self._client.connection.carry)
        return Reply(354, "", "End data with <CR><LF>.<CR><LF>")

    async def take(self, chunk: bytes) -> None:
        if self._collector is None:
            return
        client = self._client.connection.client
        self._flow.add(len(chunk), client)
        await self._collector.take(chunk)
        if self._flow.room(client, self._runtime.config.limits) < 0:
            self._let_go(self._collector)
            self._collector, self._overflow = None, True

    async def finish(self) -> Reply:
        collector, self._collector = self._collector, None
        if self._overflow:
            return await self._refuse_for_room()
        if collector is None:
            raise RuntimeError("end of data without data")
        deadline = self._services.clock.monotonic() + self._runtime.config.delivery.session_budget
        try:
            return await self._receive(collector, deadline)
        except SpoolFull:
            return await self._refuse_for_room()
        except Exception:
            # A stored message is sent, whatever the client's reply is now: its retry is the same message.
            self.answered(heard=False)
            raise
        finally:
            self._let_go(collector)
            self._leave_transaction()
            if self._slot is not None and not self._stored:
                self._repetitions.forget(self._slot)
                self._slot = None

    def answered(self, heard: bool) -> None:
        stored, self._stored = self._stored, ""
        if stored:
            self._services.spool.note_answer(stored, heard)
            self._conclude(heard)

    def _conclude(self, heard: bool) -> None:
        """The last accepted message no longer needs its place among the arrivals."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._repetitions.conclude(slot, heard)

    def lost(self) -> None:
        self._gone = True

    def abandon(self) -> None:
        if self._collector is not None:
            self._let_go(self._collector)
            self._collector = None
        self._leave_transaction()

    def close(self) -> None:
        self.abandon()

    async def _refuse_for_room(self) -> Reply:
        """The spool is full, or too many octets are on their way in, of this client or in all (promise P7)."""
        arrival = self._arrival(self._id, self._transaction())
        self._overflow = False
        self._leave_transaction()
        return await self._store_refusal(arrival, "no-storage", REPLIES["no-storage"], Stage.DATA)

    def _let_go(self, collector: Collector) -> None:
        collector.discard()
        self._flow.add(-collector.size, self._client.connection.client)

    def _transaction(self) -> Envelope:
        if self._envelope is None:
            raise RuntimeError("no transaction is open")
        return self._envelope

    def _ingress(self, header: tuple[Field, ...] | None) -> Ingress:
        return self._role.find_ingress(self._client, self._runtime, header)

    async def _refuse_recipient(self, recipient: Recipient, rule: str, reply: Reply) -> Reply:
        """Each refused recipient has an id and a trace of its own, because the transaction may go on without it."""
        arrival = self._arrival("", replace(self._transaction(), rcpts=(recipient,)))
        if reply.permanent:
            self._role.note_refused(self._client, self._runtime, arrival.envelope)
        return await self._store_refusal(arrival, rule, reply, Stage.RCPT)

    async def _hear(self, stage: Stage, envelope: Envelope, id: str) -> Reply | None:
        """Ask the rules of a stage before the end of data: their reply, unless the client may go on."""
        try:
            decision = self._early_rules.ask(stage, lambda: self._ingress(None), envelope, self._runtime.context)
        except RuleFailure as failure:
            return await self._put_off(self._arrival(id, envelope), failure, stage)
        return None if decision is None else await self._store(turn_away(self._arrival(id, envelope), decision))

    async def _put_off(self, arrival: Arrival, failure: RuleFailure, stage: Stage) -> Reply:
        self._services.emit(report_failure(failure, arrival.id, stage))
        rules = self._runtime.context.rules_of(arrival.envelope)
        return await self._store(turn_away(arrival, put_off(failure, stage, rules.name)))

    def _arrival(self, id: str, envelope: Envelope) -> Arrival:
        """The arrival without content, with an id."""
        clock = self._services.clock
        return Arrival(id or clock.new_id(), clock.now(), self._ingress(None), envelope, None)

    async def _store_refusal(self, arrival: Arrival, rule: str, reply: Reply, stage: Stage) -> Reply:
        return await self._store(refuse(arrival, rule, reply, stage))

    async def _store(self, intake: Intake) -> Reply:
        """Store the trace of a refusal. Returns its reply, which stands without a trace too: only the event then has
        its id."""
        with suppress(SpoolFull):
            await self._services.spool.commit(intake)
        emit_all(self._services.emit, intake.events)
        return intake.trace.decision.reply.with_id(intake.trace.id)

    async def _receive(self, collector: Collector, deadline: float) -> Reply:
        """Everything between the final dot and its reply."""
        message = await collector.finish()
        header = collector.header
        ingress = self._ingress(header)
        arrival = Arrival(self._id, self._services.clock.now(), ingress, self._transaction(), message, header)
        routing = self._role.find_routing(self._runtime)
        routes = routing.group(arrival.envelope.rcpts, self._client.connection.client)
        fault = find_fault(collector, self._runtime.config.server.hostname)
        fault = fault or await find_obstacle(collector, routes, self._services.inquiry, self._client.connection.client)
        if fault is not None:
            return await self._store_refusal(arrival, fault, REPLIES[fault], Stage.DATA)
        try:
            marks = make_marks(arrival.envelope, message.content, ingress)
            known = await self._repetitions.find(marks, deadline, lambda: self._gone)
        except UnderWay:
            return await self._store_refusal(arrival, "under-way", REPLIES["under-way"], Stage.DATA)
        if isinstance(known, str):
            # Its client did not get the reply and sends it again: the message is delivered once.
            self._services.emit(Event("repeated", known, (("client", self._client.connection.client),)))
            # Once this reply is heard the client is known to have it: the next message of the same octets is a new one.
            self._stored, self._slot = known, self._repetitions.note_repeat(marks, known)
            return REPLIES["accepted"].with_id(known)
        self._slot = known
        try:
            intake = await self._take_in(arrival, message, routes)
        except RuleFailure as failure:
            return await self._put_off(arrival, failure, Stage.DATA)
        if intake.message is not None:
            collector.keep()
            self._stored = arrival.id
        emit_all(self._services.emit, intake.events)
        reply = intake.trace.decision.reply.with_id(self._id)
        in_session = self._runtime.config.delivery.in_session and not self._role.sends
        with keep_word(self._services.emit, arrival.id):
            return await hand_over(self._services.deliverer, intake, deadline if in_session else None, reply)
        return reply

    async def _take_in(self, arrival: Arrival, message: Message, routes: Sequence[Route]) -> Intake:
        """Judge and store. A message that should be held but finds no room is deferred instead."""
        services, context = self._services, self._runtime.context
        judge = Judge(services.authenticator, services.spool.reader, services.outage, services.emit)
        case = Case.of(arrival.ingress, arrival.envelope, message.evidence, arrival.received, header=arrival.header)
        judged = await judge.judge(case, context)
        results = judged.judgement.authentication
        departing = self._role.depart(arrival, message, results, self._client, self._runtime, routes)
        if isinstance(departing, tuple):
            refused = refuse(arrival, *departing, Stage.DATA)
            await self._services.spool.commit(refused)
            return refused
        arrival = departing
        try:
            return await self._commit(arrival, judged, routes)
        except HoldFull as error:
            fields = (("from", judged.judgement.authentication.dmarc.domain), ("reason", str(error)))
            services.emit(Event("hold-full", arrival.id, fields, Level.WARNING))
        full = replace(judged.case.circumstances, hold_full=True)
        return await self._commit(arrival, again(judged, context, full), routes)

    async def _commit(self, arrival: Arrival, judged: Judged, routes: Sequence[Route]) -> Intake:
        """Store it. It is already claimed if each of its backends has a connection free, and is then sent from
        memory."""
        backends = [route.backend for route in routes]
        claimed = judged.judgement.decision.action.delivers and self._services.deliverer.reserve(backends)
        try:
            judgement = replace(judged.judgement, decision=self._early_rules.complete(judged.judgement.decision))
            judged = replace(judged, judgement=judgement)
            intake = take_in(arrival, judged, routes, self._runtime.context, claimed)
            await self._services.spool.commit(intake)
        except BaseException:
            if claimed:
                self._services.deliverer.forgo(backends)
            raise
        if intake.message is not None:
            with keep_word(self._services.emit, arrival.id):
                self._role.note_taken(arrival, self._runtime)
        return intake


def _no_lookups() -> None:
    pass
