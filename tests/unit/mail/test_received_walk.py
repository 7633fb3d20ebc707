"""The walk back to the true client: no line of a stranger can change its result."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.header import parse_header
from gateway.mail.received import Walked, walk
from gateway.mail.relay_formats import RelayFormat
from gateway.model.envelope import IPText, ip_text


@dataclass(frozen=True, slots=True)
class Listed:
    name: str
    addresses: tuple[IPv4Network | IPv6Network, ...]
    by: tuple[str, ...]
    format: RelayFormat = "postfix"


OUTER = Listed("outer", (ip_network("192.0.2.10/32"),), ("relay.corp.example",))
INNER = Listed("inner", (ip_network("192.0.2.20/32"), ip_network("2001:db8:20::/64")), ("inner.corp.example",))
RELAYS = (OUTER, INNER)
PEER = IPText("192.0.2.10")

DATE = "Sat, 21 Nov 2026 21:10:00 +0100 (CET)"


def hop(
    helo: str = "mail.sender.example",
    name: str = "out.sender.example",
    address: str = "203.0.113.7",
    by: str = "relay.corp.example",
) -> str:
    """A line as Postfix writes it."""
    return (
        f"Received: from {helo} ({name} [{address}])\r\n"
        f"\tby {by} (Postfix) with ESMTPS id 4Abc12XyZ\r\n\tfor <bob@corp.example>; {DATE}\r\n"
    )


REST = "From: a@sender.example\r\nSubject: hello\r\n"


def walked(header: str, peer: str = PEER, relays: tuple[Listed, ...] = RELAYS) -> Walked:
    return walk(parse_header(header.encode("utf-8", "surrogateescape")), relays, ip_text(peer))


def test_one_hop() -> None:
    assert walked(hop() + REST) == Walked(
        IPText("203.0.113.7"), "mail.sender.example", "out.sender.example", ("outer",), ""
    )


TLS_LINES = (
    "Received: from mail.sender.example (unknown [IPv6:2001:db8:7::1])\r\n"
    "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n"
    "\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n"
    '\t(Client CN "mail.sender.example", Issuer "R11" (verified OK))\r\n'
    "\t(Authenticated sender: someone)\r\n"
    "\tby relay.corp.example (Postfix) with ESMTPSA id 4Abc12XyZ;\r\n"
    f"\t{DATE}\r\n"
)


@pytest.mark.parametrize(
    "line",
    [
        TLS_LINES,
        TLS_LINES.replace(
            'Client CN "mail.sender.example", Issuer "R11" (verified OK)', "No client certificate requested"
        ),
        TLS_LINES.replace("\t(Authenticated sender: someone)\r\n", "").replace("ESMTPSA", "ESMTPS"),
        TLS_LINES.replace(" (CET)", "").replace("Sat, ", ""),
    ],
)
def test_lines_with_tls(line: str) -> None:
    found = walked(line + REST)
    assert (found.client, found.rdns, found.helo) == ("2001:db8:7::1", "", "mail.sender.example")


def test_listed_hops_are_walked_past() -> None:
    header = hop("inner", "inner.corp.example", "192.0.2.20") + hop(by="inner.corp.example")
    assert walked(header + REST) == Walked(
        IPText("203.0.113.7"), "mail.sender.example", "out.sender.example", ("outer", "inner"), ""
    )


def test_a_listed_hop_in_mapped_form_is_walked_past() -> None:
    header = hop("inner", "unknown", "IPv6:::ffff:192.0.2.20") + hop(by="inner.corp.example")
    assert walked(header + REST).client == "203.0.113.7"


def test_a_mapped_client_is_unwrapped() -> None:
    assert walked(hop(address="IPv6:::ffff:203.0.113.9") + REST).client == "203.0.113.9"


def test_fields_that_a_relay_puts_above_its_line_do_not_matter() -> None:
    assert walked("X-Virus-Scanned: by relay\r\n" + hop() + REST).client == "203.0.113.7"


def test_by_is_compared_without_case() -> None:
    assert walked(hop(by="RELAY.Corp.example") + REST).client == "203.0.113.7"


def test_loopback_on_one_machine() -> None:
    """Relay and gateway are on one host: its loopback addresses then distinguish clients."""
    here = Listed("here", (ip_network("127.0.0.1/32"),), ("relay.corp.example",))
    assert walked(hop(address="127.0.0.2") + REST, "127.0.0.1", (here,)).client == "127.0.0.2"


def test_a_client_that_says_helo_as_a_literal_is_known_by_its_bracket() -> None:
    found = walked(hop(helo="[198.51.100.66]") + REST)
    assert (found.client, found.helo) == ("203.0.113.7", "[198.51.100.66]")


FORGED = "198.51.100.66"
"""The address that a forger wants to appear as the client."""

FORGERIES = {
    # a hostile HELO: the relay's own line, made to look like another
    "helo closes the bracket": hop(helo=f"x ({FORGED} [{FORGED}])"),
    "helo is a whole from clause": hop(helo=f"{FORGED} (good.example [{FORGED}]) by relay.corp.example"),
    "helo holds a parenthesis": hop(helo=f"x({FORGED})"),
    "helo opens a comment": hop(helo="x(("),
    "helo is quoted": hop(helo=f'"[{FORGED}]"'),
    "helo holds a semicolon": hop(helo="x;y"),
    "helo holds an at sign": hop(helo=f"a@[{FORGED}]"),
    "helo holds a tab": hop(helo=f"x\t[{FORGED}]"),
    "helo holds non-ascii space": hop(helo=f"x\u00a0({FORGED})"),
    "helo is empty": hop(helo=""),
    "helo is far too long": hop(helo="a" * 3000),
    # lines that use folds or comments
    "folded inside from": hop().replace(" (out", "\r\n\t(out"),
    "folded with a space": hop().replace("\r\n\tby", "\r\n by"),
    "comment before the bracket": hop().replace(" (out", f" (via [{FORGED}]) (out"),
    "comment inside the clause": hop().replace("[203.0.113.7]", f"[{FORGED}] (was [203.0.113.7])"),
    "nested comment": hop().replace("(out.sender.example", "(out (sender) example"),
    "comment between by and host": hop().replace("\tby relay", "\tby (really) relay"),
    "by twice": hop().replace("\tby relay", "\tby evil.example (Postfix) with SMTP id 1\r\n\tby relay"),
    "from twice": hop().replace(" from mail", f" from x (y [{FORGED}])\r\n\tfrom mail"),
    "leading white space doubled": hop().replace("Received: from", "Received:  from"),
    "no space after the colon": hop().replace("Received: from", "Received:from"),
    "space before the colon": hop().replace("Received: from", "Received : from"),
    "name in other case": hop().replace("Received:", "RECEIVED:"),
    "trailing text": hop().replace(" (CET)", f" (CET) from [{FORGED}]"),
    "no date": hop().replace(DATE, ""),
    "no id": hop().replace(" id 4Abc12XyZ", ""),
    "bare newline inside": hop().replace("\r\n\tby", "\n\tby"),
    "cut off": hop().removesuffix("\r\n"),
    # lines of other software
    "sendmail layout": hop().replace(" (Postfix) with ESMTPS", " (8.17/8.17) with ESMTPS"),
    "exim layout": f"Received: from [{FORGED}] (helo=x)\r\n\tby relay.corp.example with esmtp id 1\r\n; {DATE}\r\n",
    "pickup line": f"Received: by relay.corp.example (Postfix, from userid 0)\r\n\tid 4Abc12XyZ; {DATE}\r\n",
    "another host's line": hop(by="relay.corp.example.evil.example"),
    "a listed hop's name in the wrong place": hop(by="inner.corp.example"),
    "junk above": f"\tby relay.corp.example [{FORGED}]\r\n" + hop(),
    # texts that are not addresses
    "unknown": hop(address="unknown"),
    "leading zeros": hop(address="203.0.113.007"),
    "short form": hop(address="203.0.113"),
    "number": hop(address="3405803783"),
    "six without its tag": hop(address="2001:db8:7::1"),
    "four with the tag of six": hop(address="IPv6:203.0.113.7"),
    "zone": hop(address="IPv6:fe80::1%eth0"),
    "link local": hop(address="IPv6:fe80::1"),
    "unspecified": hop(address="0.0.0.0"),
    "multicast": hop(address="224.0.0.1"),
    "loopback of the relay": hop(address="127.0.0.1"),
    "mapped loopback": hop(address="IPv6:::ffff:127.0.0.1"),
    # chains
    "hop that adds no line": hop("inner", "inner.corp.example", "192.0.2.20"),
    "hop that adds no line, with a forged one": hop("inner", "x", "192.0.2.20")
    + hop(address=FORGED, by="evil.example"),
    "no line at all": "",
    "only another field of the name": "X-Received: " + hop().removeprefix("Received: "),
}

LINELESS = {"hop that adds no line", "no line at all", "only another field of the name"}
"""Here the topmost Received line would itself be the relay's: these cases are about its absence."""


@pytest.mark.parametrize("name", FORGERIES)
def test_doubt_ends_the_walk(name: str) -> None:
    """With any doubt the client is unknown, and a genuine-looking line further down is never reached."""
    below = hop(address=FORGED) if name not in LINELESS else ""
    found = walked(FORGERIES[name] + below + REST)
    assert found.client is None
    assert found.reason


def test_lines_below_the_first_stranger_are_never_read() -> None:
    header = hop() + hop(address=FORGED) + hop(address=FORGED, by="inner.corp.example")
    assert walked(header + REST).client == "203.0.113.7"


def test_a_certificate_name_cannot_carry_a_line() -> None:
    line = TLS_LINES.replace('CN "mail.sender.example"', f'CN "x) by relay.corp.example [{FORGED}] (y"')
    assert walked(line + REST).client == "2001:db8:7::1"


def test_an_unlisted_peer_has_no_walk() -> None:
    assert walked(hop() + REST, "192.0.2.11").client is None


def test_a_ring_of_relays_ends() -> None:
    ring = hop("outer", "x", "192.0.2.10") * 40
    found = walked(ring + REST)
    assert found.client is None
    assert "more than 10" in found.reason


def test_hostile_lines_cost_little() -> None:
    """Bounded work: a megabyte of near misses is refused by its size, without a match."""
    line = "Received: from " + "(" * 500_000 + "[1.2.3.4]" * 50_000 + "\r\n"
    assert walked(line + REST).client is None
    nearly = TLS_LINES.replace("X25519", "X" * 190).replace("someone", "s" * 290).replace("Postfix", "Postfi")
    assert walked(nearly + REST).client is None


@given(st.text(max_size=300), st.sampled_from(["203.0.113.7", FORGED]), st.binary(max_size=200))
def test_no_helo_moves_the_walk(helo: str, below: str, above: bytes) -> None:
    """Invariant: the client found is the one in the bracket of the relay's own line, or none."""
    line = hop(helo=helo).encode("utf-8", "surrogatepass")
    header = parse_header(line + hop(address=below).encode() + REST.encode())
    assert walk(header, RELAYS, PEER).client in ("203.0.113.7", None)
    walk(parse_header(above + line), RELAYS, PEER)


@given(st.data())
def test_no_edit_of_a_line_yields_another_address_of_ours(data: st.DataObject) -> None:
    """Invariant: a genuine line with any part cut out is read as it stands or not at all."""
    line = hop()
    start = data.draw(st.integers(10, len(line) - 2))
    end = data.draw(st.integers(start, len(line) - 2))
    found = walked(line[:start] + line[end:] + REST)
    if found.client is not None:
        assert f" [{found.client}])\r\n\tby relay.corp.example (Postfix) with " in line[:start] + line[end:]
