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
    "redirect": "RFC 7208 section 6.1: it counts only if no term matches; rspamd reads its terms among the others",
    "order of terms": "RFC 7208 section 4.6.2: the first term that matches decides; rspamd seems to sort the "
    "terms, and may take a later one that matches too",
    "include": "RFC 7208 section 5.2: what an included record says decides whether the include matches; rspamd puts "
    "the terms in its place, and leaves redirect out",
}
"""Checks for which rspamd has another result: by both results, or by terms of the records that the check reads. With
those terms rewritten, both must have the same result, or one of the classes that need no rewriting."""
BY_CHANCE = {"redirect", "order of terms"}
"""Classes that need the later of two matching terms to be taken: that depends on the order of rspamd's DNS answers."""
RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


def rewrite_records(pattern: str, text: str = "") -> Callable[[Case], Case]:
    """The same check with this text in its SPF records, where the pattern finds something."""

    def rewrite(check: Case) -> Case:
        zone = {
            owner: {**entry, "TXT": [re.sub(pattern, text, one, flags=re.IGNORECASE) for one in entry["TXT"]]}
            if isinstance(entry, dict) and "TXT" in entry
            else entry
            for owner, entry in check["dns"].items()
        }
        return {**check, "dns": zone}

    return rewrite


OTHER_VERSION = re.compile(r"v=spf(?!1(?:\s|$)).*", re.IGNORECASE)
negate_all = rewrite_records(r"(?<=\s)\+?all\b", "-all")


def read_records(case: Case) -> list[str]:
    """The records that the check may read: the sender's, then those that it leads to."""
    names, records = [case["sender"].rpartition("@")[2]], []
    for name in names:
        entry = case["dns"].get(name)
        found = [text for text in entry.get("TXT", []) if text] if isinstance(entry, dict) else []
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
    if any(OTHER_VERSION.match(record) for record in records):
        return "version"
    if (theirs, reason) == ("permerror", "empty SPF record"):
        return "empty for rspamd"
    if re.search(r"/\d", text):
        return "prefix length"
    if len(records) > 1 and re.search(r"include:", records[0], re.IGNORECASE):
        return "include"
    if records and re.search(r"redirect=", records[0], re.IGNORECASE) and find_matches(case):
        return "redirect"
    if (ours, theirs) == ("pass", "neutral") and our_sender_check(negate_all(case)).result.value == "fail":
        return "positive all"
    return "order of terms" if theirs in {RESULTS[qualify(term)[0]] for term in find_matches(case)[1:]} else ""


def qualify(term: str) -> str:
    """The mechanism with its qualifier."""
    return term if term[0] in RESULTS else f"+{term}"


def find_matches(check: Case) -> list[str]:
    """The mechanisms of the sender's record that match the client, each asked alone; without `all`."""
    terms = (read_records(check) or [""])[0].split()[1:]
    mechanisms = [term for term in terms if not re.match(r"[+?~-]?(?:all\b|\w+=)", term, re.IGNORECASE)]
    return [term for term in mechanisms if matches_alone(check, term)]


def matches_alone(check: Case, term: str) -> bool:
    name = check["sender"].rpartition("@")[2]
    entry = {**check["dns"][name], "TXT": [f"v=spf1 {qualify(term)[1:]} -all"]}
    return our_sender_check({**check, "dns": {**check["dns"], name: entry}}).result.value == "pass"


def drop_later_matches(check: Case) -> Case:
    """The same check, with the first of the matching mechanisms alone."""
    name = check["sender"].rpartition("@")[2]
    record = read_records(check)[0]
    for term in find_matches(check)[1:]:
        record = f" {record} ".replace(f" {term} ", " ").strip()
    return {**check, "dns": {**check["dns"], name: {**check["dns"][name], "TXT": [record]}}}


REWRITTEN = {
    "version": rewrite_records(OTHER_VERSION.pattern),
    "prefix length": rewrite_records(r"(?<=\S)/[\d/]+"),
    "include": rewrite_records(r"(?:^|(?<=\s))(?:[+?~-]?include:|redirect=)\S*"),
    "redirect": rewrite_records(r"(?:^|(?<=\s))redirect=\S*"),
    "order of terms": drop_later_matches,
}
"""Checks without the terms that a class is about."""


def name_differences(checks: list[Case]) -> dict[str, tuple[str, object]]:
    """For each check its class, or `alike`, or nothing, and what was said."""
    with serving({name: entry for check in checks for name, entry in check["dns"].items()}) as port:
        answers = ask_rspamd(checks, port)
    found: dict[str, tuple[str, object]] = {}
    for check in checks:
        ours, answer = our_sender_check(check).result.value, answers[check["id"]]
        theirs, reason = answer["spf"], answer["spf_reason"]
        name = "alike" if ours == theirs else name_of_difference(check, ours, theirs, reason)
        found[check["id"]] = (name, (ours, theirs, read_records(check)))
    return found


def test_beside_rspamd(full_count: Callable[[int], int], record_property: Callable[[str, object], None]) -> None:
    """150 checks, 7,500 in a soak, with real DNS; each as the envelope of one plain message."""
    if missing("rspamd"):
        pytest.skip(missing("rspamd"))
    checks = [
        {**at_own_names(make_sender_check(seed), f"s{seed}.example"), "id": f"spf-{seed}", "message": MESSAGE}
        for seed in range(full_count(150))
    ]
    tally: Counter[str] = Counter()
    found = name_differences(checks)
    record_property("SPF beside rspamd", dict(Counter(name for name, _ in found.values())))
    assert sum(name == "alike" for name, _ in found.values()) > 0.35 * len(checks)
    # The terms of a class are the whole reason: the difference ends with them, or one of another class is left.
    for _ in range(len(REWRITTEN) + 1):
        tally.update(name for name, _ in found.values())
        assert [(id, *said) for id, said in found.items() if not said[0]] == []
        checks = [REWRITTEN[found[check["id"]][0]](check) for check in checks if found[check["id"]][0] in REWRITTEN]
        found = name_differences(checks) if checks else {}
    assert found == {}
    assert not SOAK or tally.keys() >= RSPAMD.keys() - BY_CHANCE
