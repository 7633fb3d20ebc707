"""What a backend's reply to RCPT says about a mailbox."""

from __future__ import annotations

import pytest

from gateway.model.reply import Reply
from gateway.plan.callout import Refusing, read_refusal


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [
        (550, "5.1.1 The email account that you tried to reach does not exist", Refusing.CODED),
        (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Refusing.CODED),
        (554, "5.1.1 User unknown", Refusing.CODED),
        (550, "No such user", Refusing.PLAIN),
        (554, "No", Refusing.NOT),
        (553, "mailbox name not allowed", Refusing.NOT),
        (550, "5.7.1 Service unavailable, client host blocked", Refusing.NOT),
        (550, "5.7.606 Access denied, banned sending IP", Refusing.NOT),
        (550, "5.4.1 Recipient address rejected: Access denied", Refusing.NOT),
        (550, "5.1.0 Address rejected", Refusing.NOT),
        (450, "4.1.1 greylisted", Refusing.NOT),
        (421, "4.7.0 Try again later", Refusing.NOT),
        (250, "2.1.5 OK", Refusing.NOT),
    ],
)
def test_only_what_names_the_mailbox_refuses_it(code: int, text: str, meaning: Refusing) -> None:
    assert read_refusal(Reply.received(code, text)) is meaning
