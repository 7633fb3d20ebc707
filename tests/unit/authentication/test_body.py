"""Body hashes equal dkimpy's canonicalisation followed by SHA-256, wherever the chunks are cut."""

from __future__ import annotations

import base64
import hashlib
import random
import time

import pytest
from dkim.canonicalization import Relaxed, Simple

from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.mail.header import parse_header
from gateway.model.message import BodyDigest

REFERENCE = {"simple": Simple.canonicalize_body, "relaxed": Relaxed.canonicalize_body}
WHOLE: list[tuple[str, int | None]] = [("simple", None), ("relaxed", None)]
PIECES = [b" ", b"\t", b"\r\n", b"a", b"b", b"\r", b"\n", b"  ", b"\r\n\r\n", b" \r\n", b" " * 5, b"\x00"]


def digest(body: bytes, wanted: list[tuple[str, int | None]], cuts: list[int]) -> tuple[BodyDigest, ...]:
    hasher = BodyHasher(wanted)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        hasher.update(body[start:end])
    return hasher.digests()


def check(body: bytes, wanted: list[tuple[str, int | None]], cuts: list[int]) -> None:
    found = digest(body, wanted, cuts)
    assert {(each.canonicalisation, each.length) for each in found} == set(wanted)
    for each in found:
        canonical = REFERENCE[each.canonicalisation](body)
        assert each.octets == len(canonical), (body, cuts, each)
        assert each.digest == hashlib.sha256(canonical[: each.length]).digest(), (body, cuts, each)


def test_random_bodies_lengths_and_cuts() -> None:
    chance = random.Random(20_261_102)
    for _ in range(20_000):
        body = b"".join(chance.choices(PIECES, k=chance.randint(0, 14)))
        lengths = [chance.randint(0, len(body) + 3) for _ in range(chance.randint(0, 3))]
        wanted = WHOLE + [(form, length) for form in REFERENCE for length in lengths]
        cuts = sorted(chance.randint(0, len(body)) for _ in range(chance.randint(0, 4)))
        check(body, wanted, cuts)


def test_every_single_cut_and_octet_by_octet() -> None:
    body = b"a \t b  \r\n\r\n \r\n\t\r\r\n x\r\n\r\r\n \r\n\r\n"
    for cut in range(len(body) + 1):
        check(body, WHOLE, [cut])
    check(body, WHOLE, list(range(1, len(body))))


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n" * 50_000, b" \t\r\n \r\n", b" ", b"\r", b"\n", b"x" * 300_000])
def test_bodies_with_little_in_them(body: bytes) -> None:
    check(body, WHOLE, [])


def test_many_line_breaks_before_something() -> None:
    check(b"\r\n" * 200_000 + b"x", WHOLE, [1, 7, 100_001])


@pytest.mark.parametrize("edge", [(1 << 17) - 2, (1 << 17) - 1, 1 << 17, (1 << 17) + 1])
def test_edges_of_internal_slices(edge: int) -> None:
    for middle in (b" \t \r\n", b"\r\n\r\n", b"  x", b"\r", b"\n"):
        body = b"y" * (edge - 1) + middle + b"z\r\n\r\n"
        check(body, [*WHOLE, ("relaxed", edge), ("simple", edge + 2)], [])


def test_empty_bodies_have_the_digests_of_the_standard() -> None:
    """RFC 6376 sections 3.4.3 and 3.4.4 print the simple and the relaxed hash of an empty body."""
    simple, relaxed = digest(b"", WHOLE, [])
    assert base64.b64encode(simple.digest) == b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="
    assert base64.b64encode(relaxed.digest) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_unknown_canonicalisation_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="nofws"):
        BodyHasher([("nofws", None)])


def wanted(*lines: str) -> frozenset[tuple[str, int | None]]:
    return wanted_digests(parse_header("".join(f"{line}\r\n" for line in lines).encode()))


def test_wanted_digests_come_from_every_signature() -> None:
    assert wanted(
        "DKIM-Signature: a=rsa-sha256; c=relaxed/relaxed; b=AAAA",
        "dkim-signature: c=simple; l=100",
        "DKIM-Signature: b=AAAA",
        "ARC-Message-Signature: i=1; c=relaxed/simple; l=0007",
        "ARC-Message-Signature: i=2",
    ) == {("relaxed", None), ("simple", 100), ("simple", None), ("simple", 7)}


def test_wanted_digests_of_nonsense_are_none() -> None:
    assert not wanted("Subject: c=relaxed/relaxed", "DKIM-Signature: c=nofws", "DKIM-Signature: c", "ARC-Seal: i=1")
    assert not wanted("DKIM-Signature: c=simple; z=" + "x" * 66_000)


def test_digests_are_made_for_the_signatures_that_are_judged() -> None:
    above = [f"DKIM-Signature: d=list{at}.example; c=simple; l={at}" for at in range(9)]
    own = "DKIM-Signature: d=src.example; c=relaxed/relaxed"
    assert ("relaxed", None) in wanted(*above, own, "From: a@mail.src.example")
    assert ("relaxed", None) not in wanted(*above, own, "From: a@other.test")


def test_wanted_digests_are_bounded() -> None:
    lines = [f"DKIM-Signature: l={at}" for at in range(1000)] + [f"ARC-Message-Signature: l={at}" for at in range(1000)]
    assert len(wanted(*lines)) <= 58
    assert wanted("DKIM-Signature: l=" + "9" * 5000) == {("simple", 10**18)}


def timed(body: bytes, size: int = 65_536) -> float:
    """Best of three, in milliseconds of processor time."""
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        hasher = BodyHasher([("relaxed", None)])
        for at in range(0, len(body), size):
            hasher.update(body[at : at + size])
        hasher.digests()
        best = min(best, (time.process_time() - start) * 1000)
    return best


def test_ten_megabytes_of_base64_in_60_ms() -> None:
    line = base64.b64encode(random.Random(1).randbytes(57)) + b"\r\n"
    assert timed(line * (10_000_000 // len(line))) <= 60


def test_ten_megabytes_of_prose_in_300_ms() -> None:
    chance = random.Random(2)
    words = [b"the", b"quick", b"brown fox ", b"jumps  over", b"a", b"lazy\tdog", b"and", b"more. "]
    ends = [b"\r\n", b" \r\n", b"\r\n\r\n"]
    page = b"".join(b" ".join(chance.choices(words, k=10)) + chance.choice(ends) for _ in range(5000))
    assert timed(page * (10_000_000 // len(page))) <= 300


@pytest.mark.parametrize("unit", [b" ", b"\r\n", b"\n", b"\r\r\n", b"xxx   ", b"x\t", b" \r\n", b"\r"])
def test_no_body_is_slow(unit: bytes) -> None:
    assert timed(unit * (2_000_000 // len(unit))) <= 150
    assert timed(unit * (20_000 // len(unit)), size=1) <= 400
