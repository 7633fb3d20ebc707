"""Invariant: a bent ARC chain is judged, twice alike, and passes only with as many of each of its fields as sealers."""

from __future__ import annotations

from collections.abc import Callable

from gateway.authentication import arc
from gateway.authentication.lookup import DnsView
from gateway.mail.header import parse_header
from gateway.model.message import BodyDigest, Evidence
from gateway.model.result import ArcVerdict
from tests.fuzz.mutation import CASES, run
from tests.support.signing import NOW, chain, evidence, key_record, window, zone

WORDS = [
    b"i=1;",
    b"i=2; ",
    b"cv=pass",
    b"cv=none",
    b"cv=fail",
    b"ARC-Seal: ",
    b"\r\nARC-Authentication-Results: i=3;",
    b"; h=from",
    b"t=9",
]
SETS = ("arc-seal", "arc-message-signature", "arc-authentication-results")


def test_chains(full_count: Callable[[int], int]) -> None:
    whole = [evidence(chain(length))[0] for length in (1, 2, 3)]
    digests: tuple[BodyDigest, ...] = whole[0].digests
    known = zone(key_record())
    passed = 0

    def judge(collected: Evidence) -> arc.ArcResult:
        answers: DnsView = window(known)
        return arc.validate(collected, parse_header(collected.header), answers, NOW)

    def check(octets: bytes) -> None:
        nonlocal passed
        collected = Evidence(octets, digests, len(octets))
        result = judge(collected)
        assert judge(collected) == result
        header = parse_header(octets)
        assert len(arc.questions(header)) <= 100
        counts = {sum(field.lower == name for field in header) for name in SETS}
        if result.result is ArcVerdict.PASS:
            passed += 1
            assert counts == {len(result.sealers)}
            assert 1 <= len(result.sealers) <= 50
        elif result.result is ArcVerdict.NONE:
            assert counts == {0}
        else:
            assert result.reason

    run([one.header for one in whole], full_count(CASES), check, WORDS)
    assert passed
