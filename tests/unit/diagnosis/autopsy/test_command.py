"""`waypost autopsy` as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import load_commands
from tests.support.samples import signing_key
from tests.support.split_mail import break_at, signed_message, through_exchange

KEYS = ["signatures", "status", "mutations", "verified_by", "part", "original_sha256", "repaired_sha256", "hop"]


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A directory with a broken message and the signer's zone."""
    (tmp_path / "broken.eml").write_bytes(through_exchange(break_at(signed_message(), (0, 2))[0]))
    (tmp_path / "whole.eml").write_bytes(through_exchange(signed_message()))
    (tmp_path / "zone.json").write_text(json.dumps({"sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]}}))
    return tmp_path


def run(case: Path, *more: str, file: str = "broken.eml") -> Result:
    words = ["autopsy", str(case / file), "--dns", str(case / "zone.json"), *more]
    return CliRunner().invoke(load_commands(words), words)


def test_json_has_every_key(case: Path) -> None:
    for file in ("broken.eml", "whole.eml"):
        tree = json.loads(run(case, "--json", file=file).stdout)
        assert [key for key in KEYS if key not in tree] == []
    assert tree["status"] == "intact"
    assert (tree["mutations"], tree["verified_by"], tree["part"], tree["hop"]) == ([], None, None, None)
    assert tree["signatures"] == [
        {"index": 0, "domain": "sender.example", "selector": "sel1", "result": "pass", "reason": None}
    ]


def test_text_is_plain(case: Path) -> None:
    text = run(case).stdout
    for said in (
        "1. sender.example (selector sel1): fail, body hash did not verify",
        "put a blank line between the end of an inner multipart and the next boundary, in 2 places (B01",
        "--one--",
        "Proven: with that undone, the body has exactly the fingerprint that sender.example signed.",
        "Most likely am0pr01ft001.mail.protection.outlook.com",
        "Leave the sender's SPF, DKIM key and DMARC record alone",
    ):
        assert said in text
    assert "canonical" not in text


def test_offsets_of_a_file_with_lf_are_its_own(case: Path) -> None:
    octets = (case / "broken.eml").read_bytes().replace(b"\r\n", b"\n")
    (case / "lf.eml").write_bytes(octets)
    tree = json.loads(run(case, "--json", "--repair", str(case / "out.eml"), file="lf.eml").stdout)
    assert tree["newlines"] == "converted"
    places = tree["mutations"][0]["places"]
    assert len(places) == 2
    for place in places:
        assert octets[place["offset"] - 2 : place["offset"] + place["length"]] == b"-\n\n"
    assert (case / "out.eml").read_bytes() == (case / "whole.eml").read_bytes().replace(b"\r\n", b"\n")
    assert json.loads(run(case, "--json", "--raw", file="lf.eml").stdout)["newlines"] == "mixed"


def test_the_message_itself_is_never_written(case: Path) -> None:
    before = (case / "broken.eml").read_bytes()
    (case / "link.eml").hardlink_to(case / "broken.eml")
    for name in ("broken.eml", "link.eml"):
        for option in ("--repair", "--report"):
            assert run(case, option, str(case / name)).exit_code == 2
    assert (case / "broken.eml").read_bytes() == before


def test_nothing_is_written_when_nothing_was_found(case: Path) -> None:
    (case / "odd.eml").write_bytes((case / "whole.eml").read_bytes().replace(b"Text  of two", b"Test  of two"))
    done = run(case, "--repair", str(case / "out.eml"), "--json", file="odd.eml")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["status"] == "unknown"
    assert not (case / "out.eml").exists()
    assert "was not written" in done.stderr


def test_report_keeps_secrets_and_what_the_case_rests_on(case: Path) -> None:
    assert run(case, "--report", str(case / "report.txt")).exit_code == 0
    text = (case / "report.txt").read_text()
    for secret in ("ann@", "bob@", "Ann", "Bob", "Offer", "Text", "of one"):
        assert secret not in text
    for kept in ("B01", "<1@sender.example>", "AM0PR01FT001", "--one--\\r\\n", "15.20.8200.1", "Xxxx"[1:]):
        assert kept in text


def test_the_original_shows_what_differs(case: Path) -> None:
    more = ("--original", str(case / "whole.eml"))
    tree = json.loads(run(case, *more, "--json").stdout)
    assert [(one["original"], one["lines"]) for one in tree["differences"]] == [([], ["\r\n"])] * 2
    assert "Against the original" in run(case, *more).stdout
    assert "No difference." in run(case, *more, file="whole.eml").stdout


def test_a_file_that_is_not_there(case: Path) -> None:
    assert isinstance(run(case, file="none.eml").exception, OSError), "main() makes it a message and exit status 2"


def test_a_change_after_the_last_witness(case: Path) -> None:
    """The last hop found the message intact, so a later change is reported, and the hop is not accused."""
    top = (
        b"Authentication-Results: mx.corp.example; dkim=pass header.d=sender.example\r\n"
        b"Received: from a by mx.corp.example (Postfix) with ESMTP id 1; Mon, 2 Nov 2026 10:00:01 +0000\r\n"
    )
    (case / "kept.eml").write_bytes(top + break_at(signed_message(), (0, 2))[0])
    said = " ".join(run(case, file="kept.eml").stdout.split())
    assert "Somewhere after mx.corp.example, which found it intact: what stores the mailbox, a program on it" in said
    assert "Save the message again from the mailbox" in said
    assert "stop changing mail" not in said
    hop = json.loads(run(case, "--json", file="kept.eml").stdout)["hop"]
    assert (hop["name"], hop["afterwards"]) == ("mx.corp.example", True)
    report = case / "report.txt"
    run(case, "--report", str(report), file="kept.eml")
    assert "Somewhere after: mx.corp.example" in report.read_text("utf-8")


def test_a_header_field_that_was_changed(case: Path) -> None:
    (case / "subject.eml").write_bytes((case / "whole.eml").read_bytes().replace(b"Subject: ", b"Subject: [list] x "))
    said = run(case, file="subject.eml").stdout
    assert "The body is as it was signed; a signed header field was changed." in said
