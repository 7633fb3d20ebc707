"""What a backend's reply to RCPT says about a mailbox, and when it can be believed."""

from __future__ import annotations

from gateway.model.reply import Reply

# RFC 3463 section 3.2, "Bad destination mailbox address"; Exchange Online says X.1.10, "Recipient not found".
_NO_SUCH_MAILBOX = ("1.1", "1.10")


def denies_mailbox(reply: Reply) -> bool:
    """True for a reply to RCPT that says that there is no such mailbox. 550 alone, a 4yz, and a 5.7.x or any other code
    may as well be about us."""
    return reply.permanent and reply.detail in _NO_SUCH_MAILBOX
