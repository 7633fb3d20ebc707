"""Which recipients are let into a transaction. These are invariants, not policy: no rule can make us a relay."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.envelope import Recipient
from gateway.model.reply import REPLIES, Reply
from gateway.policy.routing import RoutingTable


def refuse_recipient(
    recipient: Recipient, accepted: Sequence[Recipient], routing: RoutingTable, most: int
) -> tuple[str, Reply] | None:
    """The name and reply of the refusal, or None when the recipient may join those accepted before it."""
    mailbox = recipient.mailbox
    if routing.backend_for(mailbox) is None:
        return "relay-denied", REPLIES["relay-denied"].filled(domain=mailbox.ascii_domain)
    if len(accepted) >= most:
        return "too-many-recipients", REPLIES["too-many-recipients"]
    # Role addresses are exempt from authentication; what is judged for one must not pass for the other.
    if accepted and routing.role(mailbox) != routing.role(accepted[0].mailbox):
        return "mixed-recipients", REPLIES["mixed-recipients"]
    return None
