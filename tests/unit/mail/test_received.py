"""Our own Received field, octet for octet."""

from __future__ import annotations

import re

import pytest

from gateway.mail.received import compose, format_date
from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient
from gateway.model.ingress import ClientSource, EdgeIngress, InternalIngress, Tls

AT = 1795295400.9
TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def edge(
    client: str | None = "203.0.113.7",
    helo: str = "mail.sender.example",
    rdns: str = "out.sender.example",
    tls: Tls | None = TLS,
    esmtp: bool = True,
) -> EdgeIngress:
    return EdgeIngress(
        client=IPText(client) if client else None,
        source=ClientSource.PROXY,
        helo=helo,
        listener="mx",
        peer=IPText("10.0.0.1"),
        tls=tls,
        esmtp=esmtp,
        rdns=rdns,
    )


def envelope(*rcpts: str, smtputf8: bool = False) -> Envelope:
    made = []
    for text in rcpts:
        local, _, domain = text.rpartition("@")
        made.append(Recipient(Mailbox(local or domain, domain if local else "", domain.lower() if local else "")))
    return Envelope(None, tuple(made), smtputf8=smtputf8)


def composed(ingress: EdgeIngress | InternalIngress, env: Envelope) -> bytes:
    return compose(ingress, "mx.demo.example", "0k3abc", env, AT)


def test_one_recipient() -> None:
    assert composed(edge(), envelope("alice@demo.example")) == (
        b"Received: from mail.sender.example (out.sender.example [203.0.113.7])\r\n"
        b"\tby mx.demo.example (Waypost) with ESMTPS id 0k3abc\r\n"
        b"\tfor <alice@demo.example>;\r\n"
        b"\tSat, 21 Nov 2026 21:10:00 +0000\r\n"
    )


def test_several_recipients_are_not_shown_to_each_other() -> None:
    assert composed(edge(tls=None), envelope("alice@demo.example", "bob@demo.example")) == (
        b"Received: from mail.sender.example (out.sender.example [203.0.113.7])\r\n"
        b"\tby mx.demo.example (Waypost) with ESMTP id 0k3abc;\r\n"
        b"\tSat, 21 Nov 2026 21:10:00 +0000\r\n"
    )


def test_ipv6_without_reverse_name() -> None:
    assert composed(edge("2001:db8::25", rdns=""), envelope("postmaster")) == (
        b"Received: from mail.sender.example (unknown [IPv6:2001:db8::25])\r\n"
        b"\tby mx.demo.example (Waypost) with ESMTPS id 0k3abc\r\n"
        b"\tfor <postmaster>;\r\n"
        b"\tSat, 21 Nov 2026 21:10:00 +0000\r\n"
    )


def test_unknown_client() -> None:
    """Neither balancer nor relay is shown in the client's place."""
    assert composed(edge(None, helo="", rdns="", esmtp=False), envelope("alice@demo.example")) == (
        b"Received: from unknown (unknown [unknown])\r\n"
        b"\tby mx.demo.example (Waypost) with SMTP id 0k3abc\r\n"
        b"\tfor <alice@demo.example>;\r\n"
        b"\tSat, 21 Nov 2026 21:10:00 +0000\r\n"
    )


def test_long_names_are_folded() -> None:
    helo = "a-rather-long-host-name." * 3 + "example"
    assert composed(edge(helo=helo), envelope("alice@demo.example")).startswith(
        f"Received: from {helo}\r\n\t(out.sender.example [203.0.113.7])\r\n\tby ".encode()
    )


@pytest.mark.parametrize(
    ("esmtp", "tls", "login", "smtputf8", "word"),
    [
        (False, None, "", False, "SMTP"),
        (True, None, "", False, "ESMTP"),
        (True, TLS, "", False, "ESMTPS"),
        (True, TLS, "ann", False, "ESMTPSA"),
        (True, None, "ann", False, "ESMTPA"),
        (True, None, "", True, "UTF8SMTP"),
        (True, TLS, "", True, "UTF8SMTPS"),
        (True, TLS, "ann", True, "UTF8SMTPSA"),
    ],
)
def test_protocol_words(esmtp: bool, tls: Tls | None, login: str, smtputf8: bool, word: str) -> None:
    ingress = InternalIngress(
        IPText("10.0.0.9"), "pc.demo.example", "mx", IPText("10.0.0.9"), "own hop inner", login, tls, esmtp
    )
    assert f"(Waypost) with {word} id".encode() in composed(ingress, envelope("a@b.example", smtputf8=smtputf8))


@pytest.mark.parametrize(
    ("helo", "shown"),
    [
        ("[203.0.113.7]", "[203.0.113.7]"),
        ("[192.0.2.66]", "?192.0.2.66?"),
        ("[IPv6:2001:db8::66]", "?IPv6:2001:db8::66?"),
        ("x (trusted [192.0.2.66])", "x??trusted??192.0.2.66??"),
        ("x\r\nX-Evil: 1", "x??X-Evil:?1"),
        ("x\tby mx.demo.example", "x?by?mx.demo.example"),
        ("bücher.example", "b?cher.example"),
        ("\x00\x7f", "??"),
        ("h;id=1", "h?id?1"),
        ('"quoted"', "?quoted?"),
        ("under_score.example", "under_score.example"),
    ],
)
def test_helo_cannot_inject(helo: str, shown: str) -> None:
    field = composed(edge(helo=helo), envelope("alice@demo.example"))
    assert field.startswith(f"Received: from {shown} (out.sender.example [203.0.113.7])\r\n".encode())
    assert set(re.findall(rb"\[([^]]*)\]", field)) == {b"203.0.113.7"}


def test_helo_is_bounded() -> None:
    longest = max(composed(edge(helo="a" * 9000), envelope("alice@demo.example")).split(b"\r\n"), key=len)
    assert len(longest) < 300


@pytest.mark.parametrize("rdns", ["a b", "x) (y [192.0.2.66]", "-", "é.example", "x\r\n\ty", "." * 300])
def test_strange_reverse_names_are_left_out(rdns: str) -> None:
    assert b" (unknown [203.0.113.7])\r\n" in composed(edge(rdns=rdns), envelope("alice@demo.example"))


@pytest.mark.parametrize(
    "rcpt",
    ['"a> by x [192.0.2.66]"@demo.example', "bücher@demo.example", "a@[192.0.2.66]", "a b@demo.example"],
)
def test_strange_recipients_are_left_out(rcpt: str) -> None:
    assert b"for <" not in composed(edge(), envelope(rcpt))


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0.0, "Thu, 1 Jan 1970 00:00:00 +0000"),
        (951827696.999, "Tue, 29 Feb 2000 12:34:56 +0000"),
        (AT, "Sat, 21 Nov 2026 21:10:00 +0000"),
    ],
)
def test_dates(epoch: float, text: str) -> None:
    assert format_date(epoch) == text
