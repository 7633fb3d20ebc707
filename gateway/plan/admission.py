"""Which recipients are let into a transaction. These are invariants, not policy: no rule can make us a relay."""

from __future__ import annotations

from collections.abc import Callable

from gateway.mail.srs import Srs
from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient
from gateway.model.message import Capabilities
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, replace
from gateway.policy.routing import RoutingTable

Refusal = tuple[str, Reply]
"""The name of what refuses, and the reply."""


class Asking(Value):
    """A transaction as far as it has come when a recipient is named."""

    envelope: Envelope
    """With the recipients accepted so far."""
    size: int | None
    """The SIZE parameter of MAIL, in octets."""
    client: IPText
    """As the transport proves it."""
    now: float = 0.0
    """Epoch seconds."""
    sends: bool = False
    """The client is a sender of ours: its mail is judged in one way, whoever gets it."""


def refuse_recipient(
    recipient: Recipient,
    asking: Asking,
    routing: RoutingTable,
    rules_for: Callable[[Mailbox], object],
    takes: Callable[[str], Capabilities | None],
    most: int,
) -> Refusal | None:
    """The refusal, or None when the recipient may join those accepted before it. `rules_for` tells by which rules a
    recipient's mail is judged, `takes` what is known of a backend: of one that is not known nothing is refused,
    delivery decides."""
    mailbox, accepted = recipient.mailbox, asking.envelope.rcpts
    if routing.srs is not None and routing.srs.claims(mailbox):
        return _refuse_return(mailbox, asking, routing.srs)
    targets = routing.targets(mailbox)
    if not targets:
        return "relay-denied", REPLIES["relay-denied"].filled(domain=mailbox.ascii_domain)
    # Role addresses exist whatever a directory says, and wherever a message comes from (RFC 5321 section 4.5.1): one
    # that goes round for ever is told by its Received fields.
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
    """A return path that we have written takes bounces, for a time, and nothing else: it must not make us a relay. What
    comes back alone keeps its transaction to itself."""
    returned = srs.restore(mailbox)
    if returned is None or returned.is_late(asking.now):
        return "unknown-return-path", REPLIES["unknown-mailbox"]
    if asking.envelope.mail_from is not None:
        return "no-bounce", REPLIES["no-bounce"]
    return ("mixed-recipients", REPLIES["mixed-recipients"]) if asking.envelope.rcpts else None


def _judged_alike(one: Mailbox, other: Mailbox, routing: RoutingTable, rules_for: Callable[[Mailbox], object]) -> bool:
    """A message gets one decision, so what is judged for one recipient must not pass for another: role addresses are
    exempt from authentication, and a domain can have rules of its own."""
    return routing.role(one) == routing.role(other) and rules_for(one) is rules_for(other)


def _refuse_by_capabilities(recipient: Recipient, asking: Asking, known: Capabilities | None) -> Refusal | None:
    if known is None:
        return None
    # RFC 1870 section 6.1: the declared size is refused as early as it is known.
    if known.size and asking.size is not None and asking.size > known.size:
        return "too-big-for-route", REPLIES["too-big-for-route"].filled(limit=str(known.size))
    if not known.smtputf8:
        # RFC 6531 section 3.5. SMTPUTF8 alone refuses nothing: header and addresses may be ASCII after all.
        addresses = f"{recipient.mailbox} {asking.envelope.mail_from or ''}"
        if not addresses.isascii():
            return "no-utf8-on-route", REPLIES["no-utf8-on-route"]
    return None
