"""Invariant: Authentication-Results are read from any octets; our own field, with any values, reads back as
intended."""

from __future__ import annotations

from collections.abc import Callable

from gateway.mail.authres import compose, own_spans, parse
from gateway.mail.header import parse_header, unfold
from gateway.model.envelope import ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from tests.fuzz.mutation import CASES, run, values

OURS = "mx.ours.example"
WORDS = [b"mx.ours.example; ", b"dmarc=pass", b" header.d=a", b"(c (d) ", b'reason="x;y"', b"spf=pass ", b"; ", b" 1;"]
SAMPLES = [
    b" mx.ours.example; spf=pass smtp.mailfrom=a.example; dkim=pass header.i=@b.example; dmarc=fail (p=none)",
    b" spf=pass (IP is 192.0.2.1) smtp.mailfrom=a.example; dkim=none (x) header.d=none;dmarc=fail action=oreject",
    b" a 1; none",
    b' "mx.ours.example"/1; none',
    b" (x) MX.Ours.Example ; none",
]
PEER = ip_text("192.0.2.1")


def check(octets: bytes) -> None:
    block = b"Authentication-Results:" + octets.replace(b"\r\n", b"\r\n ") + b"\r\nFrom: x\r\n"
    header = parse_header(block)
    spans = own_spans(header, OURS)
    assert all((span.start, span.end) in {(field.start, field.end) for field in header} for span in spans)
    found = parse(unfold(header[0].value))
    if found is not None and found.authserv_id.lower() == OURS:
        assert spans
    _write(octets.decode("utf-8", "surrogateescape"))


def _write(text: str) -> None:
    """Values from outside, in every place that can have one."""
    results = Authentication(
        SpfResult(SpfVerdict.FAIL, text, SpfIdentity.MAILFROM, text),
        SpfResult(SpfVerdict.NONE, text, SpfIdentity.HELO, text),
        (DkimResult(DkimVerdict.FAIL, text, text, text, text, text, text),),
        ArcResult(ArcVerdict.FAIL, 0, (text,), text),
        DmarcResult(DmarcVerdict.FAIL, text, reason=text),
    )
    field = compose(OURS, results, EdgeIngress(PEER, ClientSource.PEER, text, "mx", PEER))
    assert len(field) < 5000
    [alone] = parse_header(field)
    written = parse(unfold(alone.value))
    assert written is not None
    assert written.authserv_id == OURS
    said = [(one.method, one.result) for one in written.results if one.method != "iprev"]
    assert said == [("spf", "fail"), ("dkim", "fail"), ("dmarc", "fail"), ("arc", "fail")]


def test_results(full_count: Callable[[int], int]) -> None:
    run([*SAMPLES, *values(b"Authentication-Results")], full_count(CASES), check, WORDS)
