"""An admin's commands on waiting mail: from transfers as they stand to the exact writes.

Under every command each recipient stays in one transfer or gets one final state (promise P1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.mail.digest import Digest, compose
from gateway.mail.header import parse_header
from gateway.model.delivery import (
    Amendment,
    Attempt,
    Change,
    Ending,
    Final,
    Intake,
    Outcome,
    OutcomeKind,
    Pending,
    Requeued,
    Scope,
    Settlement,
    Story,
    Trace,
    Transfer,
)
from gateway.model.message import Message, Route
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.plan.intake import Arrival, plan_delivery
from gateway.plan.judgement import Judgement, JudgementContext
from gateway.plan.own_mail import post
from gateway.plan.settlement import AttemptContext, Terms, settle

RELEASED = "released"
"""The action in the verdict field of a released message: backend rules accept it."""


def plan_release(trace: Trace, routes: Sequence[Route], context: JudgementContext, now: float) -> tuple[Transfer, ...]:
    """The transfers of a held message that an admin releases: by the current routes, with the octets as received.
    Raises ValueError for the trace of a message that was not judged."""
    ingress, authentication = trace.edge or trace.internal, trace.authentication
    if ingress is None or authentication is None or trace.evidence is None or trace.content is None:
        raise ValueError(f"{trace.id} was not judged")
    header = parse_header(trace.evidence.header)
    message = Message(trace.content, trace.evidence, trace.dropped)
    arrival = Arrival(trace.id, trace.received, ingress, trace.envelope, message, header, trace.departure)
    judgement = Judgement(authentication, trace.decision)
    delivery = plan_delivery(arrival, judgement, routes, context, RELEASED)
    return tuple(replace(transfer, created=now, due=now) for transfer in delivery.transfers)


def end_all(story: Story, state: Final, reply: Reply) -> tuple[Ending, ...]:
    """The final state of every recipient that has none yet."""
    ended = {ending.rcpt.mailbox for ending in story.endings}
    return tuple(Ending(rcpt, state, reply) for rcpt in story.trace.envelope.rcpts if rcpt.mailbox not in ended)


def make_digest(digest: Digest, backend: str) -> Intake:
    """The daily list, as an Intake."""
    octets = compose(digest)
    return post(octets, digest.to, "digest", digest.hostname, digest.composed, digest.id, backend)


class Impossible(Exception):
    """This transfer stays unchanged; the text gives the reason."""


def amend(id: str, pendings: Sequence[Pending], act: Callable[[Pending], Change]) -> Amendment:
    """`act` on each transfer that `id` identifies: all transfers of a message, or the one with this id. Transfers being
    sent stay unchanged."""
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
    """Hold it until `release`."""
    if pending.held:
        raise Impossible("it is held already")
    return _requeue(pending, pending.claim.transfer.due, reason)


def release(pending: Pending, now: float) -> Requeued:
    """Release a held transfer."""
    if not pending.held:
        raise Impossible("it is not held")
    return _requeue(pending, now)


def retry(pending: Pending, now: float) -> Requeued:
    """Try it now instead of at its due time."""
    if pending.held:
        raise Impossible("it is held, release it instead")
    return _requeue(pending, now)


def reroute(pending: Pending, routes: Sequence[Route], now: float, fresh: str) -> Requeued:
    """Give it to other backends. `routes` have all its recipients, and `fresh` makes the new ids unique.

    The fields above the content stay those of the first route. The count of attempts restarts; the time of expiry
    stays.
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
    """Fail every remaining recipient. The sender is notified as after any failure, or not at all when no DSN is
    allowed."""
    return settle(pending.claim, _outcomes(pending, reply), terms, at)


def delete(pending: Pending, reply: Reply, now: float) -> Settlement:
    """End every remaining recipient, without a DSN."""
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
