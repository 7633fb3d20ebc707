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
from gateway.diagnosis.autopsy import examination
from gateway.diagnosis.autopsy.examination import Autopsy, VerifiedBy, examine
from gateway.diagnosis.autopsy.proofs import FailingPart
from gateway.model.dnsdata import Answer, DnsStatus, Question
from tests.support.samples import sign, signing_key
from tests.support.split_mail import DOMAIN, break_at, signed_message, through_exchange, unsigned_message

NOW = 1_795_262_400
KEYS = {Question(f"sel1._domainkey.{DOMAIN}", "TXT"): Answer(DnsStatus.FOUND, (signing_key()[1],))}


@pytest.mark.parametrize("places", [p for n in (1, 2, 3) for p in itertools.combinations(range(3), n)])
def test_every_set_of_places_is_found(places: tuple[int, ...], tmp_path: Path) -> None:
    original = signed_message()
    broken, offsets = break_at(original, places)
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
    expected = [{"offset": offset, "length": 2} for offset in offsets]
    assert found["mutations"] == [{"id": "B01", "name": "blank-between-boundaries", "places": expected}]
    assert out.read_bytes() == original
    assert file.read_bytes() == broken
    assert found["original_sha256"] == hashlib.sha256(broken).hexdigest()
    assert found["repaired_sha256"] == hashlib.sha256(original).hexdigest()


def test_blank_lines_that_were_signed_are_kept() -> None:
    original = sign(break_at(unsigned_message(), (1,))[0], DOMAIN)
    broken, _ = break_at(original, (0,))
    found = examine(broken, {}, NOW)
    assert found.status is examination.AutopsyStatus.FOUND
    assert found.repaired == original


def test_a_large_message_takes_no_longer() -> None:
    original = signed_message(b"".join(b"Line %d to be skipped.  \r\n" % number for number in range(150_000)))
    broken, _ = break_at(original, (0, 2))
    began = time.process_time()
    found = examine(broken, {}, NOW)
    assert time.process_time() - began < 2
    assert found.repaired == original


def at_gmail() -> Autopsy:
    """Of the message as the second provider has it."""
    return examine(through_exchange(break_at(signed_message(), (0, 2))[0]), KEYS, NOW)


def test_with_the_key_the_whole_signature_verifies_after_the_repair() -> None:
    found = at_gmail()
    assert (found.part, found.verified_by, found.left) == (FailingPart.BODY, VerifiedBy.BODY_HASH, None)
    assert found.repaired == through_exchange(signed_message())
    again = examine(found.repaired, KEYS, NOW)
    assert (again.status, again.part) == (examination.AutopsyStatus.INTACT, None)


def test_the_hop_is_the_first_that_was_not_seen_to_get_it_broken() -> None:
    found = at_gmail()
    assert found.culprit is not None
    assert found.culprit.name == "am0pr01ft001.mail.protection.outlook.com"
    told = " ".join(found.culprit.grounds)
    assert "still verified when the message came to am0pr01ft001.mail.protection.outlook.com" in told
    assert "no longer verified when the message came to mx.google.com" in told
    assert "Exchange, which is known to do this" in told
