"""What a backend's own state says of a recipient before the message comes: its route is stopped, or it has no such
mailbox."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model.address import IPText, Mailbox
from gateway.model.reply import REPLIES
from gateway.plan.admission import Refusal
from gateway.policy.routing import RoutingTable
from gateway.service.inquiry import Inquiry


async def refuse_by_backend(
    mailbox: Mailbox, client: IPText, routing: RoutingTable, admits: Callable[[str], bool], inquiry: Inquiry
) -> Refusal | None:
    """The refusal; None when nothing is known against the recipient. `admits` tells whether mail for a backend is let
    in: one that refuses all for a fault of ours gets none, and the client keeps it meanwhile. The backend is asked
    about a mailbox where the admin wants that. Role addresses exist without a question, and what is for them waits
    here: they are always accepted (RFC 5321 section 4.5.1)."""
    targets = routing.targets(mailbox)
    if not routing.role(mailbox) and not all(admits(target.backend) for target in targets):
        return "route-stopped", REPLIES["route-stopped"]
    # An alias and several deliveries are the admin's own word that the address exists.
    own = len(targets) == 1 and targets[0].mailbox == mailbox
    if not own or mailbox.ascii_domain not in routing.callout or routing.role(mailbox):
        return None
    unknown = await inquiry.is_unknown(mailbox, targets[0].backend, client)
    return ("callout", REPLIES["unknown-mailbox"]) if unknown else None
