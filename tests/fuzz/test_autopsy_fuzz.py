"""Invariant: an autopsy of any octets ends with a status and never raises; a found repair verifies, its places are in
the file, and the quick body hash of an edited message is that of the gateway."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable

from gateway.authentication.body import BodyHasher
from gateway.diagnosis.autopsy.bodies import BodyText, WantedDigest
from gateway.diagnosis.autopsy.edits import Edit, apply_edits
from gateway.diagnosis.autopsy.examination import AutopsyStatus, examine
from gateway.diagnosis.autopsy.output import autopsy_json
from gateway.diagnosis.autopsy.redaction import compose_report
from gateway.diagnosis.autopsy.rendering import render_autopsy
from gateway.diagnosis.autopsy.specimen import read_specimen
from gateway.mail.header import split_message
from tests.fuzz.mutation import run
from tests.support.corpora import corpus

_CASES = 400
_LITTLE = 1_000_000
"""Work of one search: some milliseconds."""
_LARGEST = 20_000
_WORDS = [b"--", b"\r\n\r\n", b"=\r\n", b">From ", b"\r\n.", b'boundary="x"', b"\r\n--x--\r\n--x", b"[tag] "]


def _messages() -> list[bytes]:
    files = sorted(path for path in corpus("mime").rglob("*") if path.is_file())
    return [octets for octets in (path.read_bytes() for path in files) if len(octets) < _LARGEST]


def _sign(octets: bytes) -> bytes:
    """A signature with a correct body hash and any b=."""
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    _, start = split_message(octets)
    digest = base64.b64encode(hashlib.sha256(_canonical(octets[start:])).digest())
    return (
        b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=src.example; s=s;\r\n"
        b" h=from:to:subject:date:content-type;\r\n"
        b" bh=" + digest + b"; b=AAAA\r\n" + octets
    )


def _canonical(body: bytes) -> bytes:
    while body.endswith(b"\r\n\r\n"):
        body = body[:-2]
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def _check(octets: bytes) -> None:
    specimen = read_specimen("x.eml", octets, raw=False)
    found = examine(specimen.message, {}, 1_800_000_000, work=_LITTLE)
    tree = autopsy_json(found, specimen, None)
    for mutation in tree["mutations"]:
        for place in mutation["places"]:
            assert 0 <= place["offset"] <= place["offset"] + place["length"] <= len(octets)
    if found.status is AutopsyStatus.FOUND:
        again = examine(found.repaired, {}, 1_800_000_000, work=_LITTLE)
        assert again.part is not found.part
    else:
        assert found.repaired is None
        assert not found.steps
    render_autopsy(found, specimen, None)
    compose_report(found, specimen)


def test_every_message_of_the_corpus() -> None:
    for octets in _messages():
        _check(octets)
        _check(_sign(octets))


def test_autopsy(full_count: Callable[[int], int]) -> None:
    run([_sign(octets) for octets in _messages()], full_count(_CASES), _check, _WORDS)


_PIECES = [b"a", b" ", b"\t", b"  ", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" \r\n", b"text line", b"--b--\r\n", b"\xff"]


def test_quick_body_hash(full_count: Callable[[int], int]) -> None:
    for number in range(full_count(10_000)):
        chance = random.Random(number)
        body = b"".join(chance.choices(_PIECES, k=chance.randint(0, 14))) + chance.choice([b"\r\n", b"end\r\n", b""])
        head = b"H: x\r\n\r\n"
        cuts = sorted(chance.sample(range(len(body) + 1), min(len(body) + 1, 2 * chance.randint(1, 3))))
        edits = [
            Edit(len(head) + start, len(head) + end, b"".join(chance.choices(_PIECES, k=chance.randint(0, 3))))
            for start, end in zip(cuts[::2], cuts[1::2], strict=False)
        ]
        wanted = [(form, length) for form in ("simple", "relaxed") for length in (None, 5)]
        hasher = BodyHasher(wanted)
        hasher.update(apply_edits(head + body, edits)[len(head) :])
        for digest in hasher.digests():
            asked = WantedDigest(digest.canonicalisation, digest.length, digest.digest)
            fits = digest.octets >= (digest.length or 0)
            assert BodyText(head + body, len(head), [asked]).matches(edits) is fits, (body, edits, asked)
            wrong = WantedDigest(asked.form, asked.length, b"\0" * 32)
            assert not BodyText(head + body, len(head), [wrong]).matches(edits)
