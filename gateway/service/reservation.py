"""Connections reserved for messages that are just being stored: those leave straight from memory, already claimed. Also
the backlog of delivery: a client that brings mail faster than it leaves is slowed down, before the queue grows for
hours."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence

from gateway.model.delivery import Claim, Outcome, OutcomeKind, Scope
from gateway.model.reply import Reply

Outcomes = tuple[Outcome, ...]
_REMEMBERED = 10_000


class AttemptJob:
    """One claim and its flags; they are read and set only between awaits."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.client_waits = False
        self.promised = False
        """A connection was reserved for it."""
        self.decided = False
        """The settlement being written includes the client's reply, so the client has to wait for that write."""
        self.told = False
        """The client has its reply, though the settlement that includes it may have to be written again."""
        self.writing = False
        """The spool is writing it: not to be cancelled."""
        self.stopped = False
        """It was cancelled once; returning its claim must not be cancelled too."""
        self.answer: asyncio.Future[Outcomes | None] = asyncio.get_running_loop().create_future()

    def decide(self) -> bool:
        """True when the client waits. It then waits until `conclude`, even if this is called again."""
        self.decided = self.decided or self.client_waits
        return self.decided

    def tell(self, outcomes: Outcomes) -> None:
        """Answer the client before the settlement is known to be on stable storage, because it may be. What is written
        in its place must include the same reply."""
        self.told = True
        if not self.answer.done():
            self.answer.set_result(outcomes)

    def conclude(self, outcomes: Outcomes | None) -> None:
        """Answer the client, if it still waits: `outcomes` are on stable storage, None means that it gets 250."""
        self.client_waits = self.decided = False
        if not self.answer.done():
            self.answer.set_result(outcomes)


class Begun:
    """The transfers begun last. A transfer from reception may have been claimed from the spool just before, when the
    wall clock has jumped past the lease: it must not be sent twice."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        self._ids[id] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)


def defer_all(claim: Claim, reply: Reply) -> Outcomes:
    """All recipients wait, for a reason of ours."""
    return tuple(Outcome(rcpt, OutcomeKind.DEFERRED, reply, Scope.OURS, "") for rcpt in claim.transfer.rcpts)


_SHORTEST, _LONGEST = 0.2, 60.0


def find_sleep(now: float, due: float | None, waiting: float | None, opening: float | None, full: bool) -> float:
    """Seconds to sleep. `due`: the next time of a transfer to an open backend; `waiting`: the same including closed
    ones; `opening`: seconds until a pause ends; `full`: some backend had no place for us."""
    seconds = _LONGEST if due is None else min(due - now, _LONGEST)
    if waiting is not None and opening is not None:
        seconds = min(seconds, max(opening, waiting - now))
    if waiting is not None and full:
        # Another worker may have the places, and no event announces their return.
        seconds = min(seconds, waiting - now)
    return max(seconds, _SHORTEST)


_FEW = 100
"""Messages of a worker that may wait for a backend before it slows clients down."""
_EACH, _MOST = 0.001, 0.5
"""Seconds that a client waits for each message above that, and at most."""
_CEILING = _FEW + int(_MOST / _EACH)
"""The maximum count: the backlog of an outage must not slow clients down once it shrinks."""


class Reservations:
    """Number of connections to each backend that are reserved and not yet taken."""

    def __init__(self, room: Callable[[str], int]) -> None:
        """`room` gives the number of attempts that may start, regardless of reservations."""
        self._room = room
        self._promised: Counter[str] = Counter()
        self._queued: set[str] = set()
        """Backends with mail in the spool that could leave: a new message goes behind it."""
        self._behind: Counter[str] = Counter()
        """Messages that went into the spool and were not yet taken out."""

    def room(self, backend: str) -> int:
        """Number of attempts that may start without a reservation."""
        return max(self._room(backend) - self._promised[backend], 0)

    def reserve(self, backends: Sequence[str]) -> bool:
        """Reserve one of each; False, without any reservation, when one has none or older mail is waiting for it."""
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
        """Reservations were used, or are not needed."""
        for backend in backends:
            self._promised[backend] = max(self._promised[backend] - 1, 0)

    def is_promised(self, backend: str) -> bool:
        return self._promised[backend] > 0

    def note_queue(self, backend: str, taken: int, more: bool) -> None:
        """The spool was asked for due transfers, and gave so many; `more` may be left."""
        self._behind[backend] = max(self._behind[backend] - taken, 0) if more else 0
        if more:
            self._queued.add(backend)
        else:
            self._queued.discard(backend)

    def pressure(self, backends: Iterable[str]) -> float:
        """Seconds that a client with mail for these backends waits for its reply."""
        most = max((self._behind[backend] for backend in backends), default=0)
        return min(max(most - _FEW, 0) * _EACH, _MOST)
