"""Attacks of a hostile sender on the running gateway."""

from __future__ import annotations

import time

import dkim
import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.samples import plain, sign, signing_key


def test_a_header_full_of_forged_results_holds_nobody_up(gateway: Gateway) -> None:
    gateway.start()
    forged = ("Authentication-Results: " + "é. " * 80 + "\r\n").encode() * 60
    with gateway.smtp() as client:
        start = time.monotonic()
        code, text = send(client, "a@plain.example", ["alice@corp.example"], forged + plain("a@plain.example"))
        assert time.monotonic() - start < 1
    assert code == 250, text


@pytest.mark.parametrize(
    "author",
    [
        "CEO: ceo@corp.example;, a@plain.example",
        "ceo@corp.example.., a@plain.example",
        '<ceo@"corp.example">, a@plain.example',
        "<ceo@[corp.example]>, a@plain.example",
    ],
)
def test_no_way_around_the_own_domain_firewall(gateway: Gateway, author: str) -> None:
    gateway.start()
    message = plain("a@plain.example").replace(b"From: <a@plain.example>", b"From: " + author.encode())
    with gateway.smtp() as client:
        code, text = send(client, "a@plain.example", ["alice@corp.example"], message)
    assert (code, text[:5]) == (550, "5.7.1"), text


def test_a_header_that_would_continue_ours_is_refused(gateway: Gateway) -> None:
    gateway.start()
    with gateway.smtp() as client:
        code, text = send(
            client, "a@plain.example", ["alice@corp.example"], b" ([203.0.113.9])\r\n" + plain("a@plain.example")
        )
    assert (code, text[:5]) == (550, "5.6.0"), text


def test_results_that_would_break_the_signature_are_left_out(gateway: Gateway) -> None:
    """Oversigned results on a message that passes: the backend must still find the signature whole."""
    gateway.start()
    names = [b"from", b"to", b"subject", b"authentication-results"]
    message = sign(plain("author@sender.example"), "sender.example", fields=names)
    with gateway.smtp() as client:
        code, text = send(client, "author@sender.example", ["alice@corp.example"], message)
    assert code == 250, text
    [(octets, _)] = gateway.google.wait(1)
    assert octets.endswith(message)
    head = octets[: -len(message)]
    assert b"Authentication-Results:" not in head
    assert b"X-Waypost-Verdict: action=accept" in head
    assert dkim.verify(octets, dnsfunc=lambda name, timeout=5: signing_key()[1].encode())
