"""A DSN goes to a return path that was verified at ingress, and to no other (promise P6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.mail.path import mailbox
from gateway.model.address import ip_text
from gateway.model.envelope import Envelope
from gateway.model.ingress import InternalIngress
from gateway.plan.intake import Arrival, _return_path_verified
from tests.spooling import authentication

LOGIN = InternalIngress(ip_text("192.0.2.1"), "c.example", "submission", ip_text("192.0.2.1"), "login", login="joe")


@pytest.mark.parametrize(
    ("mail_from", "verified"), [("joe@own.example", True), ("victim@far.example", False), (None, False)]
)
def test_a_login_speaks_for_our_own_domains_only(mail_from: str | None, verified: bool) -> None:
    envelope = Envelope(mailbox(mail_from) if mail_from else None, ())
    results = replace(authentication(), dkim=())
    assert _return_path_verified(Arrival("id", 0.0, LOGIN, envelope, None), results, {"own.example"}) is verified
