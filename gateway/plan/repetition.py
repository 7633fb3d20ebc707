"""What makes two messages the same one, sent again."""

from __future__ import annotations

import hashlib

from gateway.model.envelope import Envelope
from gateway.model.message import Content

REMEMBERED = 86_400.0
"""Seconds for which a message is known whose client was not told that it is stored."""


def fingerprint(envelope: Envelope, content: Content) -> bytes:
    """Alike for the same octets, sender and recipients, in whatever order these come and from whatever address: the
    pool of a big provider tries again from elsewhere."""
    digest = hashlib.sha256(content.sha256)
    digest.update(str(envelope.mail_from or "").encode("utf-8", "surrogateescape"))
    for rcpt in sorted(rcpt.mailbox.key for rcpt in envelope.rcpts):
        digest.update(b"\0" + rcpt.encode("utf-8", "surrogateescape"))
    return digest.digest()
