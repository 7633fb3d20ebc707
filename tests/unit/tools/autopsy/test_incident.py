"""Incident 1: blank lines between adjacent boundaries, at one, two and three places, with no key and no network."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import load_commands
from gateway.tools.autopsy.examination import Status, VerifiedBy, examine
from gateway.tools.autopsy.proofs import Part
from tests.samples import sign

_GAPS = (b"--one--\r\n--outer\r\n", b"--two--\r\n--outer\r\n", b"--three--\r\n--outer--\r\n")


def unsigned_message(large: bool = False) -> bytes:
    """multipart/mixed with three nested multiparts; the signer put no blank line between adjacent boundaries."""
    parts = b"".join(
        b'--outer\r\nContent-Type: multipart/alternative; boundary="%s"\r\n\r\n--%s\r\nContent-Type: text/plain\r\n\r\n'
        b"Text  of %s \r\n--%s\r\nContent-Type: text/html\r\n\r\n<p>%s</p>\r\n--%s--\r\n" % ((name,) * 6)
        for name in (b"one", b"two", b"three")
    )
    filler = b"Grund %d genug, das hier zu lesen.  \r\n"
    preamble = b"".join(filler % number for number in range(100_000)) if large else b""
    header = (
        b"From: a@sender.example\r\nTo: b@ours.example\r\nSubject: nested\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
        b"MIME-Version: 1.0\r\nMessage-ID: <1@sender.example>\r\n"
        b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\n'
    )
    return header + preamble + parts + b"--outer--\r\n"


def signed(message: bytes) -> bytes:
    return sign(message, "sender.example")


def break_at(message: bytes, places: tuple[int, ...]) -> tuple[bytes, list[dict[str, int]]]:
    """The message with blank lines put in at those gaps, and where they are in it."""
    offsets = sorted(message.index(_GAPS[number]) + _GAPS[number].index(b"\r\n") + 2 for number in places)
    for offset in reversed(offsets):
        message = message[:offset] + b"\r\n" + message[offset:]
    return message, [{"offset": offset + 2 * number, "length": 2} for number, offset in enumerate(offsets)]


@pytest.mark.parametrize("places", [p for n in (1, 2, 3) for p in itertools.combinations(range(3), n)])
def test_every_set_of_places_is_found(places: tuple[int, ...], tmp_path: Path) -> None:
    original = signed(unsigned_message())
    broken, expected = break_at(original, places)
    file, zone, out = tmp_path / "broken.eml", tmp_path / "zone.json", tmp_path / "repaired.eml"
    file.write_bytes(broken)
    zone.write_text("{}")
    began = time.perf_counter()
    run = CliRunner().invoke(
        load_commands(["autopsy"]), ["autopsy", str(file), "--dns", str(zone), "--repair", str(out), "--json"]
    )
    assert time.perf_counter() - began < 2
    assert run.exit_code == 0
    found = json.loads(run.stdout)
    assert found["status"] == "found"
    assert found["part"] == "body"
    assert found["verified_by"] == "bodyhash"
    assert found["mutations"] == [{"id": "B01", "name": "blank-between-boundaries", "places": expected}]
    assert out.read_bytes() == original
    assert file.read_bytes() == broken
    assert found["original_sha256"] == hashlib.sha256(broken).hexdigest()
    assert found["repaired_sha256"] == hashlib.sha256(original).hexdigest()


def test_blank_lines_that_were_signed_are_kept() -> None:
    """One gap had its blank line before: only the other two are undone."""
    original = signed(break_at(unsigned_message(), (1,))[0])
    broken, _ = break_at(original, (0,))
    found = examine(broken, {}, 1_800_000_000)
    assert found.status is Status.FOUND
    assert found.repaired == original


def test_a_large_message_takes_no_longer() -> None:
    original = signed(unsigned_message(large=True))
    broken, _ = break_at(original, (0, 2))
    began = time.process_time()
    found = examine(broken, {}, 1_800_000_000)
    assert time.process_time() - began < 2
    assert (found.status, found.part, found.verified_by) == (Status.FOUND, Part.BODY, VerifiedBy.BODY_HASH)
    assert found.repaired == original
