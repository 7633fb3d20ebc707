"""Received fields of many mail servers."""

from __future__ import annotations

import pytest

from gateway.diagnosis.hops import ReceivedHop, read_date, read_hops
from gateway.mail.header import parse_header


def read(text: str) -> ReceivedHop:
    [hop] = read_hops(parse_header(f"Received: {text}\r\n".encode()))
    return hop


@pytest.mark.parametrize(
    ("text", "sender", "rdns", "address", "by", "protocol", "tls"),
    [
        (
            "from a.example (b.example [192.0.2.1])\r\n\t(using TLSv1.3 with cipher X (256/256 bits))\r\n"
            "\tby mx.example (Postfix) with ESMTPS id 4F; Sat, 21 Nov 2026 10:00:00 +0100 (CET)",
            *("a.example", "b.example", "192.0.2.1", "mx.example", "ESMTPS", "1.3"),
        ),
        (
            "from b.example ([192.0.2.1] helo=a.example)\r\n\tby mx.example with esmtps (TLS1.2) tls X (Exim 4.97)",
            *("b.example", "", "192.0.2.1", "mx.example", "esmtps", "1.2"),
        ),
        (
            "from a.example (2001:db8::1) by mx.example (2001:db8::2) with Microsoft SMTP Server (version=TLS1_2, "
            "cipher=X) id 15.20.1; Sat, 21 Nov 2026 09:00:00 +0000",
            *("a.example", "", "2001:db8::1", "mx.example", "Microsoft SMTP Server", "1.2"),
        ),
        (
            "from a.example (a.example. [192.0.2.1]) by mx.google.com with SMTPS id x for <b@c.example> "
            "(Google Transport Security); Sat, 21 Nov 2026 02:00:00 -0800 (PST)",
            *("a.example", "a.example", "192.0.2.1", "mx.google.com", "SMTPS", "yes"),
        ),
        ("by 2002:a05:6359 with SMTP id x; Sat, 21 Nov 2026 02:00:00 -0800", "", "", None, "2002:a05:6359", "SMTP", ""),
        (
            "from [10.0.0.1] (unknown [IPv6:2001:db8::1]) by x with LMTP",
            "[10.0.0.1]",
            "",
            "2001:db8::1",
            "x",
            "LMTP",
            "",
        ),
        ("nonsense", "", "", None, "", "", ""),
    ],
)
def test_layouts(text: str, sender: str, rdns: str, address: str | None, by: str, protocol: str, tls: str) -> None:
    hop = read(text)
    assert (hop.sender, hop.rdns, hop.address, hop.by, hop.protocol, hop.tls) == (
        sender,
        rdns,
        address,
        by,
        protocol,
        tls,
    )


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("Sat, 21 Nov 2026 10:00:00 +0000", 1795255200.0),
        ("21 Nov 2026 11:30 +0130", 1795255200.0),
        ("Sat, 21 Nov 26 05:00:00 EST", 1795255200.0),
        ("Sat, 21 Nov 2026 10:00:00 (UTC)", 1795255200.0),
        ("Sat, 31 Feb 2026 10:00:00 +0000", None),
        ("Sat, 21 Foo 2026 10:00:00 +0000", None),
        ("99 Jan 0001 99:99:99 -9999", None),
        ("", None),
    ],
)
def test_dates(text: str, epoch: float | None) -> None:
    assert read_date(text) == epoch


def test_delays_from_the_oldest_up() -> None:
    block = "".join(f"Received: by x{n}; Sat, 21 Nov 2026 10:00:{n:02} +0000\r\n" for n in (9, 5, 5))
    assert [hop.delay for hop in read_hops(parse_header(block.encode()))] == [None, 0.0, 4.0]
