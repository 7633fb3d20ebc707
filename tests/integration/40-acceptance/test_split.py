"""One DATA to two halves of a company: two transactions, and not a byte changed (incident 1a)."""

from __future__ import annotations

import hashlib

import dkim

from tests.support.gateway_process import Gateway, send
from tests.support.samples import nested_multipart, sign, signing_key


def verify(octets: bytes) -> bool:
    """The result of stock dkimpy."""
    _, record = signing_key()
    return bool(dkim.verify(octets, dnsfunc=lambda name, timeout=5: record.encode()))


def test_both_halves_get_exactly_what_was_sent(gateway: Gateway) -> None:
    gateway.start()
    message = sign(nested_multipart("author@sender.example"), "sender.example")
    with gateway.smtp() as client:
        code, text = send(client, "author@sender.example", ["alice@corp.example", "bob@corp.example"], message)
    assert (code, text[:5]) == (250, "2.0.0")
    for stand_in, rcpt in ((gateway.google, "alice@corp.example"), (gateway.microsoft, "bob@corp.example")):
        [(octets, facts)] = stand_in.wait(1)
        assert facts["mail_from"] == "author@sender.example"
        assert facts["rcpts"] == [rcpt]
        assert facts["tls"]
        ours, theirs = octets[: -len(message)], octets[-len(message) :]
        assert hashlib.sha256(theirs).digest() == hashlib.sha256(message).digest()
        names = [line.split(b":")[0] for line in ours.split(b"\r\n") if line and line[:1] not in b" \t"]
        assert names == [b"X-Waypost-Verdict", b"Authentication-Results", b"Received"]
        assert verify(octets)
        assert b"dkim=pass" in ours
        assert b"dmarc=pass" in ours


def test_forged_own_results_are_removed_and_nothing_else(gateway: Gateway) -> None:
    gateway.start()
    forged = b"Authentication-Results: mx.gateway.example; dmarc=pass header.from=bank.example\r\n"
    foreign = b"Authentication-Results: mx.other.example; dmarc=pass header.from=bank.example\r\n"
    rest = sign(nested_multipart("author@sender.example"), "sender.example")
    with gateway.smtp() as client:
        code, _ = send(client, "author@sender.example", ["alice@corp.example"], foreign + forged + rest)
    assert code == 250
    [(octets, _)] = gateway.google.wait(1)
    assert octets.endswith(foreign + rest)
    assert forged not in octets


def test_large_message_to_both(gateway: Gateway) -> None:
    gateway.start()
    long_line = b"0123456789abcdef" * 800_000 + b"\r\n"
    message = sign(nested_multipart("author@sender.example") + long_line, "sender.example")
    with gateway.smtp() as client:
        code, text = send(client, "author@sender.example", ["alice@corp.example", "bob@corp.example"], message)
    assert code == 250, text
    for stand_in in (gateway.google, gateway.microsoft):
        [(octets, _)] = stand_in.wait(1)
        assert octets.endswith(message)
    assert not list((gateway.directory / "spool").rglob("content/*")), "delivered content is freed"
