"""Refusals of a recipient before the message. They are invariants, not policy: no rule can make us an open relay."""

from __future__ import annotations

from collections.abc import Callable

from gateway.mail.srs import Srs
from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient
from gateway.model.message import Capabilities
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, replace
from gateway.policy.routing import RoutingTable

Refusal = tuple[str, Reply]
"""The name of the refusing check, and the reply."""


class Asking(Value):
    """The transaction so far, when a recipient is named."""

    envelope: Envelope
    """With the recipients accepted so far."""
    size: int | None
    """The SIZE parameter of MAIL, in octets."""
    client: IPText
    """The client's address, as the transport proves it."""
    now: float = 0.0
    """Epoch seconds."""
    sends: bool = False
    """The client is a sender of ours: its mail is judged in the same way for all recipients."""


def refuse_recipient(
    recipient: Recipient,
    asking: Asking,
    routing: RoutingTable,
    rules_for: Callable[[Mailbox], object],
    takes: Callable[[str], Capabilities | None],
    most: int,
) -> Refusal | None:
    """The refusal, or None when the recipient may join those accepted before it. `rules_for` gives the rules that judge
    a recipient's mail; `takes` gives the known capabilities of a backend. A backend without known capabilities refuses
    nothing here; delivery decides."""
    mailbox, accepted = recipient.mailbox, asking.envelope.rcpts
    if routing.srs is not None and routing.srs.claims(mailbox):
        return _refuse_return(mailbox, asking, routing.srs)
    targets = routing.targets(mailbox)
    if not targets:
        return "relay-denied", REPLIES["relay-denied"].filled(domain=mailbox.ascii_domain)
    # Role addresses are accepted regardless of the directory and the client (RFC 5321 section 4.5.1). Received fields
    # detect a mail loop.
    role = routing.role(mailbox)
    others = [target for target in targets if not routing.came_from(target.backend, asking.client)]
    if not role and not others:
        return "loop-to-origin", REPLIES["loop-to-origin"]
    if not role and not routing.lists(mailbox):
        name = "directory-stale" if routing.stale else "unknown-mailbox"
        return name, REPLIES[name]
    for target in others or targets:
        refusal = _refuse_by_capabilities(replace(recipient, mailbox=target.mailbox), asking, takes(target.backend))
        if refusal is not None:
            return refusal
    if len(accepted) >= most:
        return "too-many-recipients", REPLIES["too-many-recipients"]
    if accepted and routing.srs is not None and routing.srs.claims(accepted[0].mailbox):
        return "mixed-recipients", REPLIES["mixed-recipients"]
    if accepted and not asking.sends and not _judged_alike(mailbox, accepted[0].mailbox, routing, rules_for):
        return "mixed-recipients", REPLIES["mixed-recipients"]
    return None


def _refuse_return(mailbox: Mailbox, asking: Asking, srs: Srs) -> Refusal | None:
    """A return path that we have written accepts bounces for a limited time, and no other mail: it must not make us an
    open relay. It cannot share a transaction with other recipients."""
    returned = srs.restore(mailbox)
    if returned is None or returned.is_late(asking.now):
        return "unknown-return-path", REPLIES["unknown-mailbox"]
    if asking.envelope.mail_from is not None:
        return "no-bounce", REPLIES["no-bounce"]
    return ("mixed-recipients", REPLIES["mixed-recipients"]) if asking.envelope.rcpts else None


def _judged_alike(one: Mailbox, other: Mailbox, routing: RoutingTable, rules_for: Callable[[Mailbox], object]) -> bool:
    """A message gets one decision, so the judgement for one recipient must not apply to another: role addresses are
    exempt from authentication, and a domain can have its own rules."""
    return routing.role(one) == routing.role(other) and rules_for(one) is rules_for(other)


def _refuse_by_capabilities(recipient: Recipient, asking: Asking, known: Capabilities | None) -> Refusal | None:
    if known is None:
        return None
    # RFC 1870 section 6.1: the declared size is refused at the first opportunity.
    if known.size and asking.size is not None and asking.size > known.size:
        return "too-big-for-route", REPLIES["too-big-for-route"].filled(limit=str(known.size))
    if not known.smtputf8:
        # RFC 6531 section 3.5. SMTPUTF8 alone refuses nothing: header and addresses may be ASCII after all.
        addresses = f"{recipient.mailbox} {asking.envelope.mail_from or ''}"
        if not addresses.isascii():
            return "no-utf8-on-route", REPLIES["no-utf8-on-route"]
    return None
