"""Search over all mail: what is asked for, and what one message in the answer says."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


class DeliveryState(StrEnum):
    """The state of one recipient of one message."""

    REFUSED = "refused"
    DEFERRED = "deferred"
    """The client was asked to try again, and still has the message."""
    GREYLISTED = "greylisted"
    HELD = "held"
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"
    WITHHELD = "withheld"
    """Failed, and the sender was not told, because the return path was not proven."""
    EXPIRED = "expired"
    DELETED = "deleted"
    QUARANTINED = "quarantined"
    """Delivered with the mark in X-Waypost-Verdict."""


UNSETTLED = (DeliveryState.WAITING, DeliveryState.HELD)
"""The states that may still change."""


class FoundRecipient(Value):
    """One recipient."""

    address: str
    """As the client named it."""
    backend: str
    """Empty when the message was not routed."""
    state: DeliveryState
    reply: str
    """The last reply about this recipient; empty when there is none."""


class FoundMessage(Value):
    """One message, as a list shows it."""

    id: str
    received: float
    """Epoch seconds."""
    client: str
    """Empty when the address cannot be known."""
    mail_from: str
    """Empty for the null sender."""
    author: str
    """The addresses of From; empty when the message was refused before its content."""
    rcpts: tuple[FoundRecipient, ...]
    subject: str
    message_id: str
    """Without its angle brackets."""
    size: int | None
    """None when the message was refused before its content."""
    action: str
    rule: str
    reply: str
    spf: str
    """Empty when the message was not judged."""
    dkim: str
    """`pass` when any signature passes, else the result of the first one."""
    dmarc: str


class MessageQuery(Value):
    """The conditions of a search. All of them hold for a message that is found; an empty one asks nothing."""

    words: tuple[str, ...] = ()
    """Each is an address or its beginning, a domain, a client address or network, an id, or a Message-ID."""
    sender: str = ""
    """MAIL FROM or From: an address, or a domain with those below it; `<>` is the null sender."""
    rcpt: str = ""
    domain: str = ""
    """Of the sender or of a recipient."""
    message_id: str = ""
    subject: str = ""
    """Words of the subject, or their beginnings."""
    network: str = ""
    """An address or a network of the client."""
    since: float | None = None
    """Epoch seconds."""
    until: float | None = None
    state: DeliveryState | None = None
    """Of any recipient."""
    dmarc: str = ""
    spf: str = ""
    rule: str = ""
    backend: str = ""
