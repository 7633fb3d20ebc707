"""Alarms as text and as a message."""

from __future__ import annotations

import email
import email.policy

from gateway.mail.alarm import compose, describe
from gateway.model.envelope import Mailbox
from gateway.model.event import Alarm

TO = Mailbox("admin", "ops.example", "ops.example")
ALARM = Alarm(
    "route-closed",
    "0k1",
    1_800_000_000.0,
    (("backend", "google"), ("cause", "reverse-dns"), ("fix", "Set a PTR record."), ("empty", "")),
    repeated=3,
)


def test_words() -> None:
    assert describe(ALARM).split("\n") == [
        "route-closed (backend google, cause reverse-dns)",
        "  at: Fri, 15 Jan 2027 08:00:00 +0000",
        "  backend: google",
        "  cause: reverse-dns",
        "  fix: Set a PTR record.",
        "  id: 0k1 (waypost explain 0k1)",
        "  since it was last told it has happened 3 times more",
    ]
    assert Alarm("error", "", 0.0, ()).title == "error"


def test_message() -> None:
    octets = compose([ALARM, Alarm("error", "", 0.0, (("where", "claim"),))], TO, "gw.example", "id1", 1_800_000_000.0)
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert message["Subject"] == "[waypost] route-closed (backend google, cause reverse-dns) and 1 more"
    assert message["To"] == "admin@ops.example"
    assert message["From"] == "Waypost <mailer-daemon@gw.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "  fix: Set a PTR record." in text
    assert "error (where claim)" in text


def test_no_value_breaks_out() -> None:
    evil = "x\r\nBcc: victim@x.example\r\n\r\n.\r\n" + "ü" * 3000
    octets = compose([Alarm(f"a{evil}", evil, 0.0, (("where", evil), ("reply", evil)))], TO, "gw.example", "i", 0.0)
    assert octets.isascii()
    assert b"\nBcc:" not in octets
    assert octets.replace(b"\r\n", b"").count(b"\r") == octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert max(map(len, octets.split(b"\r\n"))) <= 998
