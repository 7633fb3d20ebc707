"""The scheduler: takes due transfers from the spool, sends them by their backends, and settles the outcomes.

Each claim has one task, which alone settles it: every claim ends settled, held, or returned. When the time of a waiting
client is over, the task goes on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from gateway.config.model import Config
from gateway.model.delivery import Claim, Transfer
from gateway.model.envelope import Mailbox
from gateway.model.event import Event, Level
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import replace
from gateway.ports import Backend, Clock, ContentAltered, EventSink, Spool
from gateway.service.reservation import AttemptJob, Begun, Outcomes, Reservations, defer_all, find_sleep
from gateway.service.settling import SettlementWriter, Told
from gateway.service.traffic import Traffic

LEASE = 7200.0
"""Seconds for which a transfer is claimed; longer than an attempt can take."""
_MOST_CLAIMS = 50
"""Claims taken from the spool at once."""
_LONGEST_RECEPTION = 900.0
"""Seconds from a message's arrival until its first attempt from memory."""
_PAUSE_AFTER_ERROR = 5.0
_RETRY_AFTER_ERROR = 300.0
"""Seconds until the next try of a transfer whose attempt failed by a fault of ours."""
_DRAIN_STEP, _DRAIN_ROUNDS = 0.1, 100
"""Interval in seconds, and number, of checks for the end of cancelled tasks."""


class Delivery:
    """Delivers the mail in the spool, from `start` until `drain`."""

    def __init__(
        self,
        spool: Spool,
        backends: Mapping[str, Backend],
        clock: Clock,
        emit: EventSink,
        config: Config,
        route_dsn: Callable[[Mailbox], str],
        traffic: Traffic,
    ) -> None:
        """`route_dsn` names the backend for a DSN to this mailbox."""
        self._spool = spool
        self._backends = backends
        self._clock = clock
        self._emit = emit
        self._traffic = traffic
        self._reservations = Reservations(self._room)
        self._jobs: dict[asyncio.Task[None], AttemptJob] = {}
        self._woken = asyncio.Event()
        self._claiming, self._begun = asyncio.Lock(), Begun()
        self._settlements = SettlementWriter(spool, clock, emit, config, route_dsn, self._claiming)
        self._backlog = False
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver due transfers."""
        self._loop = asyncio.create_task(self._run())

    @property
    def backends(self) -> frozenset[str]:
        """Names of the backends that can take mail."""
        return frozenset(self._backends)

    def has_room(self, backend: str) -> bool:
        """An attempt started now would not wait for a connection."""
        return self._reservations.room(backend) > 0

    def reserve(self, backends: Sequence[str]) -> bool:
        """Reserve a connection to each of these, for a message about to be stored; False when one has none for it."""
        return self._reservations.reserve(backends)

    def forgo(self, backends: Sequence[str]) -> None:
        """Return unused reservations."""
        self._reservations.release(backends)
        self.wake()

    def admits(self, backend: str) -> bool:
        """True when mail for it is accepted: the backend does not refuse everything for a fault of ours."""
        return self._traffic.admits(backend)

    def wake(self) -> None:
        """A new transfer is due."""
        self._woken.set()

    async def enqueue(self, backends: Sequence[str]) -> None:
        """New mail for these waits in the spool. The return is delayed while mail arrives faster than it leaves."""
        self.wake()
        await asyncio.sleep(self._reservations.pressure(filter(self._traffic.moves, backends)))

    async def attempt(self, claim: Claim, deadline: float) -> Outcomes | None:
        """One attempt of a claimed transfer whose client waits until `deadline` (monotonic).

        Returns the outcomes once they are settled on stable storage; `find_refusal` makes the client's reply of them.
        None when they are not settled in time, or no connection is free: the client gets 250, and delivery goes on by
        itself.
        """
        claim = self._rejuvenate(claim)
        if not self._may_start(claim.transfer):
            await self._turn_down(claim)
            return None
        job = self._start(claim, True, self._reservations.is_promised(claim.transfer.backend))
        try:
            await asyncio.wait({job.answer}, timeout=max(deadline - self._clock.monotonic(), 0))
        finally:
            job.client_waits = False  # no await since the timeout: the task cannot decide in between
        if job.decided or job.answer.done():
            return await asyncio.shield(job.answer)
        return None

    async def send(self, claim: Claim) -> None:
        """One attempt of a transfer that was just stored as claimed, from memory; returns before it is done."""
        claim = self._rejuvenate(claim)
        if self._may_start(claim.transfer):
            self._start(claim, False, self._reservations.is_promised(claim.transfer.backend))
        else:
            await self._turn_down(claim)

    def _rejuvenate(self, claim: Claim) -> Claim:
        """A claim from memory by the clock of now: it may have been set between the message's arrival and its write."""
        now = self._clock.now()
        if abs(now - claim.transfer.created) < _LONGEST_RECEPTION:
            return claim
        return replace(claim, transfer=replace(claim.transfer, created=now, due=now))

    async def _turn_down(self, claim: Claim) -> None:
        """The transfer is not started; its reserved connection is free for others."""
        self._reservations.release((claim.transfer.backend,))
        await self._give_back(claim, claim.transfer.due)

    async def move_times(self, seconds: float, adopt: Callable[[], None]) -> None:
        """The wall clock has jumped: move stored times and those under way along, then adopt the jump."""
        async with self._claiming:
            await self._spool.move_times(seconds)
            for job in self._jobs.values():
                transfer = job.claim.transfer
                moved = replace(transfer, created=transfer.created + seconds, due=transfer.due + seconds)
                job.claim = replace(job.claim, transfer=moved)
            adopt()
        self.wake()

    async def drain(self, seconds: float = 0.0) -> None:
        """Start nothing more; give attempts under way this long, then return their claims."""
        self._stopping = True
        self.wake()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=seconds)
        for _ in range(_DRAIN_ROUNDS):
            if not self._jobs:
                break
            for task, job in self._jobs.items():
                # A settlement being written is not disturbed: the client's reply may depend on it.
                if not job.writing and not job.stopped:
                    job.stopped = True
                    task.cancel()
            await asyncio.wait(self._jobs, timeout=_DRAIN_STEP)
        if self._loop is not None:
            await self._loop

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                seconds = 0.0 if await self._claim_due() else await self._time_to_sleep()
            except Exception as error:
                self._report_error("claim", "", error)
                seconds = _PAUSE_AFTER_ERROR
            await self._sleep(seconds)

    def _may_start(self, fresh: Transfer) -> bool:
        room = self._reservations.is_promised(fresh.backend) or self.has_room(fresh.backend)
        return room and not self._stopping and fresh.id not in self._begun

    def _room(self, backend: str) -> int:
        """Number of attempts that may start, regardless of reservations."""
        known = self._backends.get(backend)
        if self._stopping or known is None:
            return 0
        return self._traffic.room(backend, known.room())

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0 and not self._stopping:
            waiting = asyncio.ensure_future(self._woken.wait())
            await asyncio.wait({waiting}, timeout=seconds)
            waiting.cancel()

    async def _time_to_sleep(self) -> float:
        """Seconds until a transfer to an open backend is due, or a pause ends that a transfer waits for."""
        now = self._clock.now()
        closed = [name for name in self._backends if not self._reservations.room(name)]
        # Set before any await: all jobs may end meanwhile, and no job would then be left to wake us.
        self._backlog = bool(closed)
        full = not all(backend.room() for backend in self._backends.values())
        due = await self._spool.reader.next_due(closed)
        waiting = await self._spool.reader.next_due() if closed else None
        self._backlog = waiting is not None
        return find_sleep(now, due, waiting, self._traffic.next_opening(), full)

    async def _claim_due(self) -> int:
        """Take and start due transfers with a free connection; returns their number."""
        taken = 0
        for name in self._backends:
            if room := min(self._reservations.room(name), _MOST_CLAIMS):
                async with self._claiming:  # until each claim has its job
                    taken += await self._claim(name, room)
                await asyncio.sleep(0)  # the tasks take their slots before the room is checked again
        return taken

    async def _claim(self, name: str, room: int) -> int:
        claims = await self._spool.claim(self._backends.keys() - {name}, room, self._clock.now(), LEASE)
        self._reservations.note_queue(name, len(claims), more=len(claims) == room)
        under_way = {job.claim.transfer.id: job for job in self._jobs.values()}
        for claim in claims:
            job = under_way.get(claim.transfer.id)
            if job is not None:
                # The wall clock has jumped past the lease. The attempt goes on under the new claim: a second one would
                # duplicate the message.
                job.claim = claim
            elif self._stopping:
                await self._give_back(claim, claim.transfer.due)
            else:
                self._start(claim)
        return len(claims)

    def _start(self, claim: Claim, client_waits: bool = False, promised: bool = False) -> AttemptJob:
        job = AttemptJob(claim)
        job.client_waits = client_waits
        job.promised = promised
        self._begun.add(claim.transfer.id)
        self._traffic.start(claim.transfer.backend)
        task = asyncio.create_task(self._work(job))
        self._jobs[task] = job
        task.add_done_callback(self._jobs.pop)
        return job

    async def _work(self, job: AttemptJob) -> None:
        """The whole life of a claim, which may be renewed meanwhile. Once there are outcomes it is never returned: some
        backend may have the message."""
        transfer = job.claim.transfer
        began = self._clock.monotonic()
        outcomes = None
        if job.promised:  # no await from here until the backend has given it the place
            self._reservations.release((transfer.backend,))
        try:
            outcomes = await self._send(job)
            if outcomes is not None:
                self._learn(transfer, outcomes)
                if await self._settlements.write(job, Told.now(outcomes, began, self._clock)):
                    self.wake()
        except asyncio.CancelledError:
            if outcomes is None:
                await self._give_back(job.claim, self._clock.now())
            raise
        except Exception as error:
            self._report_error("delivery", transfer.message_id, error)
            if outcomes is None:
                await self._give_back(job.claim, self._clock.now() + _RETRY_AFTER_ERROR)
        finally:
            job.conclude(None)
            self._traffic.end(transfer.backend)
            if self._backlog:
                self.wake()

    def _learn(self, transfer: Transfer, outcomes: Outcomes) -> None:
        """Learn about the backend from the attempt."""
        try:
            if self._traffic.learn(transfer, outcomes):
                self.wake()
        except Exception as error:
            self._report_error("traffic", transfer.message_id, error)

    async def _send(self, job: AttemptJob) -> Outcomes | None:
        """The attempt's outcomes; None when the message is held instead."""
        claim = job.claim
        backend = self._backends.get(claim.transfer.backend)
        if backend is None:
            return defer_all(claim, Reply(451, "3.5", f"No backend is called {claim.transfer.backend}"))
        try:
            return await backend.deliver(claim, partial(self._read, claim))
        except ContentAltered:
            # Promise P2: content altered in the spool is never sent.
            fields = (("transfer", claim.transfer.id), ("backend", claim.transfer.backend))
            self._emit(Event("content-altered", claim.transfer.message_id, fields, Level.ALARM))
            await self._spool.hold(job.claim, "the stored content is not what was received")
            return None
        except Exception as error:
            self._report_error("backend", claim.transfer.message_id, error)
            return defer_all(claim, REPLIES["internal"])

    def _read(self, claim: Claim) -> AsyncIterator[bytes]:
        return self._spool.read_content(claim.message.content)

    async def _give_back(self, claim: Claim, due: float) -> None:
        try:
            await self._spool.release(claim, due)
        except Exception as error:
            # The lease expires by itself.
            self._report_error("release", claim.transfer.message_id, error)
        self.wake()

    def _report_error(self, where: str, id: str, error: BaseException) -> None:
        self._emit(Event("error", id, (("where", where), ("error", repr(error))), Level.ALARM))
