"""Authentication-Results: our own field, octet for octet, and the forgeries that must be found."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.authres import Property, compose, own_spans, parse
from gateway.mail.header import parse_header
from gateway.model.envelope import IPText
from gateway.model.ingress import ClientSource, EdgeIngress, InternalIngress
from gateway.model.message import Span
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)

PEER = IPText("203.0.113.7")
EDGE = EdgeIngress(PEER, ClientSource.PEER, "h.example", "mx", PEER)

SIGNATURE = DkimResult(DkimVerdict.PASS, "sender.example", "sel", "rsa-sha256", "", "@sender.example", "Tm9b+/a8cdEFGH")


def results(
    spf: SpfResult | None = None,
    dkim: tuple[DkimResult, ...] = (),
    dmarc: DmarcResult | None = None,
    arc: ArcResult | None = None,
) -> Authentication:
    none = SpfResult(SpfVerdict.NONE, "", SpfIdentity.HELO)
    return Authentication(
        spf or SpfResult(SpfVerdict.PASS, "sender.example", SpfIdentity.MAILFROM),
        none,
        dkim,
        arc or ArcResult(ArcVerdict.NONE),
        dmarc or DmarcResult(DmarcVerdict.NONE, "sender.example"),
    )


def test_signed_and_aligned() -> None:
    dmarc = DmarcResult(
        DmarcVerdict.PASS,
        "sender.example",
        "sender.example",
        "sender.example",
        DmarcPolicy.REJECT,
        DmarcPolicy.REJECT,
        record="v=DMARC1; p=reject; SP = none; rua=mailto:x@sender.example",
    )
    field = compose("mx.demo.example", results(dkim=(SIGNATURE,), dmarc=dmarc), EDGE, DmarcPolicy.NONE)
    assert field == (
        b"Authentication-Results: mx.demo.example;\r\n"
        b"\tspf=pass smtp.mailfrom=sender.example;\r\n"
        b"\tdkim=pass header.d=sender.example header.i=@sender.example header.s=sel\r\n"
        b'\theader.a=rsa-sha256 header.b="Tm9b+/a8cdEFGH";\r\n'
        b"\tdmarc=pass (p=reject sp=none d=none) header.from=sender.example\r\n"
        b"\tpolicy.dmarc=reject;\r\n"
        b"\tarc=none smtp.remote-ip=203.0.113.7\r\n"
    )


def test_nothing_known() -> None:
    ingress = EdgeIngress(None, ClientSource.RECEIVED, "", "mx", PEER, reason="?")
    authentication = results(
        spf=SpfResult(SpfVerdict.NONE, "", SpfIdentity.HELO, "client address unknown"),
        dmarc=DmarcResult(DmarcVerdict.PERMERROR, "", reason="no From field"),
    )
    assert compose("mx.demo.example", authentication, ingress) == (
        b"Authentication-Results: mx.demo.example;\r\n"
        b'\tspf=none reason="client address unknown";\r\n'
        b"\tdkim=none;\r\n"
        b'\tdmarc=permerror reason="no From field";\r\n'
        b"\tarc=none\r\n"
    )


def test_null_sender_and_several_signatures_and_arc() -> None:
    broken = DkimResult(DkimVerdict.FAIL, "list.example", "s1", "ed25519-sha256", "body hash did not verify")
    dmarc = DmarcResult(
        DmarcVerdict.FAIL,
        "sub.author.example",
        published=DmarcPolicy.REJECT,
        policy=DmarcPolicy.QUARANTINE,
        record="v=DMARC1; p=reject; sp=quarantine",
    )
    authentication = results(
        spf=SpfResult(SpfVerdict.SOFTFAIL, "helo.example", SpfIdentity.HELO),
        dkim=(broken, SIGNATURE),
        dmarc=dmarc,
        arc=ArcResult(ArcVerdict.PASS, 0, ("list.example",)),
    )
    ingress = InternalIngress(IPText("2001:db8::7"), "h", "mx", PEER, "own hop x")
    assert compose("mx.demo.example", authentication, ingress, DmarcPolicy.QUARANTINE) == (
        b"Authentication-Results: mx.demo.example;\r\n"
        b"\tspf=softfail smtp.helo=helo.example;\r\n"
        b'\tdkim=fail reason="body hash did not verify" header.d=list.example header.s=s1\r\n'
        b"\theader.a=ed25519-sha256;\r\n"
        b"\tdkim=pass header.d=sender.example header.i=@sender.example header.s=sel\r\n"
        b'\theader.a=rsa-sha256 header.b="Tm9b+/a8cdEFGH";\r\n'
        b"\tdmarc=fail (p=reject sp=quarantine d=quarantine)\r\n"
        b"\theader.from=sub.author.example policy.dmarc=quarantine;\r\n"
        b'\tarc=pass header.oldest-pass=0 smtp.remote-ip="2001:db8::7"\r\n'
    )


HOSTILE = 'x"; dmarc=pass (\\ \r\nX-Evil: 1\r\n\r\nbody\x00\x1fé\udcff'


def test_nothing_from_outside_gets_out_of_its_quotes() -> None:
    signature = DkimResult(DkimVerdict.FAIL, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    authentication = results(
        spf=SpfResult(SpfVerdict.FAIL, HOSTILE, SpfIdentity.MAILFROM, HOSTILE),
        dkim=(signature,),
        dmarc=DmarcResult(DmarcVerdict.NONE, HOSTILE, record=HOSTILE, reason=HOSTILE),
        arc=ArcResult(ArcVerdict.FAIL, reason=HOSTILE),
    )
    field = compose("mx.demo.example", authentication, EDGE)
    assert field.isascii()
    assert re.fullmatch(rb"(?:[\t -~]+\r\n\t)*[ -~]+\r\n", field)
    assert len(parse_header(field)) == 1
    parsed = parse(field.partition(b":")[2].decode())
    assert parsed is not None
    assert [(one.method, one.result) for one in parsed.results] == [
        ("spf", "fail"),
        ("dkim", "fail"),
        ("dmarc", "none"),
        ("arc", "fail"),
    ]


def test_the_field_stays_below_4_kb() -> None:
    name = "a" * 63 + "."
    domain = name * 3 + "a" * 60
    signature = DkimResult(DkimVerdict.FAIL, domain, domain, "rsa-sha256" * 9, "because " * 99, f"@{domain}", "A" * 900)
    authentication = results(
        spf=SpfResult(SpfVerdict.FAIL, domain, SpfIdentity.MAILFROM, "because " * 99),
        dkim=(signature,) * 8,
        dmarc=DmarcResult(DmarcVerdict.FAIL, domain, record="v=DMARC1; p=reject"),
    )
    field = compose("mx.demo.example", authentication, EDGE)
    assert len(field) < 4096
    assert field.count(b"dkim=fail") >= 5
    assert b"dmarc=fail" in field
    assert max(map(len, field.split(b"\r\n"))) < 998


@pytest.mark.parametrize(
    "value",
    [
        " mx.demo.example; spf=pass",
        " MX.Demo.EXAMPLE; none",
        "mx.demo.example;none",
        " mx.demo.example 1; spf=pass",
        ' "mx.demo.example"; spf=pass',
        ' "mx\\.demo.exampl\\e"; spf=pass',
        " (hello) mx.demo.example (world) ; spf=pass",
        "\r\n\tmx.demo.example\r\n\t; spf=pass",
        " (a (nested; comment)) mx.demo.example; spf=pass",
        ' (say \\) "x") mx.demo.example; spf=pass',
        " mx(x).demo(y).example; spf=pass",
        " mx\r\n .demo\r\n .example; spf=pass",
        ' "mx".demo."example"; spf=pass',
        " mx.demo.example spf=pass smtp.mailfrom=x.example",
        " mx.demo.example",
        " mx.demo.example(open comment; spf=pass",
        " \uff4dx.demo.example; spf=pass",
        ' "" mx.demo.example; spf=pass',
        " \x0bmx.demo.example\x00; spf=pass",
    ],
)
def test_forged_own_fields_are_found(value: str) -> None:
    block = f"Subject: x\r\nAuthentication-Results:{value}\r\nFrom: a@b.example\r\n".encode()
    start = block.index(b"Auth")
    assert own_spans(parse_header(block), "mx.demo.example") == (Span(start, block.index(b"From")),)


@pytest.mark.parametrize(
    ("before", "forged"),
    [
        ("Subject: x\r\n", "Authentication-Results\r\n : mx.demo.example; spf=pass\r\n"),
        ("Subject: x\r\n", "Authentication- Results\t: mx.demo.example; spf=pass\r\n"),
        ("", " Authentication-Results: mx.demo.example; spf=pass\r\n"),
        ("", "no field\r\n\tauthentication-results: mx.demo.example;\r\n spf=pass\r\n"),
    ],
)
def test_forged_own_fields_in_disguise_are_found(before: str, forged: str) -> None:
    header = parse_header(f"{before}{forged}From: a@b.example\r\n".encode())
    assert own_spans(header, "mx.demo.example") == (Span(len(before), len(before) + len(forged)),)
    assert own_spans(header, "mx.other.example") == ()


def test_forged_own_fields_under_any_spelling_of_the_name() -> None:
    block = (
        b"AUTHENTICATION-RESULTS : mx.demo.example; none\r\nX-Y: 1\r\nauthentication-results:mx.demo.example; none\r\n"
    )
    assert len(own_spans(parse_header(block), "mx.demo.example")) == 2


@pytest.mark.parametrize(
    "field",
    [
        "Authentication-Results: mx.other.example; spf=pass",
        "Authentication-Results: mx.demo.example.evil.example; spf=pass",
        "Authentication-Results: (mx.demo.example) other.example; spf=pass",
        "Authentication-Results: spf=pass smtp.mailfrom=mx.demo.example",
        "Authentication-Results: other.example; x=mx.demo.example",
        "Authentication-Results: other.example; mx.demo.example",
        "Authentication-Results:",
        "Authentication-Results: ;mx.demo.example",
        "ARC-Authentication-Results: i=1; mx.demo.example; spf=pass",
        "X-Authentication-Results: mx.demo.example; spf=pass",
        "Subject: Authentication-Results: mx.demo.example; none",
    ],
)
def test_fields_of_others_stay(field: str) -> None:
    assert own_spans(parse_header(f"{field}\r\n".encode()), "mx.demo.example") == ()


def test_own_id_with_a_number_at_its_end() -> None:
    block = b"Authentication-Results: (x) mx1 1; none\r\nAuthentication-Results: mx; none\r\n"
    assert own_spans(parse_header(block), "mx1") == (Span(0, 41),)


def test_own_id_as_a_u_label() -> None:
    block = "Authentication-Results: MX.Bücher.example; none\r\n".encode()
    assert len(own_spans(parse_header(block), "mx.xn--bcher-kva.example")) == 1


def test_microsofts_field_has_no_id() -> None:
    parsed = parse(
        " spf=pass (sender IP is 203.0.113.7)\r\n smtp.mailfrom=other.example; dkim=none (message not signed)\r\n"
        " header.d=none;dmarc=fail action=oreject\r\n header.from=microsoft.com;compauth=fail reason=451"
    )
    assert parsed is not None
    assert parsed.authserv_id == ""
    assert [(one.method, one.result) for one in parsed.results] == [
        ("spf", "pass"),
        ("dkim", "none"),
        ("dmarc", "fail"),
        ("compauth", "fail"),
    ]
    assert parsed.results[2].properties == (
        Property("", "action", "oreject"),
        Property("header", "from", "microsoft.com"),
    )
    assert parsed.results[0].value("smtp", "mailfrom") == "other.example"
    assert parsed.results[0].value("smtp", "helo") == ""
    assert parsed.results[3].reason == "451"


def test_spaces_comments_versions_and_quotes() -> None:
    parsed = parse(
        'host (x) 1; DKIM / 1 (c) = Pass reason = "two words; \\"q\\"" header . i="local part"@d.example'
        " header.b=ab/c+d=="
        ' ; "quoted;method"=x; dangling=; =headless; words only'
    )
    assert parsed is not None
    assert parsed.authserv_id == "host"
    first = parsed.results[0]
    assert (first.method, first.result, first.reason) == ("dkim", "pass", 'two words; "q"')
    assert first.properties == (Property("header", "i", "local part@d.example"), Property("header", "b", "ab/c+d=="))
    assert [one.method for one in parsed.results] == ["dkim", "quoted;method", "dangling", ""]


@pytest.mark.parametrize("value", ["x" * 99, "(" * 500_000, '"' * 500_001, "a=" * 300_000, "a(b)" * 100_000, "\\" * 9])
def test_reading_is_linear_and_never_raises(value: str) -> None:
    start = time.process_time()
    parse(value)
    assert time.process_time() - start < 1


def test_too_many_results() -> None:
    assert parse("x;" + "a=b;" * 101) is None


def test_what_we_write_reads_back() -> None:
    field = compose("mx.demo.example", results(dkim=(SIGNATURE,)), EDGE)
    parsed = parse(field.partition(b":")[2].decode())
    assert parsed is not None
    assert parsed.authserv_id == "mx.demo.example"
    assert parsed.results[1].value("header", "b") == SIGNATURE.signature


@given(st.text())
def test_reading_never_raises(value: str) -> None:
    parse(value)
    own_spans(
        parse_header(b"Authentication-Results: " + value.encode("utf-8", "surrogatepass") + b"\r\n"), "mx.example"
    )


@given(st.text(max_size=400), st.sampled_from(list(DkimVerdict)))
def test_one_field_in_ascii_whatever_a_message_holds(text: str, verdict: DkimVerdict) -> None:
    """Invariant: one field, printable ASCII, below 4 KB, that reads back with the results in their places."""
    signature = DkimResult(verdict, text, text, text, text, text, text)
    dmarc = DmarcResult(DmarcVerdict.FAIL, text, published=DmarcPolicy.REJECT, record=text, reason=text)
    spf = SpfResult(SpfVerdict.FAIL, text, SpfIdentity.MAILFROM, text)
    field = compose("mx.demo.example", results(spf, (signature,) * 8, dmarc), EDGE, DmarcPolicy.REJECT)
    assert re.fullmatch(rb"(?:[\t -~]+\r\n\t)*[ -~]+\r\n", field)
    assert len(field) < 4096
    parsed = parse(field.partition(b":")[2].decode())
    assert parsed is not None
    methods = [one.method for one in parsed.results]
    assert (methods[0], methods[-2:]) == ("spf", ["dmarc", "arc"])
    assert set(methods[1:-2]) == {"dkim"}
