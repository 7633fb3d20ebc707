"""What an admin's command finds of a message that waits, and what it makes of it."""

from __future__ import annotations

from typing import TypeAlias

from gateway.model.delivery import Act, Claim, Settlement, Transfer
from gateway.model.value import Value


class Pending(Value):
    """A transfer with recipients that have no final state yet."""

    claim: Claim
    """As an attempt would get it; its epoch is the one that a Settlement of it is written under."""
    sending: bool
    """An attempt is under way: nobody else may touch it."""
    held: bool


class Requeued(Value):
    """Transfers that take the place of one; together they have its recipients."""

    transfer_id: str
    transfers: tuple[Transfer, ...]
    held: str | None = None
    """Why they are kept back until an admin decides, empty for the reason of before; None: each is tried when due."""


Change: TypeAlias = Requeued | Settlement


class Amendment(Value):
    """The exact writes of one command on one message: one transaction."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[str, ...] = ()
    """What of the message is left as it is, and why."""
    act: Act | None = None
    """What the message's story says of it; None where there is nothing to say."""
