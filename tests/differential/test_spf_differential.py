"""SPF verdicts beside those of stock pyspf, mailauth and rspamd: equal except for the listed differences, each with its
reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import SOAK
from tests.differential.opinions import Case, ask_stock, our_sender_check
from tests.differential.sender_checks import at_own_names, make_sender_check
from tests.peers.programs import ask_rspamd, missing
from tests.peers.verifier import verify
from tests.support.dnsserver import serving
from tests.support.signing import MESSAGE
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


RSPAMD = {
    "an error": "RFC 7208 section 4.6: an error anywhere in the record, or of DNS; rspamd reads on until a match",
    "empty for rspamd": "RFC 7208 section 4.7: a record without a match is neutral, and `all` matches; rspamd calls a "
    "record an error in which no other term than `all` is left, once what does not resolve and `ptr` are dropped",
    "positive all": "RFC 7208 section 5.1: `all` passes; rspamd takes it for neutral, as it protects nobody",
    "prefix length": "RFC 7208 section 5.6: both addresses are masked; rspamd masks the client's alone, leaves out /0, "
    "and holds a length of the other family against the address",
    "version": "RFC 7208 section 4.5: `v=spf10` is no SPF record; rspamd compares the first six characters",
    "include": "RFC 7208 section 5.2: what an included record says decides whether the include matches; rspamd puts "
    "the terms in its place, and leaves redirect out",
}
"""Checks for which rspamd has another result: by our result, or by the records that the check reads."""
POSITIVE_ALL = re.compile(r"(?:^|\s)\+?all\b", re.IGNORECASE)


def read_records(case: Case) -> list[str]:
    """The records that the check may read: the sender's, then those that it leads to."""
    names, records = [case["sender"].rpartition("@")[2]], []
    for name in names:
        entry = case["dns"].get(name)
        found = entry.get("TXT", []) if isinstance(entry, dict) else []
        records += found
        following = re.findall(r"(?:include:|redirect=)([\w.-]+)", " ".join(found))
        names += [one for one in dict.fromkeys(following) if one not in names]
    return records


def name_of_difference(case: Case, ours: str, theirs: str, reason: str) -> str:
    """The class; empty when there is none. `reason`: rspamd's own."""
    records = read_records(case)
    text = " ".join(records)
    if ours in ("permerror", "temperror"):
        return "an error"
    if ours == "none" and re.match(r"v=spf(?:10|2)", text, re.IGNORECASE):
        return "version"
    if (theirs, reason) == ("permerror", "empty SPF record"):
        return "empty for rspamd"
    if re.search(r"/\d", text):
        return "prefix length"
    if len(records) > 1 and re.search(r"include:", records[0], re.IGNORECASE):
        return "include"
    return "positive all" if POSITIVE_ALL.search(text) and (ours, theirs) == ("pass", "neutral") else ""


def test_beside_rspamd(full_count: Callable[[int], int], record_property: Callable[[str, object], None]) -> None:
    """150 checks, 7,500 in a soak, with real DNS; each as the envelope of one plain message."""
    if missing("rspamd"):
        pytest.skip(missing("rspamd"))
    checks = [
        {**at_own_names(make_sender_check(seed), f"s{seed}.example"), "id": f"spf-{seed}", "message": MESSAGE}
        for seed in range(full_count(150))
    ]
    with serving({name: entry for check in checks for name, entry in check["dns"].items()}) as port:
        answers = ask_rspamd(checks, port)
    tally: Counter[str] = Counter()
    unknown = []
    for check in checks:
        ours, answer = our_sender_check(check).result.value, answers[check["id"]]
        theirs, reason = answer["spf"], answer["spf_reason"]
        name = "alike" if ours == theirs else name_of_difference(check, ours, theirs, reason)
        tally[name] += 1
        if not name:
            unknown.append((check["id"], ours, theirs, read_records(check)))
    record_property("SPF beside rspamd", dict(tally))
    assert unknown == []
    assert tally["alike"] > 0.35 * len(checks)
    assert not SOAK or tally.keys() >= RSPAMD.keys()
