"""The lines of forwarders: the Received lines of eleven mail servers for seven kinds of sender.

A message of a domain that publishes p=reject and has SPF alone is forwarded with each line on top. Under none of these
servers may it be refused; and a message with nothing but such a line is never accepted unmarked.
"""

from __future__ import annotations

import pytest

from gateway.model.decision import Action
from gateway.model.history import History
from tests.support.judging_context import House
from tests.support.samples import plain

DATE, FORWARDER, NAME = "Mon, 21 Sep 2026 13:00:00 +0000", "203.0.113.30", "mx.alumni.example"
SENDERS = {
    # kind of sender: HELO, name in DNS or nothing, address
    "a name": ("mx.partner.example", "mx.partner.example", "192.0.2.10"),
    "no name in DNS": ("mx.partner.example", "", "192.0.2.10"),
    "another name in DNS": ("mail", "static-10.isp.example", "192.0.2.10"),
    "HELO is a literal": ("[192.0.2.10]", "", "192.0.2.10"),
    "HELO is one label": ("SRV01", "", "192.0.2.10"),
    "HELO is localhost": ("localhost.localdomain", "", "192.0.2.10"),
    "IPv6": ("mx.partner.example", "", "2001:db8:7::25"),
}


def postfix(helo: str, name: str, address: str) -> str:
    literal = f"IPv6:{address}" if ":" in address else address
    return (
        f"from {helo} ({name or 'unknown'} [{literal}])\r\n"
        "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
        f"\tby {NAME} (Postfix) with ESMTPS id 4XYZ01\r\n\tfor <b@alumni.example>; {DATE} (UTC)"
    )


def sendmail(helo: str, name: str, address: str) -> str:
    literal = f"IPv6:{address}" if ":" in address else address
    seen = f"{name} [{literal}]" if name else f"[{literal}] (may be forged)"
    return f"from {helo} ({seen})\r\n\tby {NAME} (8.18.1/8.18.1) with ESMTP id 48LD01ab\r\n\tfor <b@a.example>; {DATE}"


def exim(helo: str, name: str, address: str) -> str:
    begin = f"from {name} ([{address}]:41234" if name else f"from [{address}] (port=41234"
    said = "" if helo == name else f" helo={helo}"
    return (
        f"{begin}{said})\r\n\tby {NAME} with esmtps (TLS1.3)\r\n\t(Exim 4.98)\r\n\tid 1tAbCd-000000001Ab-2Xyz; {DATE}"
    )


def qmail(helo: str, name: str, address: str) -> str:
    said = "" if helo == name else f" (HELO {helo})"
    return f"from {name or 'unknown'}{said} ({address})\r\n  by {NAME} with ESMTPS; 21 Sep 2026 13:00:00 -0000"


def exchange(helo: str, name: str, address: str) -> str:
    return (
        f"from {helo} ({address}) by\r\n EX01.alumni.example (10.0.0.5) with Microsoft SMTP Server\r\n (version=TLS1_2,"
        f" cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.2.1258.34; {DATE}"
    )


def google(helo: str, name: str, address: str) -> str:
    seen = f"{name}. [{address}]" if name else f"[{address}]"
    return (
        f"from {helo} ({seen})\r\n        by mx.google.com with ESMTPS id a1-2.3\r\n        for <b@a.example>; {DATE}"
    )


def courier(helo: str, name: str, address: str) -> str:
    mapped = address if ":" in address else f"::ffff:{address}"
    seen = f"{name} [{mapped}]" if name else f"[{mapped}]"
    return f"from {helo} ({seen})\r\n  (TLS: TLSv1.3,256bits)\r\n  by {NAME} with ESMTPS; {DATE}\r\n  id 0001.0002"


def hmailserver(helo: str, name: str, address: str) -> str:
    seen = f"{name} [{address}]" if name else f"[{address}]"
    return f"from {helo} ({seen})\r\n\tby {NAME} with ESMTPS (version=TLSv1.2)\r\n\t; {DATE}"


def mdaemon(helo: str, name: str, address: str) -> str:
    seen = f"{name} [{address}]" if name else f"[{address}]"
    return (
        f"from {helo} ({seen})\r\n\tby {NAME} (MDaemon PRO v24) with ESMTPS id md1.msg\r\n\tfor <b@a.example>; {DATE}"
    )


def haraka(helo: str, name: str, address: str) -> str:
    return (
        f"from {helo} ({name or 'Unknown'} [{address}])\r\n\tby {NAME} (Haraka/3.0.5) with ESMTPS id 0A1B.1\r\n"
        f"\tenvelope-from <ann@partner.example>\r\n\ttls TLS_AES_256_GCM_SHA384;\r\n\t{DATE}"
    )


def zimbra(helo: str, name: str, address: str) -> str:
    inner = f"from localhost (localhost [127.0.0.1])\r\n\tby {NAME} (Postfix) with ESMTP id 2;\r\n\t{DATE} (UTC)"
    scan = f"from {NAME} ([127.0.0.1])\r\n by localhost ({NAME} [127.0.0.1]) (amavis)\r\n with ESMTP id 3; {DATE}"
    return f"{inner}\r\nReceived: {scan}\r\nReceived: {postfix(helo, name, address)}"


SERVERS = (postfix, sendmail, exim, qmail, exchange, google, courier, hmailserver, mdaemon, haraka, zimbra)
CASES = [
    pytest.param(write, kind, id=f"{write.__name__}-{kind}") for write in SERVERS for kind in SENDERS
]  # fmt: skip
ZONE = {
    "partner.example": {"TXT": ["v=spf1 ip4:192.0.2.10 ip6:2001:db8:7::25 -all"], "MX": ["10 mx.partner.example"]},
    "mx.partner.example": {"A": ["192.0.2.10"]},
    "_dmarc.partner.example": {"TXT": ["v=DMARC1; p=reject"]},
    "alumni.example": {"TXT": [f"v=spf1 ip4:{FORWARDER} -all"], "MX": [f"10 {NAME}"]},
    "evil.example": {"TXT": ["v=spf1 ip4:198.51.100.66 -all"], "MX": ["10 mx.evil.example"]},
}


def message(line: str) -> bytes:
    return f"Received: {line}\r\n".encode() + plain("ann@partner.example")


def test_there_are_as_many_layouts_as_there_should_be() -> None:
    assert len(CASES) == 77


@pytest.mark.parametrize("path", ["ann@partner.example", "SRS0=a=b=partner.example=ann@alumni.example"])
@pytest.mark.parametrize(("write", "kind"), CASES)
async def test_no_honest_forwarder_is_refused(write: object, kind: str, path: str) -> None:
    assert callable(write)
    trace = await House(zone=ZONE, client=FORWARDER).send(message(write(*SENDERS[kind])), path)
    assert trace.decision.action is Action.QUARANTINE
    assert [finding.name for finding in trace.decision.findings] == ["earlier-hop"]


@pytest.mark.parametrize(("write", "kind"), CASES)
async def test_a_forged_line_never_lets_in(write: object, kind: str) -> None:
    assert callable(write)
    octets = message(write(*SENDERS[kind]))
    trace = await House(zone=ZONE, client="198.51.100.66").send(octets, "x@evil.example")
    assert trace.decision.action is Action.QUARANTINE
    # When mail of the author's domain is known to pass, and none of this client's, the line does not help at all.
    house = House(zone=ZONE, client="198.51.100.66")
    house.spool.reader.recall = _remember  # type: ignore[method-assign]
    assert (await house.send(octets, "x@evil.example")).decision.grounds == ("strange-source",)


async def _remember(domain: str, source: str, names: object = ()) -> History:
    return History(author_passes=50)
