"""A recipient who did not get a message, as `waypost queue failed` lists it."""

from __future__ import annotations

from gateway.model.delivery import Final
from gateway.model.reply import Reply
from gateway.model.value import Value


class Failure(Value):
    """One recipient's end."""

    message_id: str
    at: float
    """Epoch seconds."""
    mail_from: str
    """Empty for the null sender."""
    rcpt: str
    backend: str
    state: Final
    reply: Reply
