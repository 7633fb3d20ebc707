"""A mail transaction without consequences: the very code that serves port 25, a spool that keeps nothing, no delivery.
So `simulate` shows the real result.

In: envelope, octets, runtime configuration and a resolver. Out: the trace that the live path would have stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from gateway.model.decision import Stage
from gateway.model.delivery import Claim, Intake, Outcome, Trace
from gateway.model.envelope import Body, Envelope, IPText, Mailbox, Recipient
from gateway.model.event import Event
from gateway.model.history import Acquaintance, History
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.model.value import Value, replace
from gateway.plan.intake import Arrival, refuse
from gateway.plan.judgement import judge
from gateway.policy.rules import RuleFailure
from gateway.policy.weighing import Case
from gateway.ports import Clock, Connection, ContentWriter, EventSink, IntakeStore, Resolver
from gateway.service.authenticator import Authenticator
from gateway.service.collector import Collector
from gateway.service.ingress import find_ingress
from gateway.service.reception import MxReception
from gateway.service.runtime import RuntimeConfig, Services

ID = "simulated"
_CHUNK = 1_048_576


class Delivered(Value):
    """The input of a client."""

    ip: IPText
    helo: str
    mail_from: Mailbox | None
    rcpts: tuple[Mailbox, ...]
    octets: bytes
    now: float
    """Epoch seconds."""
    history: History = History()
    """The assumed memory of the author and the client."""


class Rehearsed(Value):
    """The result of the transaction."""

    trace: Trace
    refused: tuple[tuple[str, Reply], ...]
    """Recipients refused at RCPT, when others were accepted."""


async def rehearse(delivered: Delivered, runtime: RuntimeConfig, resolver: Resolver) -> Rehearsed:
    """Run one transaction from EHLO to the answer to the final dot. A message that is refused before its content is
    still judged, so that its results can be shown; the decision stays that refusal."""
    clock = _Clock(delivered.now)
    spool = _Forgetful(delivered.history)
    services = make_services(resolver, clock, spool, _ignore, runtime.config.dns.budget_seconds)
    trace, refused = await _converse(MxReception(services, lambda: runtime), spool, delivered, runtime)
    if trace.authentication is None:
        trace = await _judge_anyway(trace, delivered, runtime, services)
    return Rehearsed(trace, refused)


def make_services(
    resolver: Resolver, clock: Clock, spool: IntakeStore, emit: EventSink, dns_seconds: float
) -> Services:
    """Those of a reception with no delivery behind it."""
    return Services(clock, spool, Authenticator(resolver, clock, dns_seconds), NoDelivery(), emit)


async def _converse(
    reception: MxReception, spool: _Forgetful, delivered: Delivered, runtime: RuntimeConfig
) -> tuple[Trace, tuple[tuple[str, Reply], ...]]:
    conversation = await reception.connect(_connection(delivered))
    if isinstance(conversation, Reply):
        return spool.traces[-1], ()
    conversation.hello(delivered.helo, True, None)
    reply = await conversation.mail(_envelope(delivered, ()), len(delivered.octets))
    if not reply.positive:
        return spool.traces[-1], ()
    refused = []
    for mailbox in delivered.rcpts:
        reply = await conversation.rcpt(Recipient(mailbox))
        if not reply.positive:
            refused.append((str(mailbox), reply))
    if len(refused) < len(delivered.rcpts):
        reply = await conversation.begin()
        for start in range(0, len(delivered.octets), _CHUNK):
            await conversation.take(delivered.octets[start : start + _CHUNK])
        reply = await conversation.finish()
    if not spool.traces:
        return _refusal(delivered, runtime, "internal", reply, Stage.DATA), ()
    return spool.traces[-1], tuple(refused) if spool.traces[-1].id == ID else ()


async def _judge_anyway(trace: Trace, delivered: Delivered, runtime: RuntimeConfig, services: Services) -> Trace:
    collector = Collector(services.spool, runtime.config.limits.header_size)
    await collector.take(delivered.octets)
    if collector.header_too_big:
        return trace
    evidence = (await collector.finish()).evidence
    header = collector.header
    ingress = find_ingress(_connection(delivered), delivered.helo, True, None, runtime.config, header)
    envelope = _envelope(delivered, delivered.rcpts)
    case = Case.of(ingress, envelope, evidence, delivered.now, header=header)
    try:
        judgement, window = await services.authenticator.run(lambda window: judge(case, window, runtime.context))
    except RuleFailure:  # the trace names the rule
        return trace
    return replace(trace, authentication=judgement.authentication, lookups=window.used)


def _refusal(delivered: Delivered, runtime: RuntimeConfig, rule: str, reply: Reply, stage: Stage) -> Trace:
    """The trace of a refusal that the live path only answers."""
    envelope = _envelope(delivered, delivered.rcpts)
    ingress = find_ingress(_connection(delivered), delivered.helo, True, None, runtime.config, None)
    return refuse(Arrival(ID, delivered.now, ingress, envelope, None), rule, reply, stage).trace


def _connection(delivered: Delivered) -> Connection:
    return Connection("simulate", delivered.ip, delivered.ip, ClientSource.PEER)


def _envelope(delivered: Delivered, rcpts: Sequence[Mailbox]) -> Envelope:
    addresses = [*delivered.rcpts, *([delivered.mail_from] if delivered.mail_from else [])]
    return Envelope(
        delivered.mail_from,
        tuple(Recipient(mailbox) for mailbox in rcpts),
        Body.SEVEN_BIT if delivered.octets.isascii() else Body.EIGHT_BIT,
        smtputf8=not all(str(address).isascii() for address in addresses),
    )


class _Clock:
    """The wall clock stands still at the requested moment; waiting for DNS takes real time."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._ids = _ids()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic()

    def jitter(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return next(self._ids)


def _ids() -> Iterator[str]:
    yield ID
    number = 1
    while True:
        number += 1
        yield f"{ID}-{number}"


class _Forgetful:
    """Takes receptions and content, and keeps only the traces."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.traces: list[Trace] = []

    @property
    def reader(self) -> _Forgetful:
        return self

    async def commit(self, intake: Intake) -> None:
        self.traces.append(intake.trace)

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        return self._history

    async def acquaintance(self, key: str) -> Acquaintance | None:
        return None

    def note_answer(self, id: str, heard: bool) -> None:
        pass

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        return None

    async def is_unanswered(self, marks: tuple[bytes, bytes]) -> bool:
        return False

    def open_content(self) -> ContentWriter:
        return _Nowhere()


class _Nowhere:
    """A writer that drops large content, which has already been scanned and hashed and is not read again."""

    def write(self, chunk: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass

    async def finish(self) -> str:
        return ""

    def discard(self) -> None:
        pass


class NoDelivery:
    """No backend ever has room, so no attempt starts."""

    def admits(self, backend: str) -> bool:
        return True

    def reserve(self, backends: Sequence[str]) -> bool:
        return False

    def forgo(self, backends: Sequence[str]) -> None:
        pass

    async def send(self, claim: Claim) -> None:
        raise AssertionError("nothing was reserved")

    async def attempt(self, claim: Claim, deadline: float) -> Sequence[Outcome] | None:
        return None

    async def enqueue(self, backends: Sequence[str]) -> None:
        pass


def _ignore(event: Event) -> None:
    """Drops the event: a rehearsal has no observer."""
