"""DKIM verdicts beside those of stock dkimpy and of mailauth: equal except for the listed differences, each with a
reason.

A message's verdicts are equal when the same number of its signatures passes. The lists give the reason when we are
stricter (our words) and when the other one is stricter (its words, or the change to the message).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.model.result import DkimResult
from tests.differential.generated import make_message
from tests.differential.opinions import Case, ask_stock, our_chain, our_signatures
from tests.peers.verifier import verify
from tests.support.corpora import corpus

GENERATED = 5000
SOURCES = ("chasquid", "go-msgauth", "mail-auth", "mailauth")

OURS = {
    "rsa-sha1 is not accepted": "RFC 8301 section 3.1",
    "From is not signed": "RFC 6376 section 5.4.1: dkimpy's oversigning hides that h= lacks it; mailauth leaves it out",
    "a From field is not signed": "RFC 6376 section 8.15: a second From that no signature covers",
    "l= leaves": "RFC 6376 section 8.2: anyone can write what l= leaves open; both honour it",
    "l= reaches beyond": "RFC 6376 section 3.5: l= must not be more than the body has",
    "i= is not in d=": "RFC 6376 section 3.5; mailauth does not compare them",
    "key does not allow sha256": "RFC 6376 section 3.6.1: h= of the key; neither reads it",
    "key is not for mail": "RFC 6376 section 3.6.1: s= of the key; mailauth does not read it",
    "key is for d= itself": "RFC 6376 section 3.6.1: t=s of the key; neither reads it",
    "key cannot be read": "RFC 6376 section 3.6.1: without k= it is RSA; mailauth guesses Ed25519 from a=",
    "signature version is unknown": "RFC 6376 section 6.1.1; mailauth does not read v=",
    "signature syntax error": "RFC 6376 section 3.2: b= or another tag holds what it must not; mailauth skips it",
    "b= is not base64": "RFC 6376 section 3.5; mailauth reads over what is no base64",
}
"""Signatures that only we refuse: the beginning of our reason, and the rule."""

STOCK = {
    "NaClNotFoundError": "Ed25519 needs a further package there; mailauth is the second opinion on it",
    "MessageFormatError": "a blank before a colon (RFC 5322 section 4.5) or a line without a colon makes it give up",
}
STOCK_ODDITIES = {
    "two_records": "it sees the first key record alone; RFC 6376 section 6.1.2 lets each be tried",
    "bare newline": "it reads a bare LF as a line end; such mail is refused at the door",
}
PEER_ODDITIES = {
    "two_records": "it refuses several key records; RFC 6376 section 6.1.2 lets each be tried",
    "bare newline": "it reads a bare LF as a line end; such mail is refused at the door",
    "unfinished": "it hashes a last line without CRLF as it stands; RFC 6376 section 3.4.4 adds the CRLF",
    "cut": "it does not look at a message that ends in the header",
    "control": "JavaScript's white space is more than blank and tab, so it skips a control character between tags",
}
OCCASIONAL = {"b= is not base64", "signature syntax error", "control"}
"""Whether these come up depends on the keys, which are new in each run."""
CORPUS_CASES = {
    "chasquid-07-algo_mismatch": "several key records; RFC 6376 section 6.1.2 lets each be tried",
    "gomsgauth-rawrsa": "mailauth does not read the bare RSAPublicKey of RFC 6376 section 3.6.1",
    "mail-auth-002": "mailauth does not read the bare RSAPublicKey of RFC 6376 section 3.6.1",
}
CHAINS = dict.fromkeys(
    ("as_format_inv_tag_key", "as_format_tags_dup", "as_format_tags_key_case", "as_format_tags_sc"),
    "RFC 6376 section 3.2, by RFC 8617 section 4.1: a tag list with that error is none; mailauth reads over it",
)


@pytest.fixture(scope="module")
def generated() -> list[Case]:
    return [make_message(seed) for seed in range(GENERATED)]


def plain(cases: Sequence[Case]) -> list[dict[str, Any]]:
    return [{key: value for key, value in case.items() if key != "oddities"} for case in cases]


def compare(
    case: Case, ours: Sequence[DkimResult], theirs: Sequence[str], words: Mapping[str, str], odd: Mapping[str, str]
) -> str:
    """Empty when the verdicts are equal; else the reason why they may differ, or `unexplained`."""
    passed = sum(one.result == "pass" for one in ours)
    others = theirs.count("pass")
    if passed == others:
        return ""
    if passed < others:
        found = [start for start in OURS for one in ours if one.reason.startswith(start)]
        if len(found) >= others - passed:
            return found[0]
    else:
        found = [start for start in words for one in theirs if one.startswith(start)]
        if found:
            return found[0]
    return next((name for name in odd if name in case.get("oddities", (case["id"],))), "unexplained")


def check(
    cases: Sequence[Case], theirs: Mapping[str, list[str]], words: Mapping[str, str], odd: Mapping[str, str]
) -> Counter[str]:
    tally: Counter[str] = Counter()
    unexplained = {}
    for case in cases:
        ours = our_signatures(case)
        why = compare(case, ours, theirs[case["id"]], words, odd)
        tally[why] += 1
        if why == "unexplained":
            said = [(one.result.value, one.reason) for one in ours]
            unexplained[case["id"]] = (said, theirs[case["id"]], case.get("oddities"))
    assert unexplained == {}
    return tally


def test_generated_messages(generated: list[Case]) -> None:
    """5,000 messages, against both; and every entry of the lists is needed."""
    stock, peer = ask_stock(plain(generated)), verify(plain(generated))
    beside_stock = check(generated, {id: one["dkim"] for id, one in stock.items()}, STOCK, STOCK_ODDITIES)
    beside_peer = check(generated, words_of(peer), {}, PEER_ODDITIES)
    assert beside_stock.keys() >= {"", *STOCK, *STOCK_ODDITIES}
    assert beside_peer.keys() | OCCASIONAL >= {"", *PEER_ODDITIES}
    assert beside_stock.keys() | beside_peer.keys() | OCCASIONAL >= {"", *OURS}
    assert min(beside_stock[""], beside_peer[""]) > 0.8 * GENERATED


def words_of(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """mailauth's words; an error of its own stands for a message without signatures."""
    return {id: [one["result"] for one in answer.get("dkim", [])] for id, answer in answers.items()}


def corpus_cases() -> list[Case]:
    found = []
    for source in SOURCES:
        path = corpus(f"dkim/{source}/cases.json")
        data = json.loads(path.read_text())
        for case in data["cases"]:
            merged = {"dns": data.get("dns", {}), "now": data.get("now")} | case
            found.append(
                make_case(case["id"], path.parent / case["file"], merged["dns"], merged["now"] or 1_730_000_000.0)
            )
    mutations = corpus("mutations")
    data = json.loads((mutations / "cases.json").read_text())
    dns = {name: [record] for name, record in data["dns"].items()}
    altered = data["cases"]
    return found + [make_case(one["id"], mutations / one["file"], dns, one["verify_now"]) for one in altered]


def make_case(id: str, file: Path, dns: Mapping[str, list[str] | str], now: float) -> Case:
    zone: dict[str, Any] = {}
    for name, records in dns.items():
        failed = isinstance(records, str) and records.upper() in ("TIMEOUT", "SERVFAIL")
        zone[name] = str(records).upper() if failed else {"TXT": [] if isinstance(records, str) else records}
    return {"id": id, "message": file.read_bytes(), "dns": zone, "now": now}


def test_corpora() -> None:
    cases = corpus_cases()
    assert len(cases) == 603
    stock, peer = ask_stock(cases), verify(cases)
    for theirs, words in (({id: one["dkim"] for id, one in stock.items()}, STOCK), (words_of(peer), {})):
        tally = check(cases, theirs, words, CORPUS_CASES)
        assert tally[""] >= len(cases) - 25, tally


def test_chains() -> None:
    """The 171 validation cases of the ARC suite."""
    cases = []
    for scenario in yaml.safe_load_all(corpus("arc/arc_test_suite/arc-draft-validation-tests.yml").read_text("utf-8")):
        zone = {name: {"TXT": [text]} for name, text in ((scenario or {}).get("txt-records") or {}).items()}
        for name, case in (scenario or {}).get("tests", {}).items():
            message = case["message"].encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            cases.append({"id": name, "message": message, "dns": zone, "now": 1_730_000_000.0})
    assert len(cases) == 171
    stock, peer = ask_stock(cases), verify(cases)
    ours = {case["id"]: str(our_chain(case)) for case in cases}
    assert {id: one["arc"] for id, one in stock.items()} == ours
    assert {id for id, word in ours.items() if peer[id].get("arc") != word} == CHAINS.keys()
