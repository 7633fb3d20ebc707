"""The daily list of held mail: plain text in ASCII with CRLFs."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.received import format_date
from gateway.model.delivery import HeldEntry
from gateway.model.envelope import Mailbox
from gateway.model.value import Value

_MOST_NAMED = 200
"""Messages that a list names; the others are counted."""
_MOST_CHARACTERS = 160
"""Of any text that a sender chose."""


class Digest(Value):
    """The contents of one list. Times are in epoch seconds."""

    id: str
    hostname: str
    to: Mailbox
    composed: float
    soon: float
    """Messages that expire before this time are named first."""
    held: Sequence[HeldEntry]
    expired: Sequence[HeldEntry]
    """Messages that expired within the last day, at `expires`."""


def compose(digest: Digest) -> bytes:
    """The whole message, header and body."""
    urgent = [entry for entry in digest.held if entry.expires <= digest.soon]
    rest = [entry for entry in digest.held if entry not in urgent]
    said = [f"{len(digest.held)} held"]
    said += [f"{len(urgent)} expire soon"] if urgent else []
    said += [f"{len(digest.expired)} given up"] if digest.expired else []
    # RFC 3834 section 5: automatic responders do not answer this.
    lines = [
        f"Date: {format_date(digest.composed)}",
        f"From: Waypost <mailer-daemon@{digest.hostname}>",
        f"To: <{_clean(str(digest.to))}>",
        f"Subject: Mail held at {digest.hostname}: {', '.join(said)}",
        f"Message-ID: <{digest.id}@{digest.hostname}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is the mail gateway {digest.hostname}. It holds the messages below until you decide:",
        "",
        "    waypost hold show ID        what is known of it, and why it is held",
        "    waypost hold release ID     deliver it",
        "    waypost hold delete ID      remove it; its sender is not told",
    ]
    lines += _section("These are given up soon:", urgent)
    lines += _section("Held:", rest)
    lines += _section("Given up, as nobody decided in time; they were not delivered:", digest.expired)
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


def _section(title: str, entries: Sequence[HeldEntry]) -> list[str]:
    if not entries:
        return []
    lines = ["", title]
    for entry in entries[:_MOST_NAMED]:
        lines += [
            "",
            f"{entry.id}  {entry.size} octets, received {format_date(entry.received)},",
            f"    until {format_date(entry.expires)}",
            f"    from {_clean(entry.mail_from) or '<>'}, author domain {_clean(entry.domain) or 'none'}",
            f"    to {_clean(', '.join(entry.rcpts))}",
            f"    subject: {_clean(entry.subject)}",
            f"    held by: {_clean(entry.reason)}",
        ]
    if len(entries) > _MOST_NAMED:
        lines += ["", f"And {len(entries) - _MOST_NAMED} more: waypost hold list"]
    return lines


def _clean(text: str) -> str:
    """Printable ASCII of bounded length: text from a sender cannot end a line or begin a field."""
    plain = text[:_MOST_CHARACTERS].encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in plain)
