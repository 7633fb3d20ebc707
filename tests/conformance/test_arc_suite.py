"""ARC by the suite of its authors (ValiMail arc_test_suite, 171 validation cases) and by two real chains.

An empty `cv` in the suite is a chain that ended because a seal says cv=fail: RFC 8617 section 5.2 step 2 makes it fail.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.authentication import arc
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.result import ArcVerdict
from tests.support.corpora import corpus
from tests.support.signing import evidence, window

SUITE = "arc/arc_test_suite/arc-draft-validation-tests.yml"
NOW = 1_730_000_000.0


def cases() -> list[Any]:
    found = []
    for scenario in yaml.safe_load_all(corpus(SUITE).read_text("utf-8")):
        if scenario:
            dns = scenario.get("txt-records") or {}
            found += [pytest.param(dns, case, id=name) for name, case in scenario["tests"].items()]
    return found


def known(dns: dict[str, str]) -> dict[Question, Answer]:
    return {Question(name.lower(), "TXT"): Answer(DnsStatus.FOUND, (text,)) for name, text in dns.items()}


@pytest.mark.parametrize(("dns", "case"), cases())
def test_case(dns: dict[str, str], case: dict[str, Any]) -> None:
    message = case["message"].encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    result = arc.validate(*evidence(message), window(known(dns)), NOW)
    assert result.result.value == (case["cv"] or "fail").lower(), result.reason
    assert bool(result.reason) == (result.result is ArcVerdict.FAIL)


def test_all_cases_are_there() -> None:
    assert len(cases()) == 171


@pytest.mark.parametrize(("file", "sealers"), [("001", ("google.com",)), ("002", ("scamorza.org", "manchego.org"))])
def test_real_chain(file: str, sealers: tuple[str, ...]) -> None:
    dns, _, message = corpus(f"arc/mail-auth/{file}.txt").read_bytes().partition(b"\n\n")
    records = dict(line.decode().split(" ", 1) for line in dns.split(b"\n"))
    result = arc.validate(*evidence(message.replace(b"\n", b"\r\n")), window(known(records)), NOW)
    assert (result.result, result.sealers, result.oldest_pass) == (ArcVerdict.PASS, sealers, 0)
