"""Microsoft's marks and codes in plain words."""

from __future__ import annotations

import pytest

from gateway.diagnosis.headers import texts
from gateway.diagnosis.headers.marks import explain_level, explain_reason, read_marks
from gateway.mail.header import parse_header

REPORT = "CIP:198.51.100.9;CTRY:;LANG:en;SCL:5;SRV:;IPV:NLI;SFV:SPM;H:mail.x.example;PTR:;CAT:SPOOF;SFS:(1);DIR:INB;"


def test_marks() -> None:
    block = (
        f"X-Forefront-Antispam-Report: {REPORT}\r\nX-Microsoft-Antispam: BCL:7;ARA:1;\r\n"
        "X-MS-Exchange-Organization-PCL: 2\r\n"
        "X-MS-Exchange-SkipListedInternetSender: ip=[192.0.2.1];domain=mail.x.example\r\n"
    )
    marks = read_marks(parse_header(block.encode()))
    assert (marks.scl, marks.pcl, marks.bcl) == (5, 2, 7)
    assert (marks.category, marks.verdict, marks.client, marks.skipped) == (
        "SPOOF",
        "SPM",
        "198.51.100.9",
        "192.0.2.1",
    )


def test_a_level_that_is_no_number() -> None:
    assert read_marks(parse_header(b"X-MS-Exchange-Organization-SCL: high\r\n")).scl is None


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("000", "DMARC failed"),
        ("001", "no explicit"),
        ("002", "administrator"),
        ("010", "tenant's own"),
        ("100", "authenticated"),
        ("130", "trusted sealer"),
        ("201", "implicit"),
        ("305", "not checked"),
        ("451", "bypassed"),
        ("501", "non-delivery"),
        ("601", "tenant's own"),
        ("703", "often received"),
        ("905", "bypassed"),
    ],
)
def test_reasons(code: str, word: str) -> None:
    assert word in explain_reason(code)


@pytest.mark.parametrize("code", ["", "8", "x"])
def test_a_reason_that_nobody_explained(code: str) -> None:
    assert explain_reason(code) == ""


@pytest.mark.parametrize(("level", "word"), [(-1, "not filtered"), (0, "not spam"), (5, "spam"), (9, "certainly spam")])
def test_levels(level: int, word: str) -> None:
    assert explain_level(level, texts.SCL).startswith(word)


def test_actions_that_are_no_override_have_words() -> None:
    assert {"pct.reject", "pct.quarantine", "quarantine", "reject"} <= set(texts.ACTIONS)
