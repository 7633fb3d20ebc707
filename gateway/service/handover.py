"""From a stored message to its delivery, and the reply to its client.

The message is stored. So its client gets 250 despite any later fault; otherwise it would send the message again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.model.delivery import Claim, Intake
from gateway.model.event import Event, Level
from gateway.model.reply import Reply
from gateway.plan.settlement import find_refusal
from gateway.ports import EventSink
from gateway.service.runtime import Deliverer


@contextmanager
def keep_word(emit: EventSink, id: str) -> Iterator[None]:
    """Report a fault in the block to the admin only."""
    try:
        yield
    except Exception as error:
        emit(Event("error", id, (("where", "after the commit"), ("error", repr(error))), Level.ALARM))


async def hand_over(deliverer: Deliverer, intake: Intake, deadline: float | None, accepted: Reply) -> Reply:
    """Pass the stored message to delivery. The client's reply is `accepted`, unless a backend refuses in time.
    `deadline` (monotonic): the end of the client's wait for the backend; None when it does not wait."""
    if not intake.transfers:
        return accepted
    if not intake.claimed or intake.message is None:
        await deliverer.enqueue([transfer.backend for transfer in intake.transfers])
        return accepted
    # Committed as claimed, so these are the claims: nothing is read back.
    claims = [Claim(transfer, intake.message, epoch=1) for transfer in intake.transfers]
    if deadline is not None and len(claims) == 1:
        return await _deliver_now(deliverer, claims[0], deadline, accepted)
    for claim in claims:
        await deliverer.send(claim)
    return accepted


async def _deliver_now(deliverer: Deliverer, claim: Claim, deadline: float, accepted: Reply) -> Reply:
    """In-session delivery (SPEC section 7): the backend's own permanent refusal is the client's answer. Any other
    result is 250, because the message is stored."""
    outcomes = await deliverer.attempt(claim, deadline)
    refusal = find_refusal(outcomes or ())
    return refusal.with_id(claim.transfer.message_id) if refusal is not None else accepted
