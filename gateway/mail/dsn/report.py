"""What a notification says."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.address import Mailbox
from gateway.model.envelope import Recipient
from gateway.model.reply import Reply
from gateway.model.value import Value


class DsnAction(StrEnum):
    """What became of a recipient (RFC 3464 section 2.3.3). A relay never knows that a message was delivered."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    """Handed to a server that will say no more, as it does not offer DSN (RFC 3461 section 5.2.2)."""


class Notice(Value):
    """What is said of one recipient."""

    rcpt: Recipient
    action: DsnAction
    reply: Reply
    """The last reply: the backend's, or in our own words when `remote_mta` is empty."""
    remote_mta: str
    expired: bool = False
    """It failed because its time was over (RFC 3463 X.4.7)."""
    ours: bool = False
    """The reply blames us, not the sender nor the message."""

    @property
    def status(self) -> str:
        """The enhanced code, in the class of what became of the recipient: a 5yz that is tried again is no failure
        yet."""
        if self.action is DsnAction.RELAYED:
            return f"2.{self.reply.detail or '0.0'}"
        lasting = self.action is DsnAction.FAILED and not self.expired
        return f"{5 if lasting else 4}.{self.reply.detail or '0.0'}"


class Report(Value):
    """All that one notification says. Times are in epoch seconds."""

    id: str
    """Id of the notification itself: makes its Message-ID and its boundary."""
    hostname: str
    return_path: Mailbox
    message_id: str
    """Our id of the message reported on."""
    envid: str
    """ENVID as received, xtext included; empty when there was none."""
    arrived: float
    composed: float
    retried_until: float
    header: bytes
    """The header block of the message reported on."""
    notices: tuple[Notice, ...]
    verdicts: tuple[str, ...] = ()
    """What was found at our edge, a line for each check; empty when the message came in from within."""
    content: bytes | None = None
    """The whole message, where its sender wants it back with a failure (RFC 3461 section 4.3)."""
