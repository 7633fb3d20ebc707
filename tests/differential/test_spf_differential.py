"""SPF verdicts beside those of stock pyspf and of mailauth: equal except for the listed differences, each with its
reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.differential.generated import make_sender_check
from tests.differential.opinions import Case, ask_stock, our_sender_check
from tests.peers.verifier import verify
from tests.support.spf_suites import read_mail_auth, read_openspf

GENERATED = 5000

RRSET = "RFC 2181 section 5: a record given twice is one record in the DNS"
PTR = "RFC 7208 section 5.5: a DNS error while a PTR name is validated is no match"
NO_NAME = "RFC 7208 section 4.3: a name that DNS cannot hold, or a single label, has no SPF: none"
STOCK = {
    "spf-1910": PTR,
    "spf-4975": RRSET,
    "openspf/Selecting records/multispf1": RRSET,
    "openspf/PTR mechanism syntax/ptr-cname-loop": PTR,
}
VOID = (
    "RFC 7208 section 4.6.4: a host of `a` or `mx` that exists and has no address of the client's family is no void "
    "lookup; stock pyspf and mailauth count it as one, and come to permerror"
)
STOCK_PREFIXES = {"mail-auth/basic.yml/Malformed Domains/": NO_NAME}

ERRORS = {
    "permerror": "RFC 7208 section 4.6: an error anywhere in the record; mailauth reads on until a term matches, "
    "takes prefix lengths over the end, follows an include of itself, and counts void lookups otherwise",
    "temperror": "RFC 7208 section 5: SERVFAIL while a term is evaluated; mailauth takes ESERVFAIL as no match",
}
"""Errors of ours for which mailauth has another result."""
PEER = {
    "spf-4975": RRSET,
    "openspf/Selecting records/multispf1": RRSET,
    "openspf/Record evaluation/invalid-domain-empty-label": "the suite allows both",
    "openspf/Macro expansion rules/p-macro-multiple": "the suite allows others: %{p} is whichever name",
    "openspf/Macro expansion rules/invalid-hello-macro": "the suite says fail: mailauth takes no invalid HELO name",
    "openspf/Macro expansion rules/hello-domain-literal": "the suite says fail: mailauth takes no literal as HELO name",
    "openspf/Macro expansion rules/require-valid-helo": "the suite says fail: mailauth takes no invalid HELO name",
}
PEER_PREFIXES = {"mail-auth/examples.yml/Simple Examples/mx.example.com ": "the suite says pass, as we do"}


def corpus_cases() -> list[Case]:
    suites = (("openspf", read_openspf()), ("mail-auth", read_mail_auth()))
    cases: dict[str, Case] = {}
    for suite, found in suites:
        for number, case in enumerate(found):
            id = f"{suite}/{case.id}"
            id = f"{id} ({number})" if id in cases else id
            cases[id] = {"id": id, "ip": case.ip, "helo": case.helo, "sender": case.sender, "dns": case.zone}
    return list(cases.values())


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [*corpus_cases(), *(make_sender_check(seed) for seed in range(GENERATED))]


@pytest.fixture(scope="module")
def ours(cases: list[Case]) -> dict[str, str]:
    return {case["id"]: our_sender_check(case).result.value for case in cases}


def fill_families(case: Case) -> Case:
    """The same case with addresses of both families for every host; the added ones match nothing."""
    unmatched = {"A": ["203.0.113.253"], "AAAA": ["2001:db8:ffff::fd"]}
    zone = {
        name: {**unmatched, **{kind: values for kind, values in entry.items() if values}}
        if isinstance(entry, dict)
        else entry
        for name, entry in case["dns"].items()
    }
    return {**case, "dns": zone}


def drop_voids(
    cases: list[Case], others: dict[str, tuple[str, str | None]], ask: Callable[[list[Case]], Any]
) -> dict[str, tuple[str, str | None]]:
    """The differences that void lookups alone do not explain: those end when the hosts have both families."""
    filled = [fill_families(case) for case in cases if others.get(case["id"], ("", ""))[1] == "permerror"]
    answers = ask(filled)
    alike = {case["id"] for case in filled if answers[case["id"]].get("spf") == our_sender_check(case).result.value}
    return {id: words for id, words in others.items() if id not in alike}


def starts(id: str, prefixes: dict[str, str]) -> bool:
    return any(id.startswith(prefix) for prefix in prefixes)


def test_beside_stock(cases: list[Case], ours: dict[str, str]) -> None:
    """203 + 163 cases of the suites and 5,000 generated ones."""
    assert len(cases) == 203 + 163 + GENERATED
    answers = ask_stock(cases)
    others = {id: (word, answers[id]["spf"]) for id, word in ours.items() if answers[id]["spf"] != word}
    named = {id: words for id, words in others.items() if id in STOCK or starts(id, STOCK_PREFIXES)}
    rest = {id: words for id, words in others.items() if id not in named}
    assert drop_voids(cases, rest, ask_stock) == {}, VOID
    assert len(rest) < 0.02 * len(cases)
    assert others.keys() >= STOCK.keys()


def test_beside_mailauth(cases: list[Case], ours: dict[str, str]) -> None:
    answers = verify(cases)
    others = {id: (word, answers[id].get("spf")) for id, word in ours.items() if answers[id].get("spf") != word}
    listed = {id for id, (word, _) in others.items() if word in ERRORS or id in PEER or starts(id, PEER_PREFIXES)}
    assert drop_voids(cases, {id: words for id, words in others.items() if id not in listed}, verify) == {}, VOID
    assert others.keys() >= PEER.keys()
    assert len(others) < 0.06 * len(cases)
