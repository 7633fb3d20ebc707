"""Flow control towards one backend: a window that opens slowly and closes on trouble, pauses while nothing gets
through, and a stop while the backend blames us. Pure: time is an argument.

The window is that of Postfix (SCHEDULER_README, "Concurrency scheduling"). Every success opens it by one, so it doubles
with each round of successes. Every resistance closes it by one. A whole window of resistance in a row causes a pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from gateway.mail.refusal import Blame, classify
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.value import Value, replace

_SPREAD = 0.2
"""The share of a delay over which retries are spread, so that messages that failed together do not return together."""


def next_due(
    attempts: int, now: float, created: float, schedule: Sequence[float], expire: float, jitter: float
) -> float | None:
    """Epoch seconds of the attempt after `attempts` of them; None when the transfer's time is over (RFC 5321 section
    4.5.4.1).

    `schedule` holds the seconds between attempts, its last entry repeats; `jitter` is in [0, 1). The last attempt is
    made at `created + expire`, even if the scheduled delay is longer.
    """
    end = created + expire
    if now >= end:
        return None
    delay = schedule[min(max(attempts, 1), len(schedule)) - 1] if schedule else expire
    return min(now + delay * (1 + _SPREAD * (jitter - 0.5)), end)


_MINUTE = 60.0


class Pace(Value):
    """The allowance of a rate limit. `level` is the number of messages left at the time `at`, in monotonic seconds."""

    level: float
    at: float


def full(per_minute: float, now: float) -> Pace:
    """The allowance before the first message."""
    return Pace(_capacity(per_minute), now)


def left(pace: Pace, per_minute: float, now: float) -> int:
    """Number of messages that may be sent now."""
    return int(_level(pace, per_minute, now))


def spend(pace: Pace, per_minute: float, now: float) -> Pace:
    """The allowance after one message."""
    return Pace(_level(pace, per_minute, now) - 1, now)


def next_in(pace: Pace, per_minute: float, now: float) -> float:
    """Seconds until one message may be sent; 0 when one may now."""
    return max(1 - _level(pace, per_minute, now), 0.0) * _MINUTE / per_minute


def _capacity(per_minute: float) -> float:
    """Messages that may be sent at once: the rate of one second, and at least one."""
    return max(per_minute / _MINUTE, 1.0)


def _level(pace: Pace, per_minute: float, now: float) -> float:
    return min(pace.level + (now - pace.at) * per_minute / _MINUTE, _capacity(per_minute))


_INITIAL = 5.0
"""Concurrent attempts to an unknown backend."""
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 300.0
"""Seconds: a backend that recovered is noticed after this time at the latest."""
_REPEATED = 3
"""Consecutive attempts that blame us, after which the route is stopped."""
_PROBE_EVERY = 60.0
"""Seconds between the probes of a stopped route."""


class Sign(Enum):
    """The information of an attempt about the backend as a whole."""

    DELIVERED = "delivered"
    ANSWERED = "answered"
    """It judged the message or its recipients, so it works."""
    RESISTED = "resisted"
    """It asked for less mail, or none for now."""
    UNREACHED = "unreached"
    """None of its hosts answered."""
    BLAMED = "blamed"
    """It refused because of us: our address, names, certificate, connector, or authentication behind the edge."""
    NOTHING = "nothing"


class BackendFlow(Value):
    """The state of one backend. Times are monotonic seconds."""

    window: float = _INITIAL
    resisted: float = 0.0
    """Consecutive resistance, each counted as its share of the window; 1 is a whole window."""
    pause: float = 0.0
    """Length of the latest pause; 0 when there is no trouble."""
    blamed: int = 0
    """Consecutive attempts that blame us."""
    until: float = 0.0
    """No attempt before this time while there is trouble."""
    probing: bool = False
    """The one attempt allowed during trouble is under way."""

    @property
    def stopped(self) -> bool:
        """The backend blames us repeatedly."""
        return self.blamed >= _REPEATED

    @property
    def troubled(self) -> bool:
        return self.stopped or self.pause > 0


def read_sign(outcomes: Sequence[Outcome], authenticated: bool) -> Sign:
    """The sign in the outcomes of one attempt. `authenticated`: the message passed DMARC at our edge, so a backend that
    refuses it for lack of authentication judges us, not its sender."""
    if any(one.kind is OutcomeKind.DELIVERED for one in outcomes):
        return Sign.DELIVERED
    if any(_blames_us(one, authenticated) for one in outcomes):
        return Sign.BLAMED
    if all(one.kind is OutcomeKind.DEFERRED and one.scope is Scope.SITE for one in outcomes):
        return Sign.RESISTED if any(one.remote_mta for one in outcomes) else Sign.UNREACHED
    return Sign.ANSWERED if any(one.remote_mta for one in outcomes) else Sign.NOTHING


def _blames_us(outcome: Outcome, authenticated: bool) -> bool:
    if outcome.scope is not Scope.OURS or not outcome.remote_mta:
        return False
    blame = classify(outcome.reply, outcome.remote_mta, backend=True).cause.blame
    return authenticated or blame is not Blame.AUTHENTICATION


def allow(flow: BackendFlow, busy: int, now: float) -> int:
    """Number of attempts that may start now in addition to the `busy` ones."""
    if flow.troubled:
        return 0 if flow.probing or now < flow.until else 1
    return max(int(flow.window) - busy, 0)


def start(flow: BackendFlow) -> BackendFlow:
    """An attempt starts; during trouble it is the probe."""
    return replace(flow, probing=True) if flow.troubled else flow


def give_up(flow: BackendFlow) -> BackendFlow:
    """The probe ended without a sign: another one may be made."""
    return replace(flow, probing=False)


def hurry(flow: BackendFlow, now: float) -> BackendFlow:
    """An admin wants an attempt now: a running pause ends, and the next attempt is the probe."""
    return replace(flow, until=min(flow.until, now))


def learn(flow: BackendFlow, sign: Sign, busy: int, most: int, now: float) -> BackendFlow:
    """An attempt ended, one of `busy`. The window never grows beyond `most`."""
    if sign is Sign.NOTHING:
        return flow
    if sign is Sign.UNREACHED:
        return _pause(flow, now)
    if sign is Sign.RESISTED:
        return _resist(flow, now)
    if sign is Sign.BLAMED:
        reached = replace(flow, pause=0.0, resisted=0.0, blamed=flow.blamed + 1, probing=False)
        return replace(reached, until=now + _PROBE_EVERY) if reached.stopped else reached
    if flow.stopped and sign is not Sign.DELIVERED:
        # The backend may judge a message before it looks at us: only a delivery proves that it accepts us again.
        return replace(flow, pause=0.0, until=now + _PROBE_EVERY, probing=False)
    if flow.troubled:
        return BackendFlow(min(_INITIAL, float(most)))
    # The window opens only while it is used. Otherwise it would be wide open after a quiet night.
    grown = flow.window + 1 if busy + _INITIAL > flow.window else flow.window
    blamed = 0 if sign is Sign.DELIVERED else flow.blamed
    return replace(flow, window=max(min(grown, float(most)), 1.0), resisted=0.0, blamed=blamed)


def _resist(flow: BackendFlow, now: float) -> BackendFlow:
    resisted = flow.resisted + 1 / flow.window
    less = replace(flow, window=max(flow.window - 1, 1.0), resisted=resisted)
    return _pause(less, now) if flow.troubled or resisted >= 1 else less


def _pause(flow: BackendFlow, now: float) -> BackendFlow:
    """Pauses grow with each consecutive failure; attempts that fail together count once."""
    if flow.troubled and now < flow.until and not flow.probing:
        return flow
    seconds = min(flow.pause * 2, _LONGEST_PAUSE) if flow.pause else _FIRST_PAUSE
    return replace(flow, pause=seconds, until=now + seconds, resisted=0.0, probing=False)
