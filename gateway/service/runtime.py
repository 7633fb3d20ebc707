"""The tools of a conversation: the runtime configuration, and the services behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.config.model import Config
from gateway.model.delivery import Claim, Outcome
from gateway.model.value import Value, field
from gateway.plan.departure import NOBODY, Outgoing
from gateway.plan.judgement import JudgementContext
from gateway.policy.routing import RoutingTable
from gateway.ports import Clock, EventSink, IntakeStore
from gateway.service.authenticator import Authenticator, Outage
from gateway.service.inquiry import Inquiry, NoInquiry
from gateway.service.repetition import Arrivals, WorkerArrivals
from gateway.service.tally import Minute, OctetsInFlight


class Deliverer(Protocol):
    """The requirements of reception for delivery."""

    def reserve(self, backends: Sequence[str]) -> bool:
        """Reserve a connection to each of these for a message that is about to be stored; False when one has none free,
        or older mail is waiting for it."""

    def forgo(self, backends: Sequence[str]) -> None:
        """Return unused reservations."""

    def admits(self, backend: str) -> bool:
        """Mail for it is accepted."""

    async def attempt(self, claim: Claim, deadline: float) -> Sequence[Outcome] | None:
        """One attempt of a claimed transfer; None when it is not settled by `deadline` (monotonic) and goes on."""

    async def send(self, claim: Claim) -> None:
        """One attempt of a transfer that was just stored as claimed, from memory; returns before it is done."""

    async def enqueue(self, backends: Sequence[str]) -> None:
        """New mail for these waits in the spool. The return is delayed while mail arrives faster than it leaves."""


def _alone() -> WorkerArrivals:
    """The table of a process without other workers."""
    arrivals = Arrivals().of_worker()
    arrivals.begin()
    return arrivals


class RuntimeConfig(Value):
    """The replaceable part of a running gateway: configuration and everything made from it."""

    config: Config
    context: JudgementContext
    routing: RoutingTable
    outgoing: Outgoing = NOBODY


class Services(Value):
    """The services that a conversation uses."""

    clock: Clock
    spool: IntakeStore
    authenticator: Authenticator
    deliverer: Deliverer
    emit: EventSink
    inquiry: Inquiry = field(default_factory=NoInquiry)
    flow: OctetsInFlight = field(default_factory=OctetsInFlight)
    outage: Outage = field(default_factory=Outage)
    minute: Minute = field(default_factory=Minute)
    arrivals: WorkerArrivals = field(default_factory=_alone)
