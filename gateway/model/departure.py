"""Mail that leaves through us: the one noun that both its plan and its intake know."""

from __future__ import annotations

from gateway.model.address import Mailbox
from gateway.model.message import Span
from gateway.model.value import Value


class Departure(Value):
    """A message that may leave, as it leaves."""

    sender: str
    """Who sends it: the name of a [[sender]] or [[tenant]]. Limits count by it."""
    by: str
    """What proves the sender: a setting, and for a tenant its proof."""
    mail_from: Mailbox | None
    above: tuple[bytes, ...]
    """The fields that belong to the message itself, with our signatures on top; they stand below our Received."""
    dropped: tuple[Span, ...]
    """What of the content does not leave: a secret, or a From, Sender or Resent-From that was not the sender's."""
