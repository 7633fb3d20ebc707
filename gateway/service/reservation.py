"""Connections set aside for messages that are just being stored: those go out straight from memory, already claimed.
Also how far delivery is behind: who brings mail faster than it leaves is slowed down, before the queue grows for hours.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence

from gateway.model.delivery import Claim, Outcome, OutcomeKind, Scope
from gateway.model.reply import Reply

Outcomes = tuple[Outcome, ...]
_REMEMBERED = 10_000


class AttemptJob:
    """One claim and its flags; they are read and set between awaits only."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.client_waits = False
        self.promised = False
        """A connection was set aside for it."""
        self.decided = False
        """The settlement being written says that the client is told: now it has to wait for that write."""
        self.writing = False
        """The spool is at it: not to be cancelled."""
        self.stopped = False
        """It was cancelled once; giving its claim back must not be cancelled too."""
        self.answer: asyncio.Future[Outcomes | None] = asyncio.get_running_loop().create_future()

    def decide(self) -> bool:
        """True when the client waits; from then on it waits until `conclude`, however often this is asked."""
        self.decided = self.decided or self.client_waits
        return self.decided

    def conclude(self, outcomes: Outcomes | None) -> None:
        """Answer the client, if it still waits: `outcomes` are on stable storage, None means that it gets 250."""
        self.client_waits = self.decided = False
        if not self.answer.done():
            self.answer.set_result(outcomes)


class Begun:
    """The transfers that were begun last. What reception hands over may have been claimed from the spool just before,
    when the wall clock has jumped past the lease: it must not be sent twice."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        self._ids[id] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)


def defer_all(claim: Claim, reply: Reply) -> Outcomes:
    """Everybody waits, for a reason of ours."""
    return tuple(Outcome(rcpt, OutcomeKind.DEFERRED, reply, Scope.OURS, "") for rcpt in claim.transfer.rcpts)


_SHORTEST, _LONGEST = 0.2, 60.0


def find_sleep(now: float, due: float | None, waiting: float | None, opening: float | None, full: bool) -> float:
    """Seconds. `due`: when something is, that an open backend takes; `waiting`: the same of closed ones too; `opening`:
    seconds until a pause ends; `full`: some backend had no place for us."""
    seconds = _LONGEST if due is None else min(due - now, _LONGEST)
    if waiting is not None and opening is not None:
        seconds = min(seconds, max(opening, waiting - now))
    if waiting is not None and full:
        # Another worker may have the places, and no event tells when it gives them back.
        seconds = min(seconds, waiting - now)
    return max(seconds, _SHORTEST)


_FEW = 100
"""Messages that a worker may have waiting for a backend before it slows anybody down."""
_EACH, _MOST = 0.001, 0.5
"""Seconds that a client waits for each one above that, and at most."""
_CEILING = _FEW + int(_MOST / _EACH)
"""What is counted at most: the heap that an outage left must not slow anybody down once it shrinks."""


class Reservations:
    """How many connections to each backend are promised and not yet taken."""

    def __init__(self, room: Callable[[str], int]) -> None:
        """`room` tells how many attempts may start, whatever is promised."""
        self._room = room
        self._promised: Counter[str] = Counter()
        self._queued: set[str] = set()
        """Backends for which mail waits in the spool that could go out: a fresh message goes behind it."""
        self._behind: Counter[str] = Counter()
        """Messages that went into the spool and were not taken out again."""

    def room(self, backend: str) -> int:
        """How many attempts may start that nothing is promised to."""
        return max(self._room(backend) - self._promised[backend], 0)

    def reserve(self, backends: Sequence[str]) -> bool:
        """Promise one of each; False, and nothing is promised, when one has none or older mail is waiting for it."""
        for at, backend in enumerate(backends):
            if backend in self._queued or not self.room(backend):
                self._queued.update(backends)
                for one in backends:
                    self._behind[one] = min(self._behind[one] + 1, _CEILING)
                self.release(backends[:at])
                return False
            self._promised[backend] += 1
        return True

    def release(self, backends: Sequence[str]) -> None:
        """What was promised is taken, or not needed."""
        for backend in backends:
            self._promised[backend] = max(self._promised[backend] - 1, 0)

    def is_promised(self, backend: str) -> bool:
        return self._promised[backend] > 0

    def note_queue(self, backend: str, taken: int, more: bool) -> None:
        """The spool was asked for what is due, and gave so many: there may be more, or that was all."""
        self._behind[backend] = max(self._behind[backend] - taken, 0) if more else 0
        if more:
            self._queued.add(backend)
        else:
            self._queued.discard(backend)

    def pressure(self, backends: Iterable[str]) -> float:
        """Seconds for which whoever brings mail for these waits for its reply."""
        most = max((self._behind[backend] for backend in backends), default=0)
        return min(max(most - _FEW, 0) * _EACH, _MOST)
