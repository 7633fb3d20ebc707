"""DMARC records: tags, defaults, and the effect of a mistake (RFC 9989 sections 4.7 and 4.8)."""

from __future__ import annotations

import pytest

from gateway.authentication.dmarc import DmarcRecord, list_walk, select_records
from gateway.model.result import DmarcPolicy, DmarcVerdict


def _record(text: str) -> DmarcRecord:
    (record,) = select_records([text])
    return record


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1",
        "v=DMARC1;p=none",
        "v=DMARC1 ;p=none",
        "v \t=\tDMARC1; p=none;",
        "v=DMARC1; ; p=none; junk; =x",
        "V=DMARC1",
        "V = DMARC1; P=none",
    ],
)
def test_versions_that_count(text: str) -> None:
    assert len(select_records([text])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=dmarc1; p=none",
        "p=none; v=DMARC1",
        "v=DMARC1x; p=none",
        "v=DMARC10",
        " v=DMARC1; p=none",
        "V=dmarc1",
        "v=DMARC1, p=none",
    ],
)
def test_versions_that_do_not(text: str) -> None:
    assert select_records([text]) == []


def test_defaults_and_inheritance() -> None:
    record = _record("v=DMARC1; p=reject")
    assert (record.subdomain_policy, record.nonexistent_policy) == (DmarcPolicy.REJECT, DmarcPolicy.REJECT)
    assert (record.strict_dkim, record.strict_spf, record.psd, record.testing) == (False, False, "u", False)
    assert _record("v=DMARC1; p=reject; sp=none").nonexistent_policy is DmarcPolicy.NONE
    assert _record("v=DMARC1; p=none; np=reject").subdomain_policy is DmarcPolicy.NONE


def test_values_and_names_in_any_case() -> None:
    record = _record("v=DMARC1; P = Reject ; SP=None; ADKIM=S; aspf= S ; PSD=Y; T=Y")
    assert (record.policy, record.subdomain_policy) == (DmarcPolicy.REJECT, DmarcPolicy.NONE)
    assert (record.strict_dkim, record.strict_spf, record.psd, record.testing) == (True, True, "y", True)


@pytest.mark.parametrize(
    ("tags", "testing"),
    [
        ("pct=0", True),
        ("pct=0; t=n", False),
        ("pct=50", False),
        ("pct=100", False),
        ("pct=", False),
        ("pct=00", True),
        ("t=x", False),
    ],
)
def test_only_pct_0_acts_as_testing(tags: str, testing: bool) -> None:
    assert _record(f"v=DMARC1; p=reject; {tags}").testing is testing


@pytest.mark.parametrize(
    ("tags", "verdict"),
    [
        ("p=nonsense", DmarcVerdict.PERMERROR),
        ("p=", DmarcVerdict.PERMERROR),
        ("p=reject; sp=x", DmarcVerdict.PERMERROR),
        ("p=reject; np=x", DmarcVerdict.PERMERROR),
        ("adkim=s", DmarcVerdict.NONE),
        ("sp=reject", DmarcVerdict.NONE),
        ("p=nonsense; rua=nonsense", DmarcVerdict.PERMERROR),
        ("p=nonsense; rua=mailto:nobody", DmarcVerdict.PERMERROR),
    ],
)
def test_bad_policies_end_processing(tags: str, verdict: DmarcVerdict) -> None:
    """RFC 9989 section 4.10.1."""
    record = _record(f"v=DMARC1; {tags}")
    assert record.verdict is verdict
    assert record.reason


@pytest.mark.parametrize("tags", ["p=nonsense", "p=reject; sp=x", "p=reject; np=x", "sp=reject", ""])
def test_bad_policies_with_a_report_address_are_none(tags: str) -> None:
    record = _record(f"v=DMARC1; {tags}; rua=bad, mailto:d@corp.example!10m")
    policies = {record.policy, record.subdomain_policy, record.nonexistent_policy}
    assert (record.verdict, policies) == (None, {DmarcPolicy.NONE})


def test_record_text_is_printable() -> None:
    assert _record("v=DMARC1; p=none; x=\r\n\x00y").text == "v=DMARC1; p=none; x=???y"


def test_walk_of_long_names_asks_eight() -> None:
    """RFC 9989 section 4.10."""
    names = list_walk("a.b.c.d.e.f.g.h.i.j.mail.example.com")
    assert names[:2] == ["a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com"]
    assert (len(names), names[-1]) == (8, "com")
    assert list_walk("a.b.c.d.e.f.g.h") == ["a.b.c.d.e.f.g.h", "b.c.d.e.f.g.h", *list_walk("c.d.e.f.g.h")]
    assert list_walk("example") == ["example"]
