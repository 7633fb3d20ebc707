"""Writes the outcomes of an attempt until that succeeds: a backend that has taken a message must not get it again.

In: a job and its outcomes. Out: the settlement in the spool, the client's answer, and the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain, repeat

from gateway.config.model import Config
from gateway.config.policies import retry_terms
from gateway.model.delivery import Settlement
from gateway.model.envelope import Mailbox
from gateway.model.event import Event, Level
from gateway.model.value import Value, replace
from gateway.plan.settlement import AttemptContext, settle, settle_plainly
from gateway.ports import Clock, EventSink, HoldFull, Spool, SpoolDoubtful, SpoolFull, emit_all
from gateway.service.reservation import AttemptJob, Outcomes

_PAUSES = (0.2, 1.0, 5.0, 15.0, 60.0)
"""Seconds between tries to write a settlement; the last one repeats."""
_JUMP = 10.0
"""Seconds by which the clock may be set right without that being a jump."""
_MOST_FAILURES = 3
"""Failures of a settlement, other than by a full disk, after which the minimum is written and the rest held."""


class Told(Value):
    """The outcomes of an attempt, and its times."""

    outcomes: Outcomes
    started: float
    """Epoch seconds."""
    ended: float
    base: float
    """The wall clock less the monotonic one at that time: another base means that the clock was set since."""

    @classmethod
    def now(cls, outcomes: Outcomes, began: float, clock: Clock) -> Told:
        """`began` is the attempt's start by the monotonic clock."""
        base = clock.now() - clock.monotonic()
        return cls(outcomes, began + base, clock.now(), base)

    def move(self, clock: Clock) -> Told:
        """The same by the clock of now."""
        jump = clock.now() - clock.monotonic() - self.base
        if abs(jump) < _JUMP:
            return self
        return replace(self, started=self.started + jump, ended=self.ended + jump, base=self.base + jump)


class SettlementWriter:
    """Plans and writes settlements."""

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        emit: EventSink,
        config: Config,
        route_dsn: Callable[[Mailbox], str],
        claiming: asyncio.Lock,
    ) -> None:
        """`route_dsn` names the backend for a DSN to this mailbox. The holder of `claiming` takes claims, which may be
        renewed ones of jobs."""
        self._spool = spool
        self._clock = clock
        self._emit = emit
        self._terms = retry_terms(config)
        self._route_dsn = route_dsn
        self._claiming = claiming

    async def write(self, job: AttemptJob, told: Told) -> bool:
        """Write the outcomes of the claim; True when a new transfer may be due. Raises CancelledError only, after one
        more try: the next owner of the spool tries unwritten transfers again."""
        failures: list[str] = []
        hold_full = False
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            try:
                return await self._write_once(job, told, failures, hold_full)
            except HoldFull as error:
                hold_full = True
                fields = (("reason", str(error)),)
                self._emit(Event("hold-full", job.claim.transfer.message_id, fields, Level.ALARM))
                continue
            except Exception as error:
                self._fail(job, error, failures)
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                await self._write_last(job, told, failures, hold_full)
                raise
        raise AssertionError  # the pauses never end

    async def _write_last(self, job: AttemptJob, told: Told, failures: list[str], hold_full: bool) -> None:
        try:
            await self._write_once(job, told, failures, hold_full)
        except Exception as error:
            self._fail(job, error, failures)

    def _fail(self, job: AttemptJob, error: Exception, failures: list[str]) -> None:
        job.writing = False
        if not job.told:
            job.conclude(None)
        if not isinstance(error, SpoolFull):
            failures.append(repr(error))
        fields = (("where", "settle"), ("error", repr(error)))
        self._emit(Event("error", job.claim.transfer.message_id, fields, Level.ALARM))

    async def _write_once(self, job: AttemptJob, told: Told, failures: list[str], hold_full: bool) -> bool:
        """One try; again when the claim was renewed meanwhile. True when a new transfer may be due."""
        while True:
            job.writing = True
            told = told.move(self._clock)
            if len(failures) > _MOST_FAILURES:
                # Even the minimum cannot be written.
                await self._spool.hold(job.claim, f"what became of it cannot be written down: {failures[-1]}")
                return False
            if len(failures) == _MOST_FAILURES:
                settlement = settle_plainly(job.claim, told.outcomes, told.started, told.ended, failures[-1])
            else:
                settlement = self._plan(job, told, hold_full)
            try:
                written = await self._spool.settle(settlement)
            except SpoolDoubtful:
                if settlement.told:
                    # The refusal may be in the spool after a crash: a client with 250 would never hear of it.
                    job.tell(told.outcomes)
                raise
            if not written:
                async with self._claiming:  # a claim being taken may be this very claim, renewed
                    renewed = job.claim.epoch != settlement.epoch
                if renewed:
                    continue
            return self._close(job, told.outcomes, settlement, written)

    def _plan(self, job: AttemptJob, told: Told, hold_full: bool) -> Settlement:
        circumstances = AttemptContext(
            started=told.started,
            ended=told.ended,
            jitter=self._clock.jitter(),
            in_session=job.decide(),
            dsn_id=self._clock.new_id(),
            route_dsn=self._route_dsn,
            hold_full=hold_full,
        )
        return settle(job.claim, told.outcomes, self._terms, circumstances)

    def _close(self, job: AttemptJob, outcomes: Outcomes, settlement: Settlement, written: bool) -> bool:
        if not written:
            fields = (("transfer", settlement.transfer_id), ("epoch", settlement.epoch))
            self._emit(Event("claim-lost", settlement.message_id, fields, Level.WARNING))
            job.conclude(None)
            return False
        job.conclude(None if settlement.reason else outcomes)
        emit_all(self._emit, settlement.events)
        return settlement.dsn is not None or settlement.due is not None
