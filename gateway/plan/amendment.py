"""An admin's commands on what waits: from transfers as they stand to the exact writes.

Whatever is done, each recipient stays in one transfer or comes to one final state (promise P1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.model.amendment import Amendment, Change, Pending, Requeued
from gateway.model.delivery import Attempt, Ending, Final, Outcome, OutcomeKind, Scope, Settlement
from gateway.model.reply import Reply
from gateway.model.route import Route
from gateway.model.value import replace
from gateway.plan.settlement import AttemptContext, Terms, settle


class Impossible(Exception):
    """This transfer is left as it is; the text says why."""


def amend(id: str, pendings: Sequence[Pending], act: Callable[[Pending], Change]) -> Amendment:
    """`act` on each transfer of a message that `id` means: all of them, or the one that has this id. What is being sent
    is left alone."""
    changes, refusals = [], []
    for pending in pendings:
        transfer = pending.claim.transfer
        if id not in (transfer.message_id, transfer.id):
            continue
        try:
            if pending.sending:
                raise Impossible("it is being sent at this moment, ask again when the attempt is over")
            changes.append(act(pending))
        except Impossible as why:
            refusals.append(f"{transfer.id}: {why}")
    return Amendment(tuple(changes), tuple(refusals))


def hold(pending: Pending, reason: str) -> Requeued:
    """Keep it back until `release`."""
    if pending.held:
        raise Impossible("it is held already")
    return _requeue(pending, pending.claim.transfer.due, reason)


def release(pending: Pending, now: float) -> Requeued:
    """Let what is held go."""
    if not pending.held:
        raise Impossible("it is not held")
    return _requeue(pending, now)


def retry(pending: Pending, now: float) -> Requeued:
    """Try it now instead of when it is due."""
    if pending.held:
        raise Impossible("it is held, release it instead")
    return _requeue(pending, now)


def reroute(pending: Pending, routes: Sequence[Route], now: float, fresh: str) -> Requeued:
    """Give it to other backends; `routes` have all its recipients, and `fresh` makes the new ids unlike any before.

    The fields above the content stay those of the first route. Attempts are counted anew, time is not.
    """
    transfer = pending.claim.transfer
    if all(route.backend == transfer.backend for route in routes):
        raise Impossible(f"it goes to {transfer.backend} already")
    others = tuple(
        replace(
            transfer,
            id=f"{transfer.message_id}-{route.key}-{fresh}",
            backend=route.backend,
            rcpts=route.rcpts,
            due=now,
            attempts=0,
        )
        for route in routes
    )
    return Requeued(transfer.id, others, "" if pending.held else None)


def bounce(pending: Pending, reply: Reply, terms: Terms, at: AttemptContext) -> Settlement:
    """Fail every recipient that is left. The sender is told as after any failure, or not told where nobody may be."""
    return settle(pending.claim, _outcomes(pending, reply), terms, at)


def delete(pending: Pending, reply: Reply, now: float) -> Settlement:
    """End every recipient that is left; nobody is told."""
    transfer = pending.claim.transfer
    return Settlement(
        transfer_id=transfer.id,
        message_id=transfer.message_id,
        epoch=pending.claim.epoch,
        endings=tuple(Ending(rcpt, Final.DELETED, reply) for rcpt in transfer.rcpts),
        remaining=(),
        due=None,
        attempt=Attempt(transfer.id, transfer.backend, now, now, _outcomes(pending, reply)),
        delay_warned=transfer.delay_warned,
        dsn=None,
    )


def _requeue(pending: Pending, due: float, held: str | None = None) -> Requeued:
    transfer = pending.claim.transfer
    return Requeued(transfer.id, (replace(transfer, due=due),), held)


def _outcomes(pending: Pending, reply: Reply) -> tuple[Outcome, ...]:
    return tuple(Outcome(rcpt, OutcomeKind.FAILED, reply, Scope.RECIPIENT, "") for rcpt in pending.claim.transfer.rcpts)
