"""Everything that can refuse a recipient, in the order in which it is asked.

1. The client names recipients too fast: 452 (`too-fast`).
2. The invariants of `plan.admission`: a return path of ours that may not be used, relaying, a loop to the origin, an
   unknown mailbox, what the route is known to take, too many recipients, recipients that are judged differently.
3. The backend's route is stopped: 451 (`route-stopped`).
4. The backend, asked by a callout, has no such mailbox: 550 (`callout`).
5. The rules of stage `rcpt`, which `MxConversation` asks because they leave a decision of their own in the trace.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.model.envelope import IPText, Mailbox, Recipient, site_of
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.reply import REPLIES
from gateway.plan.admission import Asking, Refusal, refuse_recipient
from gateway.policy.routing import RoutingTable
from gateway.service.inquiry import Inquiry
from gateway.service.runtime import RuntimeConfig, Services


async def find_rcpt_refusal(
    recipient: Recipient,
    asking: Asking,
    ingress: Ingress,
    runtime: RuntimeConfig,
    routing: RoutingTable,
    services: Services,
    admits: Callable[[str], bool],
) -> Refusal | None:
    """The first refusal, or None when the recipient may join the transaction. `routing` is that of the listener's role;
    `admits` tells whether mail for a backend is accepted."""
    mailbox, most, inquiry = recipient.mailbox, runtime.config.limits.recipients, services.inquiry
    return (
        refuse_haste(mailbox, ingress, runtime, services)
        or refuse_recipient(recipient, asking, routing, runtime.context.rules_for, inquiry.capabilities, most)
        or refuse_stopped_route(mailbox, runtime.routing, admits)
        or await refuse_by_callout(mailbox, asking.client, runtime.routing, inquiry)
    )


def refuse_haste(mailbox: Mailbox, ingress: Ingress, runtime: RuntimeConfig, services: Services) -> Refusal | None:
    """The refusal when there were too many recipients in this minute. Mail behind a relay of ours has no
    client address yet, and our own senders have limits of their own. Role addresses are exempt (SPEC section 2)."""
    if not isinstance(ingress, EdgeIngress) or ingress.client is None or runtime.routing.role(mailbox):
        return None
    count = services.minute.add(f"recipients of {site_of(ingress.client)}", services.clock.monotonic())
    return ("too-fast", REPLIES["too-fast"]) if count > runtime.config.limits.recipients_per_minute else None


def refuse_stopped_route(mailbox: Mailbox, routing: RoutingTable, admits: Callable[[str], bool]) -> Refusal | None:
    """The refusal while a route of the mailbox is stopped: its backend refuses everything for a fault of ours, so the
    client keeps the mail. Mail for role addresses waits here: they are always accepted (RFC 5321 section 4.5.1)."""
    if routing.role(mailbox) or all(admits(target.backend) for target in routing.targets(mailbox)):
        return None
    return "route-stopped", REPLIES["route-stopped"]


async def refuse_by_callout(
    mailbox: Mailbox, client: IPText, routing: RoutingTable, inquiry: Inquiry
) -> Refusal | None:
    """The refusal when the backend, asked if the admin wants that, is proven to have no such mailbox. Role addresses
    need no question."""
    targets = routing.targets(mailbox)
    # An alias, or several deliveries, are the admin's own statement that the address exists.
    own = len(targets) == 1 and targets[0].mailbox == mailbox
    if not own or mailbox.ascii_domain not in routing.callout or routing.role(mailbox):
        return None
    unknown = await inquiry.is_unknown(mailbox, targets[0].backend, client)
    return ("callout", REPLIES["unknown-mailbox"]) if unknown else None
