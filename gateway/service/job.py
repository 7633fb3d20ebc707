"""A claim under way, and what stands between its task and the client that waits for its answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

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
