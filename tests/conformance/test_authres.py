"""Reading Authentication-Results: the 13 cases of go-msgauth. All of them hold; none is skipped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.mail.authres import ParsedResult, parse
from tests.support.corpora import corpus

CASES = json.loads(corpus("authres/go-msgauth.json").read_text("utf-8"))

PROPERTIES = {"From": ("smtp", "mailfrom"), "Auth": ("smtp", "auth"), "Identifier": ("header", "i")}
"""The suite's names for properties, by the field's names."""


@pytest.mark.parametrize("case", CASES, ids=[f"{number:02}" for number in range(len(CASES))])
def test_case(case: dict[str, Any]) -> None:
    parsed = parse(case["value"])
    assert parsed is not None
    assert parsed.authserv_id == case["authserv_id"]
    assert len(parsed.results) == len(case["results"])
    for found, wanted in zip(parsed.results, case["results"], strict=True):
        assert found.method == wanted["method"]
        check_fields(found, wanted["fields"])


def check_fields(found: ParsedResult, wanted: dict[str, str]) -> None:
    assert "result" + found.result == wanted["Value"].lower()
    assert found.reason == wanted.get("Reason", "")
    for name, property in PROPERTIES.items():
        if name in wanted:
            assert found.value(*property) == wanted[name]
    if "HeaderKey" in wanted:
        assert found.value("header", wanted["HeaderKey"]) == wanted["HeaderValue"]


def test_all_cases_are_here() -> None:
    assert len(CASES) == 13
