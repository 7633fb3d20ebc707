"""The meaning of a backend's reply to RCPT for a mailbox."""

from __future__ import annotations

import pytest

from gateway.model.reply import Reply
from gateway.service.inquiry import denies_mailbox


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [
        (550, "5.1.1 The email account that you tried to reach does not exist", True),
        (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", True),
        (554, "5.1.1 User unknown", True),
        (550, "No such user", False),
        (554, "No", False),
        (553, "mailbox name not allowed", False),
        (550, "5.7.1 Service unavailable, client host blocked", False),
        (550, "5.7.606 Access denied, banned sending IP", False),
        (550, "5.4.1 Recipient address rejected: Access denied", False),
        (550, "5.1.0 Address rejected", False),
        (450, "4.1.1 greylisted", False),
        (421, "4.7.0 Try again later", False),
        (250, "2.1.5 OK", False),
    ],
)
def test_only_what_names_the_mailbox_refuses_it(code: int, text: str, meaning: bool) -> None:
    assert denies_mailbox(Reply.received(code, text)) is meaning
