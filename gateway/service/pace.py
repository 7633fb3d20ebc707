"""How fast a client may name recipients."""

from __future__ import annotations

from gateway.model.address import Mailbox, site_of
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.reply import REPLIES
from gateway.plan.admission import Refusal
from gateway.service.runtime import RuntimeConfig, Services


def refuse_haste(mailbox: Mailbox, ingress: Ingress, runtime: RuntimeConfig, services: Services) -> Refusal | None:
    """The refusal when there were too many recipients in this minute. What is behind a relay of ours has no address
    yet, and who sends for us has limits of his own. Role addresses are exempt (SPEC section 2)."""
    if not isinstance(ingress, EdgeIngress) or ingress.client is None or runtime.routing.role(mailbox):
        return None
    count = services.minute.add(f"recipients of {site_of(ingress.client)}", services.clock.monotonic())
    return ("too-fast", REPLIES["too-fast"]) if count > runtime.config.limits.recipients_per_minute else None
