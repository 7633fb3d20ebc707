"""DKIM by other people's test data: chasquid, go-msgauth, mail-auth, mailauth, and the catalogue of mutations.

If the corpora expect a result other than ours, the table below has the case, our results and the section that decides.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.authentication import dkim
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.result import DkimResult
from tests.support.corpora import corpus
from tests.support.signing import evidence, window

SOURCES = ("chasquid", "go-msgauth", "mail-auth", "mailauth")
AFTER_ALL_SIGNATURES = 1_730_000_000.0

EXCEPTIONS: dict[str, tuple[list[str], str]] = {
    "chasquid-02-too_many_headers": (
        ["pass"] * 7,
        "RFC 6376 section 6.1 leaves the number to the verifier: chasquid judges 5 of the 7 signatures, we judge 8",
    ),
    "chasquid-03-bad_message": (
        [],
        "RFC 6376 section 6.1: without a DKIM-Signature there is nothing to judge; chasquid refuses the message",
    ),
    "chasquid-09-limited_body": (
        ["policy", "pass", "pass"],
        "RFC 6376 section 8.2: l=17 leaves 37 octets that anyone can write, so the signature verifies but is not used",
    ),
}

MUTATION_WORDS = {
    "pass": ("pass", ""),
    "fail:bodyhash": ("fail", "body hash did not verify"),
    "fail:signature": ("fail", "signature did not verify"),
}


def cases() -> list[Any]:
    found = []
    for source in SOURCES:
        path = corpus(f"dkim/{source}/cases.json")
        data = json.loads(path.read_text())
        found += [
            pytest.param(path.parent, {"dns": data.get("dns", {}), "now": data.get("now")} | case, id=case["id"])
            for case in data["cases"]
        ]
    return found


def answer(records: list[str] | str) -> Answer:
    return Answer(DnsStatus(records.lower())) if isinstance(records, str) else Answer(DnsStatus.FOUND, tuple(records))


def judge(message: bytes, dns: dict[str, list[str] | str], now: float) -> tuple[DkimResult, ...]:
    known = {Question(name, "TXT"): answer(records) for name, records in dns.items()}
    return dkim.verify(*evidence(message), window(known), now)


@pytest.mark.parametrize(("directory", "case"), cases())
def test_case(directory: Path, case: dict[str, Any]) -> None:
    message = (directory / case["file"]).read_bytes()
    results = judge(message, case["dns"], case["now"] or AFTER_ALL_SIGNATURES)
    words = [each.result.value for each in results]
    if case["id"] in EXCEPTIONS:
        assert words == EXCEPTIONS[case["id"]][0]
        assert words != case["sigs"], "no exception any more"
        return
    if case.get("sigs") is not None:
        assert words == case["sigs"]
    elif "expect_rule" in case:  # mail-auth asserts the last signature only
        assert words[-1] == case["expect"]
    if case["expect"] == "pass":
        assert "pass" in words
    elif case["expect"] == "none":
        assert words == []
    else:
        assert words == [case["expect"]]


def test_all_cases_are_there() -> None:
    ids = {case.id for case in cases()}
    assert len(ids) == 23
    assert ids >= EXCEPTIONS.keys()


def test_mutations() -> None:
    """580 messages altered as relays alter them, and their unaltered bases: the same words as stock dkimpy."""
    directory = corpus("mutations")
    data = json.loads((directory / "cases.json").read_text())
    dns: dict[str, list[str] | str] = {name: [record] for name, record in data["dns"].items()}
    assert len(data["cases"]) == 580
    for case in data["cases"]:
        for file, expected in (("base", "base_result"), ("file", "dkim_result_dkimpy118")):
            results = judge((directory / case[file]).read_bytes(), dns, case["verify_now"])
            said = [(each.result.value, each.reason) for each in results]
            assert said == [MUTATION_WORDS[word] for word in case[expected]], case["id"]
