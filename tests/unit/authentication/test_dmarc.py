"""DMARC by RFC 9989: records, tree walk, policy, alignment, and the effect of an unanswered lookup."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.authentication import dmarc
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.mail.author import Author
from gateway.model.dnsdata import Answer, Question
from gateway.model.result import (
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone

Zone = dict[str, Any]


def _txt(*records: str) -> dict[str, list[str]]:
    return {"TXT": list(records)}


def _spf(result: str, domain: str = "") -> SpfResult:
    return SpfResult(SpfVerdict(result), domain, SpfIdentity.MAILFROM)


def _dkim(result: str, domain: str) -> DkimResult:
    return DkimResult(DkimVerdict(result), domain, "s", "rsa-sha256")


def _evaluate(
    zone: Zone,
    author: str | Author = "corp.example",
    spf: SpfResult | None = None,
    dkim: tuple[DkimResult, ...] = (),
    can_fail: bool = True,
) -> DmarcResult:
    who = Author(1, (author,), "") if isinstance(author, str) else author
    window = DnsView(ZoneResolver(build_zone(zone)).known)
    return dmarc.evaluate(who, spf or _spf("none"), dkim, window, can_fail=can_fail)


REJECT: Zone = {"_dmarc.corp.example": _txt("v=DMARC1; p=reject")}


# --- tree walk


def test_all_names_of_the_walk_are_asked_together() -> None:
    window = DnsView(lambda _: None)
    with pytest.raises(NeedAnswers):
        dmarc.evaluate(Author(1, ("a.corp.example", "b.test"), ""), _spf("none"), (), window)
    names = ["a.corp.example", "corp.example", "example", "b.test", "test"]
    assert window.pending == {Question(f"_dmarc.{name}", "TXT") for name in names}
    assert set(dmarc.questions(Author(1, ("a.corp.example", "b.test"), ""))) == window.pending


@pytest.mark.parametrize(
    ("zone", "policy_domain", "organizational"),
    [
        ({"_dmarc.corp.example": _txt("v=DMARC1; p=none")}, "corp.example", "corp.example"),
        ({"_dmarc.a.b.corp.example": _txt("v=DMARC1; p=none")}, "a.b.corp.example", "a.b.corp.example"),
        (
            {"_dmarc.a.b.corp.example": _txt("v=DMARC1; p=none"), "_dmarc.corp.example": _txt("v=DMARC1; p=none")},
            "a.b.corp.example",
            "corp.example",
        ),
        (
            {"_dmarc.b.corp.example": _txt("v=DMARC1; p=none; psd=n"), "_dmarc.corp.example": _txt("v=DMARC1; p=none")},
            "b.corp.example",
            "b.corp.example",
        ),
        ({"_dmarc.example": _txt("v=DMARC1; p=none; psd=y")}, "example", "corp.example"),
        (
            {"_dmarc.example": _txt("v=DMARC1; p=none; psd=y"), "_dmarc.corp.example": _txt("v=DMARC1; p=none")},
            "corp.example",
            "corp.example",
        ),
        (
            {"_dmarc.example": _txt("v=DMARC1; p=none; psd=y"), "_dmarc.b.corp.example": _txt("v=DMARC1; p=none")},
            "example",
            "corp.example",
        ),
        (
            {
                "_dmarc.b.corp.example": _txt("v=DMARC1; p=none", "v=DMARC1; p=reject"),
                "_dmarc.corp.example": _txt("v=DMARC1; p=none"),
            },
            "corp.example",
            "corp.example",
        ),
        ({"_dmarc.a.b.corp.example": _txt("v=spf1 -all", "v=DMARC1; p=none")}, "a.b.corp.example", "a.b.corp.example"),
    ],
)
def test_organizational_domain(zone: Zone, policy_domain: str, organizational: str) -> None:
    result = _evaluate(zone, "a.b.corp.example")
    assert (result.policy_domain, result.organizational_domain) == (policy_domain, organizational)


def test_psd_y_at_the_author_domain_itself() -> None:
    zone: Zone = {"_dmarc.bank.example": _txt("v=DMARC1; p=reject; psd=y")}
    assert _evaluate(zone, "bank.example").organizational_domain == "bank.example"


def test_no_record_is_none() -> None:
    result = _evaluate({}, dkim=(_dkim("pass", "corp.example"),))
    assert (result.result, result.policy, result.reason) == (DmarcVerdict.NONE, None, "no DMARC record")


# --- policy

FAMILY = "v=DMARC1; p=reject; sp=quarantine; np=none"


@pytest.mark.parametrize(
    ("zone", "policy"),
    [
        ({}, DmarcPolicy.NONE),
        ({"new.corp.example": {"A": ["192.0.2.1"]}}, DmarcPolicy.QUARANTINE),
        ({"new.corp.example": {"TXT": ["x"]}}, DmarcPolicy.QUARANTINE),
        ({"below.new.corp.example": {"TXT": ["x"]}}, DmarcPolicy.QUARANTINE),
        ({"new.corp.example": {"CNAME": ["gone.example"]}}, DmarcPolicy.QUARANTINE),
    ],
)
def test_np_is_for_nxdomain_alone(zone: Zone, policy: DmarcPolicy) -> None:
    result = _evaluate({"_dmarc.corp.example": _txt(FAMILY), **zone}, "new.corp.example")
    assert (result.result, result.published, result.policy) == (DmarcVerdict.FAIL, DmarcPolicy.REJECT, policy)


def test_existence_is_asked_only_where_it_matters() -> None:
    asked: list[Question] = []
    resolver = ZoneResolver(build_zone({"_dmarc.corp.example": _txt("v=DMARC1; p=reject; sp=none")}))

    def known(question: Question) -> Answer:
        asked.append(question)
        return resolver.known(question)

    dmarc.evaluate(Author(1, ("a.corp.example",), ""), _spf("none"), (), DnsView(known))
    assert {question.type for question in asked} == {"TXT"}


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        ("p=reject; t=y", DmarcPolicy.QUARANTINE),
        ("p=quarantine; t=y", DmarcPolicy.NONE),
        ("p=none; t=y", DmarcPolicy.NONE),
        ("p=reject; pct=0", DmarcPolicy.QUARANTINE),
        ("p=reject; pct=20", DmarcPolicy.REJECT),
    ],
)
def test_testing_lowers_the_policy_one_level(record: str, policy: DmarcPolicy) -> None:
    result = _evaluate({"_dmarc.corp.example": _txt(f"v=DMARC1; {record}")})
    assert (result.policy, result.result) == (policy, DmarcVerdict.FAIL)


# --- alignment


@pytest.mark.parametrize(
    ("tags", "domain", "aligned"),
    [
        ("", "corp.example", True),
        ("", "mail.corp.example", True),
        ("", "other.example", False),
        ("", "notcorp.example", False),
        ("adkim=s; aspf=s", "mail.corp.example", False),
        ("adkim=s; aspf=s", "corp.example", True),
        ("", "example", False),
        ("", "", False),
    ],
)
def test_alignment(tags: str, domain: str, aligned: bool) -> None:
    zone = {"_dmarc.corp.example": _txt(f"v=DMARC1; p=reject; {tags}")}
    by_spf = _evaluate(zone, spf=_spf("pass", domain))
    by_dkim = _evaluate(zone, dkim=(_dkim("fail", "corp.example"), _dkim("pass", domain)))
    verdict = DmarcVerdict.PASS if aligned else DmarcVerdict.FAIL
    assert (by_spf.result, by_spf.spf_aligned) == (verdict, aligned)
    assert (by_dkim.result, by_dkim.dkim_aligned) == (verdict, (False, aligned))


def test_modes_are_separate() -> None:
    zone = {"_dmarc.corp.example": _txt("v=DMARC1; p=reject; adkim=s")}
    assert _evaluate(zone, spf=_spf("pass", "mail.corp.example")).result is DmarcVerdict.PASS
    assert _evaluate(zone, dkim=(_dkim("pass", "mail.corp.example"),)).result is DmarcVerdict.FAIL


def test_siblings_align_through_the_organizational_domain() -> None:
    result = _evaluate(REJECT, "a.corp.example", spf=_spf("pass", "b.corp.example"))
    assert result.result is DmarcVerdict.PASS


def test_a_domain_that_is_its_own_organization_does_not_align() -> None:
    zone = {**REJECT, "_dmarc.tenant.corp.example": _txt("v=DMARC1; p=none; psd=n")}
    assert _evaluate(zone, spf=_spf("pass", "tenant.corp.example")).result is DmarcVerdict.FAIL


def test_siblings_under_a_public_suffix_do_not_align() -> None:
    """RFC 9989 appendix B.4.3."""
    zone: Zone = {
        "_dmarc.bank.example": _txt("v=DMARC1; p=reject; psd=y"),
        "_dmarc.giant.bank.example": _txt("v=DMARC1; p=reject"),
    }
    assert _evaluate(zone, "giant.bank.example", spf=_spf("pass", "mega.bank.example")).result is DmarcVerdict.FAIL
    assert _evaluate(zone, "giant.bank.example", spf=_spf("pass", "x.giant.bank.example")).result is DmarcVerdict.PASS


@pytest.mark.parametrize("word", ["none", "neutral", "softfail", "fail", "permerror"])
def test_only_a_pass_authenticates(word: str) -> None:
    result = _evaluate(REJECT, spf=_spf(word, "corp.example"))
    assert (result.result, result.spf_aligned) == (DmarcVerdict.FAIL, False)


def test_the_helo_identity_of_a_null_sender_counts() -> None:
    spf = SpfResult(SpfVerdict.PASS, "mx.corp.example", SpfIdentity.HELO)
    assert _evaluate(REJECT, spf=spf).result is DmarcVerdict.PASS


def test_failure_says_what_passed() -> None:
    assert _evaluate(REJECT, spf=_spf("pass", "other.example")).reason == "passed but not aligned: other.example"
    assert _evaluate(REJECT).reason == "neither SPF nor DKIM passed"


# --- who the author is


def test_from_that_names_nobody_is_none() -> None:
    assert _evaluate(REJECT, Author(0, (), "no From field")).reason == "no From field"
    several = _evaluate(REJECT, Author(2, ("corp.example",), ""), dkim=(_dkim("pass", "corp.example"),))
    assert (several.result, several.reason, several.dkim_aligned) == (DmarcVerdict.NONE, "2 From fields", (False,))


def test_several_authors_the_strictest_rules() -> None:
    zone = {**REJECT, "_dmarc.soft.example": _txt("v=DMARC1; p=none"), "_dmarc.own.test": _txt("v=DMARC1; p=none")}
    passing = (_dkim("pass", "own.test"),)
    for domains in (("own.test", "soft.example", "corp.example"), ("corp.example", "own.test", "soft.example")):
        result = _evaluate(zone, Author(1, domains, ""), dkim=passing)
        assert (result.result, result.domain) == (DmarcVerdict.FAIL, "corp.example")
    both = _evaluate(zone, Author(1, ("own.test", "soft.example"), ""), dkim=(*passing, _dkim("pass", "soft.example")))
    assert both.result is DmarcVerdict.PASS
    unknown = _evaluate(zone, Author(1, ("own.test", "norecord.test"), ""), dkim=passing)
    assert (unknown.result, unknown.domain) == (DmarcVerdict.NONE, "norecord.test")


def test_a_name_that_only_some_readers_see_counts_if_it_has_a_record() -> None:
    zone = {**REJECT, "_dmarc.own.test": _txt("v=DMARC1; p=none")}
    passing = (_dkim("pass", "own.test"),)
    junk = _evaluate(zone, Author(1, ("own.test", "own.testfoo"), "", 1), dkim=passing)
    assert (junk.result, junk.domain) == (DmarcVerdict.PASS, "own.test")
    victim = _evaluate(zone, Author(1, ("own.test", "corp.example"), "", 1), dkim=passing)
    assert (victim.result, victim.domain) == (DmarcVerdict.FAIL, "corp.example")


def test_a_from_read_in_part_cannot_pass() -> None:
    author = Author(1, ("corp.example",), "more than 5 domains in From")
    assert _evaluate(REJECT, author, dkim=(_dkim("pass", "corp.example"),)).result is DmarcVerdict.NONE
    assert _evaluate(REJECT, author).result is DmarcVerdict.FAIL


def test_without_a_known_ingress_it_may_pass_but_not_fail() -> None:
    result = _evaluate(REJECT, can_fail=False)
    assert (result.result, result.policy) == (DmarcVerdict.NONE, DmarcPolicy.REJECT)
    assert result.reason
    assert _evaluate(REJECT, dkim=(_dkim("pass", "corp.example"),), can_fail=False).result is DmarcVerdict.PASS


def test_several_records_at_one_name_are_discarded_and_the_walk_goes_on() -> None:
    for first in ("v=DMARC1; p=none", "V=DMARC1; p=none"):
        zone = {"_dmarc.a.corp.example": _txt(first, "v=DMARC1; p=none; psd=n"), **REJECT}
        result = _evaluate(zone, "a.corp.example")
        assert (result.result, result.policy, result.policy_domain) == (
            DmarcVerdict.FAIL, DmarcPolicy.REJECT, "corp.example",
        )  # fmt: skip
    alone = _evaluate({"_dmarc.a.corp.example": _txt("v=DMARC1; p=reject", "V=DMARC1; p=reject")}, "a.corp.example")
    assert (alone.result, alone.policy) == (DmarcVerdict.NONE, None)
    above = {**REJECT, "_dmarc.example": _txt("v=DMARC1; p=none; psd=y", "v=DMARC1; p=none; psd=n")}
    assert _evaluate(above, "a.corp.example").organizational_domain == "corp.example"


def test_the_tag_s_name_is_read_in_either_case() -> None:
    zone = {"_dmarc.dept.corp.example": _txt("V=DMARC1; P=Reject; PSD=N"), **REJECT}
    result = _evaluate(zone, "dept.corp.example", dkim=(_dkim("pass", "corp.example"),))
    assert (result.result, result.policy_domain) == (DmarcVerdict.FAIL, "dept.corp.example")


# --- lookups that fail


@pytest.mark.parametrize("failure", ["TIMEOUT", "SERVFAIL"])
@pytest.mark.parametrize("where", ["_dmarc.a.corp.example", "_dmarc.corp.example", "_dmarc.example"])
def test_failed_discovery_is_temperror(failure: str, where: str) -> None:
    result = _evaluate({where: {"TXT": failure}}, "a.corp.example")
    assert (result.result, result.policy) == (DmarcVerdict.TEMPERROR, None)
    assert where in result.reason


def test_a_failure_beyond_the_end_of_the_walk_is_nothing() -> None:
    zone: Zone = {"_dmarc.corp.example": _txt("v=DMARC1; p=reject; psd=n"), "_dmarc.example": {"TXT": "TIMEOUT"}}
    assert _evaluate(zone).result is DmarcVerdict.FAIL


def test_an_aligned_pass_beats_any_temperror() -> None:
    broken: Zone = {"_dmarc.corp.example": {"TXT": "TIMEOUT"}}
    aligned = _evaluate(broken, dkim=(_dkim("pass", "corp.example"),))
    assert (aligned.result, aligned.dkim_aligned, aligned.authenticated) == (DmarcVerdict.TEMPERROR, (True,), True)
    below = _evaluate(broken, dkim=(_dkim("pass", "mail.corp.example"),))
    assert (below.result, below.authenticated) == (DmarcVerdict.TEMPERROR, False)
    other = {**broken, "_dmarc.own.test": _txt("v=DMARC1; p=none")}
    strictest = _evaluate(other, Author(1, ("corp.example", "own.test"), ""), dkim=(_dkim("pass", "corp.example"),))
    assert (strictest.result, strictest.domain) == (DmarcVerdict.FAIL, "own.test")
    unread = _evaluate(broken, Author(1, ("corp.example",), "group in From"), dkim=(_dkim("pass", "corp.example"),))
    assert (unread.result, unread.reason) == (DmarcVerdict.NONE, "group in From")
    mixed = (_dkim("temperror", "corp.example"), _dkim("pass", "corp.example"))
    result = _evaluate(REJECT, spf=_spf("temperror", "corp.example"), dkim=mixed)
    assert (result.result, result.dkim_aligned) == (DmarcVerdict.PASS, (False, True))
    half = {**REJECT, "_dmarc.example": {"TXT": "SERVFAIL"}}
    assert _evaluate(half, dkim=(_dkim("pass", "corp.example"),)).result is DmarcVerdict.PASS


@pytest.mark.parametrize(
    ("domain", "verdict"),
    [
        ("corp.example", DmarcVerdict.TEMPERROR),
        ("mail.corp.example", DmarcVerdict.TEMPERROR),
        ("other.example", DmarcVerdict.FAIL),
        ("", DmarcVerdict.FAIL),
    ],
)
def test_temperror_counts_where_a_pass_would_align(domain: str, verdict: DmarcVerdict) -> None:
    assert _evaluate(REJECT, dkim=(_dkim("temperror", domain),)).result is verdict
    assert _evaluate(REJECT, spf=_spf("temperror", domain)).result is verdict


def test_unknown_alignment_is_temperror() -> None:
    zone = {**REJECT, "_dmarc.mail.corp.example": {"TXT": "TIMEOUT"}}
    assert _evaluate(zone, dkim=(_dkim("pass", "mail.corp.example"),)).result is DmarcVerdict.TEMPERROR
    above = {**REJECT, "_dmarc.example": {"TXT": "TIMEOUT"}}
    assert _evaluate(above, spf=_spf("pass", "mail.corp.example")).result is DmarcVerdict.TEMPERROR
    assert _evaluate(above, spf=_spf("fail", "mail.corp.example")).result is DmarcVerdict.FAIL


def test_unknown_existence_is_temperror_unless_it_passes() -> None:
    zone = {"_dmarc.corp.example": _txt(FAMILY), "new.corp.example": {"A": "SERVFAIL"}}
    assert _evaluate(zone, "new.corp.example").result is DmarcVerdict.TEMPERROR
    assert _evaluate(zone, "new.corp.example", dkim=(_dkim("pass", "corp.example"),)).result is DmarcVerdict.PASS


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ("v=DMARC1; p=nonsense", DmarcVerdict.PERMERROR),
        ("v=DMARC1; p=reject; sp=x", DmarcVerdict.PERMERROR),
        ("v=DMARC1; adkim=s", DmarcVerdict.NONE),
        ("v=DMARC1; p=nonsense; rua=mailto:d@corp.example", DmarcVerdict.FAIL),
    ],
)
def test_bad_policies(record: str, verdict: DmarcVerdict) -> None:
    """RFC 9989 section 4.10.1."""
    result = _evaluate({"_dmarc.corp.example": _txt(record)})
    assert (result.result, result.record) == (verdict, record)
    assert result.reason
    assert result.policy in (None, DmarcPolicy.NONE)


def test_np_in_doubt_is_the_stricter_of_both() -> None:
    """Whether the author domain exists is unknown: sp or np may apply, and the doubt must not hide the stricter one."""
    zone: Zone = {
        "_dmarc.corp.example": _txt("v=DMARC1; p=none; sp=quarantine; np=reject"),
        "new.corp.example": {"A": "TIMEOUT"},
    }
    result = _evaluate(zone, "new.corp.example")
    assert result.result is DmarcVerdict.TEMPERROR
    assert result.policy is DmarcPolicy.REJECT
