"""What a backend's reply to RCPT says about a mailbox, and when it can be believed."""

from __future__ import annotations

from enum import Enum

from gateway.model.reply import Reply


class Refusing(Enum):
    """How a backend refuses a mailbox that does not exist, as far as that is proven."""

    NOT = "not"
    """It takes everything, or refuses in a way that may be about us: its word proves nothing."""
    CODED = "coded"
    """With an enhanced code that says so."""
    PLAIN = "plain"
    """With 550 alone. That may as well be about us, so it proves something only beside a mailbox that is taken."""


# RFC 3463 section 3.2, "Bad destination mailbox address"; Exchange Online says X.1.10, "Recipient not found".
_NO_SUCH_MAILBOX = ("1.1", "1.10")
_PLAIN = 550


def read_refusal(reply: Reply) -> Refusing:
    """A reply to RCPT: how it refuses the mailbox. A 4yz, and a 5.7.x or any other code that may blame us, does not."""
    if reply.permanent and reply.detail in _NO_SUCH_MAILBOX:
        return Refusing.CODED
    return Refusing.PLAIN if reply.code == _PLAIN and not reply.detail else Refusing.NOT
