"""Evidence for an indirect way, and marks that only resemble it."""

from __future__ import annotations

import pytest

from gateway.model.history import Standing
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
        "from unknown (HELO x) (192.0.2.1) by mx.forwarder.example with SMTP",
        "from x (mail.author.example [192.0.2.1]) by out.stranger.example",
        "from DESKTOP-1 (unknown [192.0.2.9]) by out.stranger.example with ESMTP",
        "from [192.0.2.9] (helo=x) by out.stranger.example with ESMTP",
        "from SRV01 (2001:db8::9) by EX1 (10.0.0.2) with Microsoft SMTP Server id 15.1.1.1",
    ],
)
def test_a_public_address_of_others_is_an_earlier_hop(received: str) -> None:
    assert evidence(SPOOF, received) == ["earlier-hop"]
    assert evidence(SPOOF, "from a by b.stranger.example", received) == ["earlier-hop"]


@pytest.mark.parametrize(
    "received",
    [
        "from mail.author.example by mx.forwarder.example with ESMTP",
        "from localhost by MX.Other.EXAMPLE. with ESMTP",
        "from inner.stranger.example ([10.0.0.1]) by out.stranger.example with ESMTP",
        "from x (out-2.stranger.example [192.0.2.9]) by out.stranger.example with ESMTP",
        "from x (unknown [203.0.113.99]) by out.stranger.example with ESMTP",
        "from [10.0.0.9] (helo=[192.0.2.9]) by out.stranger.example with ESMTP",
        "from unknown (HELO [192.0.2.9]) (192.168.0.9) by out.stranger.example with SMTP",
        "from [192.0.2.9] (unknown [10.0.0.9]) by out.stranger.example with ESMTP",
        "from dyn-9.isp.example (dyn-9.isp.example [192.0.2.9]) by out.stranger.example with ESMTPSA id 1",
        "from dyn-9.isp.example ([192.0.2.9]) by webmail.stranger.example with HTTP; date",
        "from pc.office.local ([100.64.0.2]) by out.stranger.example with ESMTP",
        "from x ([999.0.2.9]) by out.stranger.example with ESMTP",
        "from x (version 1.2.3.4.5) by out.stranger.example with ESMTP",
        "by 2002:a05:6402:0:0:0:0:1 with SMTP id 1",
        "from 192.0.2.9",
        "(qmail 123 invoked by uid 89); date",
        "",
    ],
)
def test_names_and_inner_addresses_are_no_earlier_hop(received: str) -> None:
    assert evidence(SPOOF, received) == []


def test_mail_from_names_the_client_only_where_spf_says_so() -> None:
    # A forwarder that keeps MAIL FROM: the author's machine is not one of its own.
    hop = "from mail.author.example ([192.0.2.1]) by mx.forwarder.example with ESMTP"
    client = replace(EDGE, helo="out.forwarder.example", rdns="")
    forwarded = replace(SPOOF, ingress=client, spf=spf(SpfVerdict.FAIL, "author.example"))
    assert evidence(forwarded, hop) == ["earlier-hop"]
    # With SPF pass the same line belongs to the same site.
    assert evidence(replace(forwarded, spf=spf(SpfVerdict.PASS, "author.example")), hop) == []


def test_host_names_of_one_registered_domain_are_one_house() -> None:
    client = replace(EDGE, helo="a.mail.firm.co.uk", rdns="a.mail.firm.co.uk")
    scene = replace(SPOOF, ingress=client, spf=spf(SpfVerdict.NONE))
    assert evidence(scene, "from x (b.firm.co.uk [192.0.2.1]) by a.mail.firm.co.uk") == []
    assert evidence(scene, "from x (b.other.co.uk [192.0.2.1]) by a.mail.firm.co.uk") == ["earlier-hop"]


def test_lines_of_our_own_relays_tell_of_the_client() -> None:
    settings = replace(OUR_SETTINGS, relays=frozenset({"mx-old.own.example"}))
    line = "from x (unknown [192.0.2.7]) by MX-old.own.example (Postfix) with ESMTP"
    walked = replace(SPOOF, ingress=replace(EDGE, source=ClientSource.RECEIVED), settings=settings)
    assert evidence(walked, line) == []
    assert evidence(walked, line, "from x ([192.0.2.8]) by mx.forwarder.example") == ["earlier-hop"]
    # Only if the walk passed it: anyone can write such a line.
    assert evidence(replace(SPOOF, settings=settings), line) == ["earlier-hop"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("List-Id: <x.list.example>", True),
        ("list-post: <mailto:x@list.example>", True),
        ("X-BeenThere: x@lists.list.example", True),
        ("List-Id: <x.other.example>", False),
        ("Precedence: List", False),
        ("Precedence: bulk", False),
        ("List-Unsubscribe: <https://list.example>", False),
        ("X-List-Id: list.example", False),
    ],
)
def test_a_list_counts_where_it_signs(line: str, found: bool) -> None:
    scene = replace(SPOOF, header=f"{line}\n{FROM}", dkim=(signature("list.example"),))
    facts = scene.facts()
    assert facts["list.evidence"] is found
    assert facts["indirect.evidence"] == (["list"] if found else [])
    assert facts["dmarc.grounds"] == ([] if found else ["direct-spoof"])
    assert replace(scene, dkim=()).facts()["list.evidence"] is False


def test_a_list_counts_where_the_client_is_known() -> None:
    scene = replace(SPOOF, header=f"Precedence: list\n{FROM}", client_known=("network",))
    assert scene.facts()["list.evidence"] is True
    # A client's record does not help for our own domain.
    assert replace(scene, header="Precedence: list\nFrom: ceo@own.example").facts()["list.evidence"] is False


def test_a_known_client_is_no_strange_source() -> None:
    hop = f"Received: from x ([192.0.2.1]) by mx.forwarder.example\n{FROM}"
    scene = replace(SPOOF, header=hop, standing=Standing.STRANGER)
    assert scene.facts()["dmarc.grounds"] == ["strange-source"]
    for known in (("network",), ("signer",), ("sealer",)):
        assert replace(scene, client_known=known).facts()["dmarc.grounds"] == []
    # Without any sign of an indirect way, being known does not help.
    bare = replace(SPOOF, standing=Standing.STRANGER, client_known=("network",))
    assert bare.facts()["dmarc.grounds"] == ["direct-spoof"]


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


@pytest.mark.parametrize(
    ("result", "reason", "expected"),
    [
        (DkimVerdict.FAIL, "body hash did not verify", "broken"),
        (DkimVerdict.POLICY, "l= leaves 9 octets of the body unsigned", "broken"),
        (DkimVerdict.POLICY, "signature field is longer than 8192 octets", "none"),
        (DkimVerdict.PERMERROR, "no key for signature", "none"),
        (DkimVerdict.TEMPERROR, "key could not be looked up", "none"),
        (DkimVerdict.NEUTRAL, "", "none"),
    ],
)
def test_a_signature_that_no_key_was_held_against_is_none(result: DkimVerdict, reason: str, expected: str) -> None:
    results = (replace(signature("author.example", result), reason=reason),)
    assert author_signature("author.example", "author.example", results) == expected


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


@pytest.mark.parametrize("line", ["Sub ject: other", "\ufeffSubject: other", "no field\nSub ject: other"])
def test_a_line_that_some_readers_take_for_the_signed_field_is_an_addition(line: str) -> None:
    assert added(line) == ["subject"]
    assert added(line, h="from:subject:subject") == ["subject"], "no signature covers what is not a field"
    assert added(line, h="from") == [], "it is not signed at all"
    assert added(line.replace("ject", "jects")) == []


def test_fields_that_may_be_many_are_no_addition() -> None:
    assert (
        added("Received: from a by b", "Received: from c by d", "Comments: x", "Comments: y", h="from:received") == []
    )
    assert added("Content-Type: text/html", h="from:content-type") == ["content-type"]
