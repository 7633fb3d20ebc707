"""Received lines as five mail servers write them, and forgeries of each: never an address of the sender's choosing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.header import parse_header
from gateway.mail.received import Walked, walk
from gateway.mail.relay_formats import RelayFormat
from gateway.model.envelope import ip_text

CLIENT, CLIENT6, FORGED = "203.0.113.7", "2001:db8:7::1", "198.51.100.66"
PEER, INNER = "192.0.2.10", "192.0.2.20"
REST = "From: a@sender.example\r\nSubject: hello\r\n"
FORMATS: tuple[RelayFormat, ...] = get_args(RelayFormat)
BY = {
    "postfix": "relay.corp.example",
    "exim": "relay.corp.example",
    "exchange": "EXCH01.corp.example",
    "exchange-online": "BN8NAM11FT037.mail.protection.outlook.com",
    "google": "mx.google.com",
}


@dataclass(frozen=True, slots=True)
class Listed:
    name: str
    addresses: tuple[IPv4Network | IPv6Network, ...]
    by: tuple[str, ...]
    format: RelayFormat


def relays(format: RelayFormat) -> tuple[Listed, ...]:
    by = "*.mail.protection.outlook.com" if format == "exchange-online" else BY[format]
    return (
        Listed("outer", (ip_network(PEER),), (by,), format),
        Listed("inner", (ip_network(INNER),), ("inner.corp.example",), "postfix"),
    )


def _postfix(address: str, helo: str, by: str) -> str:
    tag = "IPv6:" if ":" in address and not address.startswith("IPv6:") else ""
    return (
        f"Received: from {helo} (out.sender.example [{tag}{address}])\r\n"
        f"\tby {by} (Postfix) with ESMTPS id 4Abc12XyZ\r\n"
        "\tfor <bob@corp.example>; Sat, 21 Nov 2026 21:10:00 +0100 (CET)\r\n"
    )


def _exim(address: str, helo: str, by: str) -> str:
    return (
        f"Received: from [{address}] (port=43210 helo={helo})\r\n"
        f"\tby {by} with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384\r\n\t(Exim 4.96)\r\n"
        "\t(envelope-from <a@sender.example>)\r\n\tid 1xUto3-0005ts-0K\r\n\tfor bob@corp.example;\r\n"
        "\tSat, 21 Nov 2026 22:43:39 +0000\r\n"
    )


def _exchange(address: str, helo: str, by: str) -> str:
    return (
        f"Received: from {helo} ({address}) by {by}\r\n (10.10.85.151) with Microsoft SMTP Server\r\n"
        " (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id\r\n"
        " 15.1.2507.58 via Frontend Transport; Sat, 21 Nov 2026 14:10:12 -0700\r\n"
    )


def _online(address: str, helo: str, by: str) -> str:
    return _exchange(address, helo, by).replace("15.1.2507.58", "15.20.8632.13")


def _google(address: str, helo: str, by: str) -> str:
    return (
        f"Received: from {helo} (out.sender.example. [{address}])\r\n"
        f"        by {by} with ESMTPS id d75a77b69052e-4ffa8e95dfdsi184437961cf.263.2026.11.21.12.31.33\r\n"
        "        for <bob@corp.example>\r\n"
        "        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n"
        "        Sat, 21 Nov 2026 12:31:34 -0800 (PST)\r\n"
    )


WRITERS: dict[str, Callable[[str, str, str], str]] = {
    "postfix": _postfix,
    "exim": _exim,
    "exchange": _exchange,
    "exchange-online": _online,
    "google": _google,
}


def line(format: RelayFormat, address: str = CLIENT, helo: str = "mail.sender.example", by: str = "") -> str:
    """A line as this server writes it."""
    return WRITERS[format](address, helo, by or BY[format])


def walked(format: RelayFormat, header: str, peer: str = PEER) -> Walked:
    return walk(parse_header(header.encode("utf-8", "surrogateescape")), relays(format), ip_text(peer))


@pytest.mark.parametrize("format", FORMATS)
def test_each_server_names_the_client(format: RelayFormat) -> None:
    found = walked(format, line(format) + line(format, FORGED) + REST)
    assert (found.client, found.helo, found.relays, found.reason) == (CLIENT, "mail.sender.example", ("outer",), "")
    assert walked(format, line(format, CLIENT6) + REST).client == CLIENT6
    # Only Postfix looks the name up in both directions in every one of these lines.
    assert found.rdns == ("out.sender.example" if format == "postfix" else "")


@pytest.mark.parametrize("format", FORMATS)
def test_a_listed_hop_is_walked_past(format: RelayFormat) -> None:
    header = line(format, INNER) + line("postfix", by="inner.corp.example") + line(format, FORGED) + REST
    assert walked(format, header) == Walked(
        ip_text(CLIENT), "mail.sender.example", "out.sender.example", ("outer", "inner"), ""
    )


@pytest.mark.parametrize("format", FORMATS)
def test_a_client_that_calls_itself_by_an_address_is_known_by_the_bracket(format: RelayFormat) -> None:
    assert walked(format, line(format, helo=f"[{FORGED}]") + REST).client == CLIENT


DATE = "Sat, 21 Nov 2026 22:43:39 +0000"
REAL_EXIM = {
    f"from [{CLIENT}] (helo=mail.sender.example ident=root)\r\n\tby relay.corp.example with esmtp (Exim 4.96)\r\n"
    f"\t(envelope-from <a@b.example>)\r\n\tid 1xUto3-0005ts-0K\r\n\tfor r@d.example;\r\n\t{DATE}": "",
    f"from [{CLIENT}]\r\n\tby relay.corp.example with smtp (Exim 4.96)\r\n\tid 1xUto3-0005v4-0r;\r\n\t{DATE}": "",
    f"from [{CLIENT}] (port=44285 helo=[{FORGED}])\r\n\tby relay.corp.example with esmtps  (TLS1.3) tls "
    f"TLS_AES_256_GCM_SHA384\r\n\t(Exim 4.96)\r\n\tid 1xUtrC-0006PP-38;\r\n\t{DATE}": "",
    f"from out.sender.example\r\n\t([{CLIENT}] helo=mail.sender.example ident=root)\r\n\tby relay.corp.example with "
    f"esmtp (Exim 4.96)\r\n\t(envelope-from <a@b.example>)\r\n\tid 1xUto3-0005uh-0h;\r\n\t{DATE}": "out.sender.example",
    f"from out.sender.example ([{CLIENT}]:4025)\r\n\tby relay.corp.example with esmtps (TLSv1.2:ECDHE-RSA-AES256-GCM-"
    f"SHA384:256)\r\n\t(Exim 4.92)\r\n\tid 1xUto3-0005uq-0k;\r\n\t{DATE}": "out.sender.example",
}


@pytest.mark.parametrize(("text", "rdns"), REAL_EXIM.items())
def test_lines_of_exim(text: str, rdns: str) -> None:
    found = walked("exim", f"Received: {text}\r\n" + REST)
    assert (found.client, found.rdns) == (CLIENT, rdns)


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("exchange", "from localhost (203.0.113.7) by exch01.corp.example (10.1.2.3) with\r\n Microsoft SMTP Server id "
                     "15.1.2507.35 via Frontend Transport; Wed, 28 Feb 2024 07:02:07 -0700"),
        ("exchange", "from [10.2.5.9] (203.0.113.7) by EXCH01.corp.example (2001:db8:1::1) with Microsoft SMTP\r\n "
                     "Server (TLS) id 14.3.123.3; Wed, 8 Feb 2017 07:02:07 -0700"),
        ("google", "from h.example ([203.0.113.7])\r\n        by mx.google.com with SMTP id l19sm73.9.2008.05.12;\r\n"
                   "        Mon, 12 May 2008 22:08:21 -0700 (PDT)"),
    ],
)  # fmt: skip
def test_other_lines_that_are_met(format: RelayFormat, text: str) -> None:
    assert walked(format, f"Received: {text}\r\n" + REST).client == CLIENT


@pytest.mark.parametrize("text", [
    "from AA.eurprd03.prod.outlook.com ([fe80::a639:7140]) by BB.mail.protection.outlook.com\r\n ([fe80::a639:7140%7])"
    " with mapi id 15.20.7202.031; Tue, 23 Jan 2024 15:59:15 +0000",
    "from AA.outlook.com (203.0.113.7) by BB.mail.protection.outlook.com with HTTPS; Tue, 23 Jan 2024 15:59:15 +0000",
])  # fmt: skip
def test_what_a_program_handed_to_exchange_names_no_client(text: str) -> None:
    assert walked("exchange-online", f"Received: {text}\r\n" + REST).client is None


Forge = Callable[[RelayFormat], str]
FORGERIES: dict[str, Forge] = {
    # a hostile HELO
    "helo closes the bracket": lambda f: line(f, helo=f"x ({FORGED} [{FORGED}])"),
    "helo closes the parenthesis": lambda f: line(f, helo=f"x) by {BY[f]} ({FORGED}"),
    "helo is a from clause": lambda f: line(f, helo=f"{FORGED} (good.example [{FORGED}]) by {BY[f]}"),
    "helo holds a parenthesis": lambda f: line(f, helo=f"x({FORGED})"),
    "helo opens a comment": lambda f: line(f, helo="x(("),
    "helo holds a quote": lambda f: line(f, helo=f'"[{FORGED}]"'),
    "helo holds a semicolon": lambda f: line(f, helo="x;y"),
    "helo holds a tab": lambda f: line(f, helo=f"x\t[{FORGED}]"),
    "helo holds a line break": lambda f: line(f, helo=f"x\r\n [{FORGED}]"),
    "helo holds a bare newline": lambda f: line(f, helo=f"x\n [{FORGED}]"),
    "helo holds a NUL": lambda f: line(f, helo="x\0y"),
    "helo is empty": lambda f: line(f, helo=""),
    "helo is an encoded word": lambda f: line(f, helo=f"=?utf-8?q?x_=28{FORGED}=29?= ({FORGED})"),
    "helo is unicode": lambda f: line(f, helo="b\u00fccher.example"),
    "helo holds fullwidth brackets": lambda f: line(f, helo=f"\uff3b{FORGED}\uff3d"),
    "helo holds a no-break space": lambda f: line(f, helo=f"x\u00a0({FORGED})"),
    "helo reorders text": lambda f: line(f, helo="x\u202e66.001.15.891"),
    "helo is no utf-8": lambda f: line(f, helo="x\udcff"),
    "helo is far too long": lambda f: line(f, helo="a" * 5000),
    # folded and commented lines
    "folded inside from": lambda f: line(f).replace("from mail", "from\r\n\tmail").replace("from [", "from\r\n\t["),
    "folded by two": lambda f: line(f).replace("\r\n", "\r\n  ", 1),
    "an empty folded line": lambda f: line(f).replace("\r\n", "\r\n \r\n", 1),
    "comment before by": lambda f: line(f).replace(f"by {BY[f]}", f"(via [{FORGED}]) by {BY[f]}"),
    "comment after by": lambda f: line(f).replace(f"by {BY[f]}", f"by (really) {BY[f]}"),
    "comment at the end": lambda f: line(f).removesuffix("\r\n") + f" (from [{FORGED}])\r\n",
    "comment ahead": lambda f: line(f).replace("Received: from", f"Received: (x [{FORGED}]) from"),
    "by twice": lambda f: line(f).replace(f"by {BY[f]}", f"by evil.example by {BY[f]}"),
    "from twice": lambda f: line(f).replace("Received: from", f"Received: from x ([{FORGED}]) from"),
    "brackets twice": lambda f: line(f).replace(CLIENT, f"{FORGED}] [{CLIENT}"),
    "parentheses twice": lambda f: line(f).replace(CLIENT, f"{FORGED}) ({CLIENT}"),
    "bracket in bracket": lambda f: line(f).replace(CLIENT, f"[{FORGED}]"),
    "a bare newline inside": lambda f: line(f).replace("\r\n", "\n", 1),
    "cut off": lambda f: line(f).removesuffix("\r\n"),
    "no date": lambda f: line(f).rpartition(";")[0] + ";\r\n",
    "two spaces after the colon": lambda f: line(f).replace("Received: from", "Received:  from"),
    "no space after the colon": lambda f: line(f).replace("Received: from", "Received:from"),
    "space before the colon": lambda f: line(f).replace("Received:", "Received :"),
    "name in lower case": lambda f: line(f).replace("Received:", "received:"),
    "name in upper case": lambda f: line(f).replace("Received:", "RECEIVED:"),
    # the writer of the line
    "by another host": lambda f: line(f, by="evil.example"),
    "by a host below": lambda f: line(f, by=f"{BY[f]}.evil.example"),
    "by a host that ends alike": lambda f: line(f, by=f"evil{BY[f].rpartition('.')[2]}"),
    "by the parent": lambda f: line(f, by=BY[f].partition(".")[2]),
    "by the inner relay": lambda f: line(f, by="inner.corp.example"),
    "layout of another server": lambda f: line("google" if f != "google" else "exim", by=BY[f]),
    "junk above": lambda f: f" by {BY[f]} [{FORGED}]\r\n" + line(f),
    "a field of another name": lambda f: "X-" + line(f),
    # texts that are not addresses, or not in this server's form
    "leading zeros": lambda f: line(f, "203.0.113.007"),
    "short form": lambda f: line(f, "203.0.113"),
    "a number": lambda f: line(f, "3405803783"),
    "hexadecimal": lambda f: line(f, "0xcb007107"),
    "a zone": lambda f: line(f, "fe80::1%eth0"),
    "a zone on a global address": lambda f: line(f, f"{CLIENT6}%7"),
    "link local": lambda f: line(f, "fe80::1"),
    "unspecified": lambda f: line(f, "0.0.0.0"),
    "multicast": lambda f: line(f, "224.0.0.1"),
    "loopback": lambda f: line(f, "127.0.0.1"),
    "loopback, six": lambda f: line(f, "::1"),
    "mapped loopback": lambda f: line(f, "::ffff:127.0.0.1"),
    "the tag of six on four": lambda f: line(f, f"IPv6:{CLIENT}"),
    "a prefix length": lambda f: line(f, f"{CLIENT}/32"),
    "unknown": lambda f: line(f, "unknown"),
    "unicode digits": lambda f: line(f, "\u0661\u0662.0.113.7"),
    # chains
    "a hop that adds no line": lambda f: line(f, INNER),
    "a hop that adds no line, above another": lambda f: line(f, INNER) + line("postfix", FORGED, by="evil.example"),
    "a mapped hop that adds no line": lambda f: line(f, f"::ffff:{INNER}"),
    "a hop whose line is another's layout": lambda f: line(f, INNER) + line("exim", FORGED, by="inner.corp.example"),
}  # fmt: skip
LINELESS = {name for name in FORGERIES if "adds no line" in name or name == "a field of another name"}
"""Here the line below would rightly be read as the relay's own: these are about its absence."""


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_never_names_the_client(name: str, format: RelayFormat) -> None:
    """Any doubt ends the walk: no client is better than a wrong one. A genuine-looking line below, with the address
    that the forger wants, is never reached."""
    below = "" if name in LINELESS else line(format, FORGED)
    found = walked(format, FORGERIES[name](format) + below + REST)
    assert found.client is None
    assert found.reason


@pytest.mark.parametrize("format", FORMATS)
def test_a_mapped_client_is_the_four(format: RelayFormat) -> None:
    assert walked(format, line(format, f"::ffff:{CLIENT}") + REST).client == CLIENT


@pytest.mark.parametrize("format", FORMATS)
def test_the_tcp_peer_decides_whose_line_is_read(format: RelayFormat) -> None:
    """A perfect line from an unlisted machine proves nothing."""
    found = walked(format, line(format, FORGED) + REST, "198.51.100.1")
    assert found.client is None


@pytest.mark.parametrize(("format", "other"), [("exchange", "exchange-online"), ("exchange-online", "exchange")])
def test_the_service_and_the_server_are_told_apart(format: RelayFormat, other: RelayFormat) -> None:
    assert walked(format, line(other, by=BY[format]) + REST).client is None


def test_a_wildcard_does_not_match_its_own_name() -> None:
    assert walked("exchange-online", line("exchange-online", by="mail.protection.outlook.com") + REST).client is None


@pytest.mark.parametrize("ident", ["id) ([198.51.100.66]", "x helo=y", "[198.51.100.66]", "a\tb", "x)"])
def test_an_ident_answer_carries_nothing(ident: str) -> None:
    """Exim writes the text of the client's own ident server unchanged."""
    text = line("exim").replace("helo=mail.sender.example", f"helo=mail.sender.example ident={ident}")
    assert walked("exim", text + REST).client is None


@pytest.mark.parametrize("sender", ['"x>) id 1"@b.example', "a@b>)\r\n\tid [198.51.100.66] (<x", "a b@c.example"])
def test_an_envelope_address_carries_nothing(sender: str) -> None:
    text = line("exim").replace("<a@sender.example>", f"<{sender}>")
    assert walked("exim", text + REST).client is None


@given(st.text(max_size=300), st.sampled_from(FORMATS), st.binary(max_size=100))
def test_no_helo_moves_the_walk(helo: str, format: RelayFormat, above: bytes) -> None:
    """Invariant: the client is the one that the relay itself wrote down, or none."""
    octets = line(format, helo=helo).encode("utf-8", "surrogatepass")
    header = parse_header(octets + line(format, FORGED).encode() + REST.encode())
    assert walk(header, relays(format), ip_text(PEER)).client in (CLIENT, None)
    walk(parse_header(above + octets), relays(format), ip_text(PEER))


@given(st.data(), st.sampled_from(FORMATS))
def test_no_cut_of_a_line_yields_an_address_it_does_not_hold(data: st.DataObject, format: RelayFormat) -> None:
    text = line(format, helo=f"[{FORGED}]")
    start = data.draw(st.integers(10, len(text) - 2))
    end = data.draw(st.integers(start, len(text) - 2))
    found = walked(format, text[:start] + text[end:] + REST)
    assert found.client is None or f"helo=[{found.client}" not in text[:start] + text[end:]
    assert found.client != FORGED


def test_hostile_lines_cost_little() -> None:
    for format in FORMATS:
        near = line(format).removesuffix("\r\n") + " !\r\n"
        long = near.replace("mail.sender", ("a." * 120) + "x").replace("bob@", "b" * 250 + "@")
        for _ in range(200):
            assert walked(format, long + REST).client is None
