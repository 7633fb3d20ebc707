"""Messages that are kept here until an admin decides."""

from __future__ import annotations

from gateway.model.value import Value


class Quota(Value):
    """How much may be held, or is: of one Author Domain, and in all."""

    domain_messages: int = 200
    domain_octets: int = 52_428_800
    messages: int = 5_000
    octets: int = 1_073_741_824

    def less(self, held: Quota) -> Quota:
        """What is left of it when so much is held."""
        return Quota(
            self.domain_messages - held.domain_messages,
            self.domain_octets - held.domain_octets,
            self.messages - held.messages,
            self.octets - held.octets,
        )


class Hold(Value):
    """Under what terms a message is held."""

    domain: str
    """The Author Domain's organization, whose quota it counts against; empty when there is none."""
    expires: float
    """Epoch seconds: when it is given up."""
    quota: Quota


class HeldEntry(Value):
    """One held message, as `waypost hold list` shows it. Times are epoch seconds."""

    id: str
    received: float
    expires: float
    domain: str
    """The Author Domain as the quota counts it; empty when there is none."""
    mail_from: str
    rcpts: tuple[str, ...]
    subject: str
    size: int
    reason: str
    """The rule that holds it, or what a backend had against it."""
