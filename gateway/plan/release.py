"""How a held message leaves: by the routes of now, or to an end without delivery; and the list that is sent of them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.author import find_author
from gateway.mail.digest import Digest, compose
from gateway.mail.header import parse_header
from gateway.model.delivery import Ending, Final, Intake, Story, Trace, Transfer
from gateway.model.message import Message
from gateway.model.reply import Reply
from gateway.model.route import Route
from gateway.model.value import replace
from gateway.plan.intake import Arrival, plan_delivery
from gateway.plan.judgement import Judgement, JudgementContext
from gateway.plan.own_mail import post

RELEASED = "released"
"""The action that the verdict field of a released message names: backend rules let it through."""


def plan_release(trace: Trace, routes: Sequence[Route], context: JudgementContext, now: float) -> tuple[Transfer, ...]:
    """The transfers of a held message that an admin lets go: by the routes of now, the octets as they came. Raises
    ValueError for a trace of a message that was not judged."""
    ingress, authentication = trace.edge or trace.internal, trace.authentication
    if ingress is None or authentication is None or trace.evidence is None or trace.content is None:
        raise ValueError(f"{trace.id} was not judged")
    header = parse_header(trace.evidence.header)
    message = Message(trace.content, trace.evidence, trace.dropped)
    arrival = Arrival(trace.id, trace.received, ingress, trace.envelope, message, header, trace.departure)
    judgement = Judgement(authentication, find_author(header), trace.decision)
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
