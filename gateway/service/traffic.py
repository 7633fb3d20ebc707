"""Flow control of all backends: window, pauses, message rate, and stopped routes.

In: the outcomes of each attempt. Out: the number of attempts that may start, whether mail for a backend is accepted,
and events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.mail.refusal import classify
from gateway.model.delivery import Outcome, Scope, Transfer
from gateway.model.event import Event, Level
from gateway.model.value import Value
from gateway.policy import flow
from gateway.policy.flow import BackendFlow, Pace, Sign, read_sign
from gateway.ports import Clock, EventSink

_LET_IN = 10.0
"""Seconds for which no more mail is accepted for a stopped route, after one message that may be the probe."""
_MOVES = 1.0
"""Seconds after a delivery for which a backend counts as taking mail."""


class Share(Value):
    """This process's share of a backend. With several workers each has a part of the whole."""

    connections: int
    messages_per_minute: float = 0.0
    """0: no limit."""


@dataclass(slots=True)
class _Lane:
    share: Share
    pace: Pace | None
    flow: BackendFlow = field(default_factory=BackendFlow)
    busy: int = 0
    let_in: float = float("-inf")
    """The last time at which a message was accepted although the route is stopped."""
    delivered: float = float("-inf")
    """The last time at which it took a message."""
    reason: str = ""
    """The latest cause of a pause or a stop."""


class RouteCondition(Value):
    """The condition of one backend, as this worker sees it."""

    name: str
    state: str
    """`open`, `paused` or `stopped`."""
    seconds: float
    """Seconds until the next attempt of a paused or stopped backend."""
    reason: str
    window: int
    """Attempts that may run at the same time."""
    connections: int
    """Attempts under way."""


class Traffic:
    """Knows every backend by its name. Times are the clock's monotonic ones."""

    def __init__(self, shares: Mapping[str, Share], clock: Clock, emit: EventSink) -> None:
        self._clock = clock
        self._emit = emit
        now = clock.monotonic()
        self._lanes = {name: _open(share, now) for name, share in shares.items()}

    def room(self, backend: str, free: int) -> int:
        """Number of attempts that may start now with `free` connections."""
        lane, now = self._lanes[backend], self._clock.monotonic()
        allowed = min(free, flow.allow(lane.flow, lane.busy, now))
        if lane.pace is not None:
            allowed = min(allowed, flow.left(lane.pace, lane.share.messages_per_minute, now))
        return allowed

    def admits(self, backend: str) -> bool:
        """Mail for this backend is accepted. While its route is stopped, that is one message for each probe."""
        lane = self._lanes.get(backend)
        if lane is None or not lane.flow.stopped:
            return True
        now = self._clock.monotonic()
        if not flow.allow(lane.flow, lane.busy, now) or now < lane.let_in + _LET_IN:
            return False
        lane.let_in = now
        return True

    def start(self, backend: str) -> None:
        """An attempt starts."""
        lane = self._lanes.get(backend)
        if lane is not None:
            lane.busy += 1
            lane.flow = flow.start(lane.flow)
            if lane.pace is not None:
                lane.pace = flow.spend(lane.pace, lane.share.messages_per_minute, self._clock.monotonic())

    def end(self, backend: str) -> None:
        """An attempt has ended, with or without a sign."""
        lane = self._lanes.get(backend)
        if lane is not None:
            lane.busy -= 1
            lane.flow = flow.give_up(lane.flow)

    def learn(self, transfer: Transfer, outcomes: Sequence[Outcome]) -> bool:
        """Learn from an attempt under way. True when that ends the backend's trouble."""
        lane = self._lanes.get(transfer.backend)
        if lane is None:
            return False
        before, sign, now = lane.flow, read_sign(outcomes, transfer.authenticated), self._clock.monotonic()
        lane.flow = flow.learn(before, sign, lane.busy, lane.share.connections, now)
        lane.delivered = now if sign is Sign.DELIVERED else lane.delivered
        self._tell(transfer, before, lane.flow, outcomes)
        return before.troubled and not lane.flow.troubled

    def moves(self, backend: str, seconds: float = _MOVES) -> bool:
        """It has taken mail within so many seconds."""
        lane = self._lanes.get(backend)
        return lane is not None and self._clock.monotonic() - lane.delivered < seconds

    def hurry(self) -> None:
        """An admin wants an attempt now: running pauses end."""
        for lane in self._lanes.values():
            lane.flow = flow.hurry(lane.flow, self._clock.monotonic())

    def conditions(self) -> tuple[RouteCondition, ...]:
        """The condition of every backend."""
        now = self._clock.monotonic()
        return tuple(
            RouteCondition(
                name=name,
                state="stopped" if lane.flow.stopped else "paused" if lane.flow.troubled else "open",
                seconds=max(lane.flow.until - now, 0.0) if lane.flow.troubled else 0.0,
                reason=lane.reason if lane.flow.troubled else "",
                window=int(lane.flow.window),
                connections=lane.busy,
            )
            for name, lane in self._lanes.items()
        )

    def next_opening(self) -> float | None:
        """Seconds until a backend that takes nothing now takes mail again; None when no such time is known."""
        now = self._clock.monotonic()
        waits = []
        for lane in self._lanes.values():
            if lane.flow.troubled and not lane.flow.probing:
                waits.append(max(lane.flow.until - now, 0.0))
            elif lane.pace is not None and not flow.left(lane.pace, lane.share.messages_per_minute, now):
                waits.append(flow.next_in(lane.pace, lane.share.messages_per_minute, now))
        return min(waits, default=None)

    def _tell(self, transfer: Transfer, before: BackendFlow, after: BackendFlow, outcomes: Sequence[Outcome]) -> None:
        backend = transfer.backend
        if after.stopped and not before.stopped:
            fields = _explain(backend, outcomes)
            self._lanes[backend].reason = dict(fields)["reply"]
            self._emit(Event("route-stopped", transfer.message_id, fields, Level.ALARM))
        elif before.stopped and not after.stopped:
            self._emit(Event("route-restored", transfer.message_id, (("backend", backend),), Level.ALARM))
        if after.pause and after.until != before.until:
            reply = str(outcomes[0].reply)
            self._lanes[backend].reason = reply
            paused = (("backend", backend), ("seconds", after.pause), ("reply", reply))
            self._emit(Event("backend-paused", "", paused, Level.WARNING))
        elif before.pause and not after.pause:
            self._emit(Event("backend-back", "", (("backend", backend),)))


def _open(share: Share, now: float) -> _Lane:
    limited = share.messages_per_minute
    window = min(BackendFlow().window, float(share.connections))
    return _Lane(share, flow.full(limited, now) if limited else None, BackendFlow(window))


def _explain(backend: str, outcomes: Sequence[Outcome]) -> tuple[tuple[str, str], ...]:
    """The party that blames us, the reason, and the remedy."""
    blaming = next(one for one in outcomes if one.scope is Scope.OURS and one.remote_mta)
    refusal = classify(blaming.reply, blaming.remote_mta, backend=True)
    return (
        ("backend", backend),
        ("cause", refusal.cause.value),
        ("provider", refusal.provider.label),
        ("remote", blaming.remote_mta),
        ("reply", str(blaming.reply)),
        ("means", refusal.advice.summary),
        ("fix", refusal.advice.admin),
        ("never", refusal.advice.never),
    )
