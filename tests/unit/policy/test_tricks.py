"""The fields that a forger can write without effort. Each trick is put alone on a forged message of a domain that
publishes p=reject and signs; all that it should earn is 550. docs/policy.md gives the price of those that earn more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.model.decision import Action
from gateway.model.value import Value
from tests.support.judging_context import House
from tests.support.samples import plain, sign, signing_key

VICTIM, FORGER = "ceo@victim.example", "198.51.100.66"
ZONE = {
    "victim.example": {"TXT": ["v=spf1 ip4:192.0.2.10 -all"], "MX": ["10 mx.victim.example"], "A": ["192.0.2.10"]},
    "_dmarc.victim.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.victim.example": {"TXT": [signing_key()[1]]},
    "gone._domainkey.victim.example": {"TXT": ["v=DKIM1; p="]},
    "evil.example": {"TXT": [f"v=spf1 ip4:{FORGER} -all"], "MX": ["10 mx.evil.example"], "A": [FORGER]},
    "sel1._domainkey.evil.example": {"TXT": [signing_key()[1]]},
    "other.example": {"TXT": [f"v=spf1 ip4:{FORGER} -all"], "MX": ["10 mx.other.example"], "A": [FORGER]},
    "sel1._domainkey.other.example": {"TXT": [signing_key()[1]]},
}
FORGED = plain(VICTIM)
B64 = "QUFB" * 86


class Trick(Value):
    """The forged fields, and their place."""

    header: str = ""
    change: Callable[[bytes], bytes] = lambda octets: octets
    sender: str = "x@evil.example"


def signature(**tags: str) -> str:
    written = {"v": "1", "a": "rsa-sha256", "d": "victim.example", "s": "sel9", "h": "from:to", "bh": B64[:43] + "="}
    written |= {"b": B64, **tags}
    return "DKIM-Signature: " + "; ".join(f"{name}={value}" for name, value in written.items())


CHEAP = {
    "nothing at all": Trick(),
    "a signature whose key does not exist": Trick(signature()),
    "a signature whose key is withdrawn": Trick(signature(s="gone")),
    "a signature without b=": Trick(signature(s="sel1", b="")),
    "a signature without h=": Trick("DKIM-Signature: v=1; a=rsa-sha256; d=victim.example; s=sel1; bh=AAAA; b=AAAA"),
    "a signature that leaves From out": Trick(signature(s="sel1", h="to:subject")),
    "a signature of another algorithm": Trick(signature(s="sel1", a="rsa-md5")),
    "a signature that has expired": Trick(signature(s="sel1", t="1", x="2")),
    "a signature field of 70 kB": Trick(signature(s="sel1", z="x" * 70_000)),
    "a signature of a domain below": Trick(signature(d="mail.victim.example")),
    "nine signatures without keys": Trick("\r\n".join(signature(s=f"n{number}") for number in range(9))),
    "a bare ARC-Seal": Trick("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=google.com; s=x; t=1; b=AAAA"),
    "an ARC set of others": Trick(
        f"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=victim.example; s=sel1; t=1; b={B64}\r\n"
        f"ARC-Message-Signature: i=1; a=rsa-sha256; d=victim.example; s=sel1; h=from; bh={B64[:43]}=; b={B64}\r\n"
        "ARC-Authentication-Results: i=1; mx.google.com; dmarc=pass header.from=victim.example"
    ),
    "a hop of names": Trick("Received: from mx.victim.example by mx.other.example with ESMTP id 1; now"),
    "a hop in a private network": Trick("Received: from x (mx.victim.example [10.0.0.9]) by mx.other.example; now"),
    "a hop beside the client": Trick("Received: from x (mx.victim.example [198.51.100.7]) by mx.other.example; now"),
    "a hop of somebody who logged in": Trick("Received: from x ([192.0.2.10]) by mx.other.example with ESMTPSA; now"),
    "a hop that only HELO names": Trick("Received: from x (HELO [192.0.2.10]) (10.0.0.9) by mx.other.example; now"),
    "Precedence: list": Trick("Precedence: list"),
    "a List-Id": Trick("List-Id: <news.victim.example>\r\nList-Post: <mailto:news@victim.example>"),
    "a List-Id of the forger's own domain": Trick("List-Id: <news.evil.example>"),
    "all list fields": Trick(
        "List-Id: <a.lists.example>\r\nX-BeenThere: a@lists.example\r\nX-Mailman-Version: 2.1\r\nMailing-List: x"
    ),
    "a null sender": Trick(sender=""),
    "a null sender, multipart/report": Trick("Content-Type: multipart/report; boundary=b", sender=""),
    "a null sender, a bounce's type": Trick(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b", sender=""
    ),
    "a null sender, a bounce's subject": Trick(
        change=lambda octets: octets.replace(b"Subject: Plain", b"Subject: Undelivered mail"), sender=""
    ),
    "a daemon's name beside the address": Trick(
        change=lambda octets: octets.replace(b"From: <", b'From: "MAILER-DAEMON@victim.example" <'),
        header="Content-Type: multipart/report; report-type=delivery-status; boundary=b",
        sender="",
    ),
    "the victim in Sender": Trick("Sender: ceo@victim.example"),
    "the forger in Sender": Trick("Sender: x@evil.example"),
    "the forger in Sender, signed by another": Trick(
        "Sender: x@evil.example", change=lambda octets: sign(octets, "other.example")
    ),
    "a Sender that signs, and MAIL FROM of another": Trick(
        "Sender: x@evil.example", change=lambda octets: sign(octets, "evil.example"), sender="x@other.example"
    ),
    "two addresses in Sender, one of which signs": Trick(
        "Sender: x@evil.example, ceo@victim.example", change=lambda octets: sign(octets, "evil.example")
    ),
    "the victim in Resent-From": Trick("Resent-From: ceo@victim.example"),
    "results of others": Trick("Authentication-Results: mx.victim.example; dmarc=pass header.from=victim.example"),
    "MAIL FROM of the victim": Trick(sender=VICTIM),
    "MAIL FROM rewritten": Trick(sender="SRS0=a=b=victim.example=ceo@evil.example"),
    "a signature of the forger's own": Trick(change=lambda octets: sign(octets, "evil.example")),
}
PRICED = {
    "a hop with a public address": Trick("Received: from x (mx.victim.example [192.0.2.10]) by mx.other.example; now"),
    "a selector of the victim's": Trick(signature(s="sel1")),
    "a signature of a real message": Trick(change=lambda octets: sign(octets, "victim.example") + b"Pay here.\r\n"),
    "a list that signs": Trick(
        change=lambda octets: sign(b"List-Id: <news.evil.example>\r\n" + octets, "evil.example")
    ),
    "a Sender that signs": Trick(
        change=lambda octets: sign(b"Sender: x@evil.example\r\n" + octets, "evil.example", fields=[b"from", b"sender"])
    ),
    "an automatic answer": Trick("Auto-Submitted: auto-replied", sender=""),
    "a read receipt": Trick(
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b", sender=""
    ),
    "a bounce of a mail daemon": Trick(
        change=lambda octets: octets.replace(VICTIM.encode(), b"mailer-daemon@victim.example"), sender=""
    ),
}


async def judge(trick: Trick, house: House | None = None) -> Action:
    house = house or House(zone=ZONE, client=FORGER)
    octets = trick.change(FORGED)
    octets = (trick.header + "\r\n" if trick.header else "").encode() + octets
    return (await house.send(octets, trick.sender)).decision.action


@pytest.mark.parametrize("name", CHEAP)
async def test_a_cheap_trick_earns_nothing(name: str) -> None:
    assert await judge(CHEAP[name]) is Action.REJECT


@pytest.mark.parametrize("name", PRICED)
async def test_what_has_a_price_is_marked_and_told(name: str) -> None:
    assert await judge(PRICED[name]) is Action.QUARANTINE
    assert f"| {name} |" in (Path(__file__).parents[3] / "docs/policy.md").read_text("utf-8")


LATE = {
    "its key is gone": {name: data for name, data in ZONE.items() if name != "sel1._domainkey.victim.example"},
    "its key is withdrawn": {**ZONE, "sel1._domainkey.victim.example": {"TXT": ["v=DKIM1; p="]}},
}


@pytest.mark.parametrize("zone", LATE)
async def test_a_selector_that_passed_here_speaks_for_an_indirect_way_once_its_key_is_gone(zone: str) -> None:
    """A key may be taken out of DNS while a list, or a queue, still has mail that it signed."""
    late = Trick(change=lambda octets: sign(octets, "victim.example") + b"A footer.\r\n")
    never = House(zone=LATE[zone], client=FORGER)
    assert await judge(late, never) is Action.REJECT
    before = House(zone=ZONE, client="192.0.2.10")
    assert await judge(Trick(change=lambda octets: sign(octets, "victim.example")), before) is Action.ACCEPT
    house = House(zone=LATE[zone], client=FORGER, spool=before.spool)
    trace = await house.send(late.change(FORGED), "x@evil.example")
    assert trace.decision.action is Action.QUARANTINE
    assert trace.circumstances.selectors_seen == ("sel1._domainkey.victim.example",)
    # Another selector of that domain was never seen here.
    assert await judge(CHEAP["a signature whose key does not exist"], house) is Action.REJECT


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(CHEAP) >= 20
