"""What speaks for an indirect way, and what only looks like it."""

from __future__ import annotations

import pytest

from gateway.model.ingress import ClientSource
from gateway.model.result import DkimVerdict, DmarcPolicy, DmarcVerdict, SpfVerdict
from gateway.model.value import replace
from gateway.policy.grounds import author_signature
from tests.unit.policy.scenes import EDGE, OUR_SETTINGS, Scene, signature, spf

FROM = "From: a@author.example"
SPOOF = Scene(
    FROM,
    spf=spf(SpfVerdict.PASS, "stranger.example"),
    dmarc=DmarcVerdict.FAIL,
    policy=DmarcPolicy.REJECT,
    organization="author.example",
)


def evidence(scene: Scene, *received: str) -> object:
    lines = [f"Received: {line}" for line in received]
    return replace(scene, header="\n".join([*lines, scene.header])).facts()["indirect.evidence"]


@pytest.mark.parametrize(
    "received",
    [
        "from mail.author.example (mail.author.example [192.0.2.1]) by mx.stranger.example with ESMTPS id 1; date",
        "from unknown (HELO x) by mx.forwarder.example with SMTP",
        "by list.example (Postfix, from userid 38)",
        "from x (mail.author.example [192.0.2.1]) by out.stranger.example",
        "from localhost by MX.Other.EXAMPLE. with ESMTP",
    ],
)
def test_a_machine_of_others_is_an_earlier_hop(received: str) -> None:
    assert evidence(SPOOF, received) == ["earlier-hop"]
    assert evidence(SPOOF, "from a by b.stranger.example", received) == ["earlier-hop"]


@pytest.mark.parametrize(
    "received",
    [
        "from inner.stranger.example ([10.0.0.1]) by out.stranger.example with ESMTP",
        "from DESKTOP-1 (unknown [192.0.2.9]) by out.stranger.example with ESMTP",
        "from [192.0.2.9] (helo=x) by out.stranger.example with ESMTP",
        "from dyn-9.isp.example (dyn-9.isp.example [192.0.2.9]) by out.stranger.example with ESMTPSA id 1",
        "from dyn-9.isp.example by webmail.stranger.example with HTTP; date",
        "from pc.office.local ([10.0.0.2]) by out.stranger.example with ESMTP",
        "by 2002:a05:6402:0:0:0:0:1 with SMTP id 1",
        "from 192.0.2.9 by out.stranger.example",
        "(qmail 123 invoked by uid 89); date",
        "",
    ],
)
def test_the_clients_own_machines_are_no_earlier_hop(received: str) -> None:
    assert evidence(SPOOF, received) == []


def test_mail_from_names_the_client_only_where_spf_says_so() -> None:
    # A forwarder that keeps MAIL FROM: the author's machine is not one of its own.
    hop = "from mail.author.example by mx.forwarder.example with ESMTP"
    client = replace(EDGE, helo="out.forwarder.example", rdns="")
    forwarded = replace(SPOOF, ingress=client, spf=spf(SpfVerdict.FAIL, "author.example"))
    assert evidence(forwarded, hop) == ["earlier-hop"]
    # With SPF pass the same line tells of one house.
    assert evidence(replace(forwarded, spf=spf(SpfVerdict.PASS, "author.example")), hop) == []


def test_host_names_of_one_registered_domain_are_one_house() -> None:
    client = replace(EDGE, helo="a.mail.firm.co.uk", rdns="a.mail.firm.co.uk")
    scene = replace(SPOOF, ingress=client, spf=spf(SpfVerdict.NONE))
    assert evidence(scene, "from x by b.firm.co.uk") == []
    assert evidence(scene, "from x by b.other.co.uk") == ["earlier-hop"]


def test_lines_of_our_own_relays_tell_of_the_client() -> None:
    settings = replace(OUR_SETTINGS, relays=frozenset({"mx-old.own.example"}))
    line = "from out.stranger.example (out.stranger.example [203.0.113.7]) by MX-old.own.example (Postfix) with ESMTP"
    walked = replace(SPOOF, ingress=replace(EDGE, source=ClientSource.RECEIVED), settings=settings)
    assert evidence(walked, line) == []
    assert evidence(walked, line, "from x by mx.forwarder.example") == ["earlier-hop"]
    # Only where we walked past it: anyone can write such a line.
    assert evidence(replace(SPOOF, settings=settings), line) == ["earlier-hop"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("List-Id: <x.example>", True),
        ("list-post: <mailto:x@y.example>", True),
        ("X-BeenThere: x@y.example", True),
        ("Precedence: List", True),
        ("Precedence: bulk", False),
        ("List-Unsubscribe: <https://shop.example>", False),
        ("X-List-Id: x", False),
    ],
)
def test_list_headers(line: str, found: bool) -> None:
    facts = replace(SPOOF, header=f"{line}\n{FROM}").facts()
    assert facts["list.evidence"] is found
    assert facts["indirect.evidence"] == (["list"] if found else [])
    assert facts["dmarc.grounds"] == ([] if found else ["direct-spoof"])


@pytest.mark.parametrize(
    ("signer", "organization", "expected"),
    [
        ("author.example", "author.example", "broken"),
        ("mail.author.example", "author.example", "broken"),
        ("other.example", "author.example", "none"),
        ("notauthor.example", "author.example", "none"),
        ("example", "author.example", "none"),
        ("author.example", "", "broken"),
        ("example", "", "none"),
        ("", "author.example", "none"),
    ],
)
def test_author_signature(signer: str, organization: str, expected: str) -> None:
    results = (signature(signer, DkimVerdict.FAIL),)
    assert author_signature("author.example", organization, results) == expected


def test_author_signature_of_the_parent_when_the_organization_is_unknown() -> None:
    assert author_signature("news.author.example", "", (signature("author.example"),)) == "pass"


def test_one_passing_signature_outweighs_a_broken_one() -> None:
    results = (signature("author.example", DkimVerdict.FAIL), signature("author.example"))
    assert author_signature("author.example", "author.example", results) == "pass"


def test_no_author_has_no_signature() -> None:
    assert author_signature("", "", (signature("author.example"),)) == "none"


def test_grounds_need_a_known_client_at_the_edge() -> None:
    unknown = replace(EDGE, client=None)
    assert SPOOF.facts()["dmarc.grounds"] == ["direct-spoof"]
    assert replace(SPOOF, ingress=unknown).facts()["dmarc.grounds"] == []
    ours = replace(SPOOF, header="From: ceo@own.example", ingress=unknown)
    assert ours.facts()["dmarc.grounds"] == []
    assert replace(ours, ingress=EDGE).facts()["dmarc.grounds"] == ["own-domain", "direct-spoof"]


def test_long_trace_headers_cost_little() -> None:
    received = ["from " + "a " * 5000 + "(" * 5000 + " by " + "x." * 3000] * 200
    assert evidence(SPOOF, *received) == []


# --- fields above those that are signed


def added(*lines: str, h: str = "from:subject:to:date", more: str = "", spf_aligned: bool = False) -> object:
    signed = tuple(
        replace(signature("author.example"), signed_fields=tuple(names.split(":"))) for names in (h, more) if names
    )
    scene = replace(SPOOF, dmarc=DmarcVerdict.PASS, dkim=signed, dkim_aligned=(True,) * len(signed))
    header = "\n".join([*lines, FROM, "Subject: s", "To: b@own.example", "Date: today", "Content-Type: text/plain"])
    return replace(scene, header=header, spf_aligned=spf_aligned).facts()["dkim.added_fields"]


@pytest.mark.parametrize("line", ["Subject: other", "SUBJECT : other", "To: c@own.example", "Date: tomorrow"])
def test_a_field_above_the_signed_one_is_seen(line: str) -> None:
    name = line.partition(":")[0].strip().lower()
    assert added() == []
    assert added(line) == [name]
    assert added(line, line, h=f"from:{name}:{name}") == [name], "two are signed, and there are three"
    assert added(line, h=f"from:{name}:{name}:{name}") == [], "oversigned"
    assert added(line, h="from") == [], "it is not signed at all"
    assert added(line, more=f"from:{name}:{name}") == [], "another signature covers both"
    assert added(line, spf_aligned=True) == [], "SPF vouches for all of it"


def test_fields_that_may_be_many_are_no_addition() -> None:
    assert (
        added("Received: from a by b", "Received: from c by d", "Comments: x", "Comments: y", h="from:received") == []
    )
    assert added("Content-Type: text/html", h="from:content-type") == ["content-type"]
