"""Trusted sealers: the trusted ones, for which author, and the effect of a rule."""

from __future__ import annotations

import pytest

from gateway.mail.author import Author, find_author
from gateway.model.decision import Action, Override
from gateway.model.result import ArcResult, ArcVerdict, DmarcPolicy, DmarcVerdict, SpfVerdict
from gateway.model.value import replace
from gateway.policy.sealers import find_trusted
from tests.support.sealing import pass_on, read, seal_at, validate
from tests.support.signing import MESSAGE
from tests.unit.policy.scenes import EDGE, OUR_SETTINGS, Scene, shipped, spf

TRUSTED = frozenset({"two.example"})
CHAIN = "arc=pass as[2].d=two.example as[2].s=arc as[1].d=one.example as[1].s=arc remote-ip[1]=2001:db8::1a"


def ask(message: bytes, trusted: frozenset[str] = TRUSTED, arc: ArcResult | None = None) -> str:
    header = read(message)[1]
    return find_trusted(header, arc or validate(message), find_author(header), trusted)


def test_the_newest_sealer_is_the_one_that_counts() -> None:
    assert ask(pass_on(MESSAGE, 2)) == CHAIN
    assert ask(pass_on(MESSAGE, 3)) == ""
    assert ask(pass_on(MESSAGE, 2), frozenset({"one.example"})) == ""


def test_nobody_is_trusted_by_default() -> None:
    assert OUR_SETTINGS.trusted_sealers == frozenset()
    assert ask(pass_on(MESSAGE, 2), frozenset()) == ""


def test_a_subdomain_of_a_trusted_sealer_is_another() -> None:
    assert ask(pass_on(MESSAGE, 2), frozenset({"example"})) == ""


def test_a_broken_chain_is_worth_nothing() -> None:
    assert ask(pass_on(MESSAGE, 2).replace(b"A  question", b"An answer")) == ""


@pytest.mark.parametrize("verdict", [one for one in DmarcVerdict if one is not DmarcVerdict.PASS])
def test_dmarc_must_have_passed_with_that_sealer(verdict: DmarcVerdict) -> None:
    assert ask(seal_at("two.example", pass_on(MESSAGE, 1), verdict)) == ""


PASSED = ArcResult(ArcVerdict.PASS, 0, ("two.example",))
SET = (
    "ARC-Seal: i=1; a=rsa-sha256; d=two.example; s=arc; cv=none; b=AA==\r\n"
    "ARC-Message-Signature: i=1; a=rsa-sha256; d=two.example; s=arc; h={h}; bh=AA==; b=AA==\r\n"
    "ARC-Authentication-Results: {results}\r\n{author}\r\n\r\n"
)


@pytest.mark.parametrize(
    ("results", "names", "author", "trusted"),
    [
        ("i=1; mx; dmarc=pass header.from=src.example", "From:To", "From: a@src.example", True),
        ("i=1; mx; spf=fail; DMARC=Pass (p=reject) header.from=SRC.example", "from", "From: a@src.example", True),
        ("i=1; dmarc=pass header.from=src.example", "from", "From: a@src.example", False),
        ("i=1; mx; dmarc=pass header.from=xn--bcher-kva.example", "from", "From: a@bücher.example", True),
        ("i=1; mx; dmarc=pass header.from=src.example", "to:subject", "From: a@src.example", False),
        ("i=1; mx; dmarc=pass header.from=other.example", "from", "From: a@src.example", False),
        ("i=1; mx; dmarc=pass header.from=example", "from", "From: a@src.example", False),
        ("i=1; mx; dmarc=pass", "from", "From: a@src.example", False),
        ("i=1; mx; arc=pass", "from", "From: a@src.example", False),
        ("i=1; mx; spf=pass reason=\"; dmarc=pass header.from=src.example\"", "from", "From: a@src.example", False),
        ("i=1; mx (; dmarc=pass header.from=src.example)", "from", "From: a@src.example", False),
        (
            "i=1; mx; dmarc=pass header.from=src.example; dmarc=fail header.from=src.example",
            "from",
            "From: a@src.example",
            False,
        ),
        ("i=2; mx; dmarc=pass header.from=src.example", "from", "From: a@src.example", False),
        ("i=1; mx; dmarc=pass header.from=src.example", "from", "From: a@src.example, b@other.example", False),
        (
            "i=1; mx; dmarc=pass header.from=src.example",
            "from",
            "From: a@src.example\r\nFrom: b@src.example",
            False,
        ),
        ("i=1; mx; dmarc=pass header.from=src.example", "from", "Subject: nobody", False),
    ],
)  # fmt: skip
def test_what_the_set_says(results: str, names: str, author: str, trusted: bool) -> None:
    message = SET.format(h=names, results=results, author=author).encode()
    expected = "arc=pass as[1].d=two.example as[1].s=arc" if trusted else ""
    assert ask(message, arc=PASSED) == expected


PASS = "dmarc=pass header.from=src.example"
GOOGLE = (
    'i=1; mx.google.com;\r\n dkim=pass header.i=@src.example header.s=a header.b="Ab/d+f==";\r\n'
    " arc=pass (i=1 spf=pass spfdomain=src.example);\r\n"
    " spf=pass (google.com: domain of a@src.example designates 192.0.2.1 as permitted sender)"
    ' smtp.mailfrom="a b"@src.example;\r\n dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=src.example'
)
MICROSOFT = (
    "i=1; mx.microsoft.com 1; spf=pass (sender ip is 192.0.2.1) smtp.rcpttodomain=own.example\r\n"
    " smtp.mailfrom=src.example; dmarc=pass (p=reject sp=reject pct=100) action=none\r\n"
    " header.from=src.example; dkim=pass (signature was verified)\r\n header.d=src.example; arc=none (0)"
)
OWN = (
    "i=1; mx; spf=fail; dmarc=pass (p=reject) header.from=src.example policy.dmarc=reject;"
    " dkim=pass header.d=dmarc.example"
)
SANE = [GOOGLE, MICROSOFT, OWN, f"i=1; mx; {PASS};", f"i=1; mx (a \\( b); {PASS}"]


@pytest.mark.parametrize("results", SANE)
def test_a_sane_set_counts(results: str) -> None:
    assert ask(SET.format(h="from", results=results, author="From: a@src.example").encode(), arc=PASSED)


ODD = {
    "a comment closed by what the sender chose": (
        f'i=1; mx.google.com; spf=pass (google.com: domain of "x); {PASS}; (("@m9.evil.example designates)'
        " smtp.mailfrom=a@b; dmarc=fail (p=REJECT) header.from=src.example"
    ),
    "an open quote": f'i=1; mx; {PASS}; dkim=pass header.i="@evil; dmarc=fail header.from=src.example',
    "an open quote over nothing": f'i=1; mx; {PASS}; dkim=pass header.i="@evil',
    "an open comment": f"i=1; mx; {PASS} (a (b)",
    "a comment that none opened": f"i=1; mx; {PASS} a)",
    "a backslash": f"i=1; mx; {PASS} x=\\",
    "a comment hides one": f"i=1; mx; {PASS}; spf=none (x; DMARC=fail header.from=src.example)",
    "a string hides one": f'i=1; mx; {PASS}; spf=none smtp.mailfrom="; dmarc=fail header.from=src.example"',
    "a value hides one": f"i=1; mx; {PASS}; spf=none smtp.mailfrom=dmarc=fail",
    "too long": f"i=1; mx; {PASS}; " + "spf=none;\r\n " * 800 + "dmarc=fail header.from=src.example",
    "too long but sound": f"i=1; mx; {PASS}" + "; spf=none\r\n " * 800,
    "two authors": "i=1; mx; dmarc=pass header.from=src.example header.from=evil.example",
    "two authors, the other first": "i=1; mx; dmarc=pass header.from=evil.example header.from=src.example",
    "two results in one": f"i=1; mx; {PASS} dmarc=fail",
    "two results": f"i=1; mx; {PASS}; {PASS}",
    "no authserv-id": f"i=1; {PASS}",
    "an empty authserv-id": f"i=1; ; {PASS}",
    "a quoted authserv-id": f'i=1; "x"; {PASS}',
    "a word before the method": f"i=1; mx; x {PASS}",
    "a method in quotes": 'i=1; mx; "dmarc"=pass header.from=src.example',
    "an author in quotes": 'i=1; mx; dmarc=pass header.from="src.example"',
    "nothing after the instance": "i=1;",
    "no semicolon": "i=1",
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_set_counts_for_nothing(name: str) -> None:
    message = SET.format(h="from", results=ODD[name], author="From: a@src.example").encode()
    assert ask(message, arc=PASSED) == ""


def test_results_twice_count_for_nothing() -> None:
    twice = f"i=1; mx; {PASS}\r\nARC-Authentication-Results: i=1; mx; {PASS}"
    assert ask(SET.format(h="from", results=twice, author="From: a@src.example").encode(), arc=PASSED) == ""


def test_an_address_that_is_none_is_left_out() -> None:
    results = "i=1; mx; arc=none smtp.remote-ip=192.0.2.999; dmarc=pass header.from=src.example"
    assert "remote-ip" not in ask(
        SET.format(h="from", results=results, author="From: a@src.example").encode(), arc=PASSED
    )


def test_the_description_of_a_long_chain_is_bounded() -> None:
    arc = ArcResult(ArcVerdict.PASS, 0, ("a" * 60 + ".example",) * 49 + ("two.example",))
    message = SET.format(
        h="from", results="i=50; mx; dmarc=pass header.from=src.example", author="From: a@src.example"
    ).replace("i=1;", "i=50;")
    found = find_trusted(read(message.encode())[1], arc, Author(1, ("src.example",), ""), TRUSTED)
    assert found.startswith("arc=pass as[50].d=two.example")
    assert len(found) <= 1000


ENFORCE = shipped("enforce")
SETTINGS = replace(OUR_SETTINGS, trusted_sealers=TRUSTED)
HEADER = (
    SET.format(h="from", results="i=1; mx; dmarc=pass header.from={0}", author="From: a@{0}")
    .replace("\r\n", "\n")
    .strip()
)
FORWARDED = Scene(
    HEADER.format("partner.example"), spf=spf(SpfVerdict.FAIL), arc=PASSED, dmarc=DmarcVerdict.FAIL,
    policy=DmarcPolicy.REJECT, organization="partner.example", settings=SETTINGS,
)  # fmt: skip


@pytest.mark.parametrize("policy", [DmarcPolicy.REJECT, DmarcPolicy.QUARANTINE])
def test_a_trusted_seal_overrides_the_published_policy_and_says_so(policy: DmarcPolicy) -> None:
    decision = replace(FORWARDED, policy=policy).judged(ENFORCE)
    assert (decision.action, decision.rule, decision.disposition) == (Action.ACCEPT, "trusted-sealer", DmarcPolicy.NONE)
    assert decision.overrides == (Override("local_policy", "arc=pass as[1].d=two.example as[1].s=arc"),)


def test_an_untrusted_chain_is_evidence_and_no_more() -> None:
    decision = replace(FORWARDED, settings=OUR_SETTINGS).judged(ENFORCE)
    assert (decision.action, decision.rule) == (Action.QUARANTINE, "dmarc-unproven")
    assert decision.overrides == (Override("local_policy", "dmarc-unproven (arc)"),)


@pytest.mark.parametrize("domain", ["own.example", "sub.own.example", "bank.example"])
def test_the_firewall_comes_first(domain: str) -> None:
    decision = replace(FORWARDED, header=HEADER.format(domain), organization=domain).judged(ENFORCE)
    assert decision.action is Action.REJECT


def test_a_role_address_is_not_said_to_be_accepted_for_the_seal() -> None:
    decision = replace(FORWARDED, rcpts=("abuse@own.example",)).judged(ENFORCE)
    assert (decision.rule, decision.overrides[0].comment) == ("role-recipient", "role-recipient (arc)")


def test_what_dmarc_does_not_fail_needs_no_override() -> None:
    decision = replace(FORWARDED, dmarc=DmarcVerdict.PASS).judged(ENFORCE)
    assert (decision.action, decision.rule, decision.overrides) == (Action.ACCEPT, "default", ())


def test_an_unknown_client_changes_nothing() -> None:
    scene = replace(FORWARDED, ingress=replace(EDGE, client=None, reason="unknown"), dmarc=DmarcVerdict.NONE)
    assert scene.judged(ENFORCE).rule == "default"
