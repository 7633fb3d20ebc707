"""A DSN goes to a return path that was verified at ingress, and to no other (promise P6)."""

from __future__ import annotations

import pytest

from gateway.mail.path import mailbox
from gateway.model.envelope import Envelope, ip_text
from gateway.model.ingress import InternalIngress
from gateway.model.message import Departure
from gateway.model.value import replace
from gateway.plan.intake import Arrival, _return_path_verified
from tests.support.authenticated import authenticated
from tests.support.spooling import authentication

LOGIN = InternalIngress(ip_text("192.0.2.1"), "c.example", "submission", ip_text("192.0.2.1"), "login", login="joe")


@pytest.mark.parametrize(("mail_from", "verified"), [("joe@own.example", True), (None, False)])
def test_a_sender_of_ours_has_shown_that_the_return_path_is_its_own(mail_from: str | None, verified: bool) -> None:
    path = mailbox(mail_from) if mail_from else None
    departure = Departure("joe", "sender joe", path, (), ())
    arrival = Arrival("id", 0.0, LOGIN, Envelope(path, ()), None, departure=departure)
    assert _return_path_verified(arrival, replace(authentication(), dkim=())) is verified


def test_what_only_came_from_inside_has_not() -> None:
    arrival = Arrival("id", 0.0, LOGIN, Envelope(mailbox("victim@far.example"), ()), None)
    assert not _return_path_verified(arrival, authenticated())
