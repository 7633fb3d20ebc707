"""A recipient who did not get a message, as `waypost queue failed` lists it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.delivery import Final
from gateway.model.reply import Reply


@dataclass(frozen=True, slots=True)
class Failure:
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
