"""DKIM and ARC verdicts beside those of mailauth, stock dkimpy, Mail::DKIM, opendkim and rspamd: alike but for the
differences that `classes.py` names.

mailauth and dkimpy are given DNS as data, the others ask a server with the same zone. The cases of published suites are
put to the first two.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.model.result import DkimResult
from tests.conftest import SOAK
from tests.differential.classes import (
    ALL,
    CLASSES,
    DKIMPY,
    MAIL_DKIM,
    MAILAUTH,
    OPENDKIM,
    RSPAMD,
    classify,
    find_differences,
)
from tests.differential.messages import Case, make_case
from tests.differential.opinions import ask_stock, our_chain, our_signatures
from tests.peers.programs import Answers, ask_mail_dkim, ask_opendkim, ask_rspamd, missing
from tests.peers.verifier import verify
from tests.support.corpora import corpus
from tests.support.dnsserver import serving

SOURCES = ("chasquid", "go-msgauth", "mail-auth", "mailauth")
CORPUS_ODDITIES = {
    "chasquid-07-algo_mismatch": "two_records",
    "gomsgauth-rawrsa": "raw_rsa_key",
    "mail-auth-002": "raw_rsa_key",
}
CHAINS = dict.fromkeys(
    ("as_format_inv_tag_key", "as_format_tags_dup", "as_format_tags_key_case", "as_format_tags_sc"),
    "RFC 6376 section 3.2, by RFC 8617 section 4.1: a tag list with that error is none; mailauth reads over it",
)


@functools.cache
def generated(seed: int) -> tuple[Case, tuple[DkimResult, ...], str]:
    """A case, and what we say of it."""
    case = make_case(seed)
    return case, our_signatures(case), str(our_chain(case))


def plain(cases: Sequence[Case]) -> list[dict[str, Any]]:
    return [{name: case[name] for name in ("id", "message", "dns", "now")} for case in cases]


def ask_mailauth(cases: Sequence[Case]) -> Answers:
    """mailauth says a reason, or its result alone."""
    return verify(plain(cases), timeout=60 + len(cases))


def ask_dkimpy(cases: Sequence[Case]) -> Answers:
    """dkimpy says a word for each signature, or what it raised on the whole message, for each then."""
    answers = ask_stock(plain(cases))
    for case in cases:
        words, ours = answers[case["id"]]["dkim"], our_signatures(case)
        words = words if len(words) == len(ours) else words[:1] * len(ours)
        signatures = zip(ours, words, strict=True)
        answers[case["id"]]["dkim"] = [
            {"selector": one.selector, "result": word, "reason": word} for one, word in signatures
        ]
    return answers


def ask_program(ask: Callable[[Sequence[Case], int], Answers]) -> Callable[[Sequence[Case]], Answers]:
    def asked(cases: Sequence[Case]) -> Answers:
        with serving({name: entry for case in cases for name, entry in case["dns"].items()}) as port:
            return ask(cases, port)

    return asked


PEERS: Mapping[str, tuple[int, Callable[[Sequence[Case]], Answers]]] = {
    MAILAUTH: (5000, ask_mailauth),
    DKIMPY: (5000, ask_dkimpy),
    MAIL_DKIM: (150, ask_program(ask_mail_dkim)),
    OPENDKIM: (150, ask_program(ask_opendkim)),
    RSPAMD: (150, ask_program(ask_rspamd)),
}
"""How many messages `make test` puts to each, and how it is asked; a soak puts 7,500 to all."""

SHARES = {MAILAUTH: 0.25, DKIMPY: 0.31, MAIL_DKIM: 0.25, OPENDKIM: 0.18, RSPAMD: 0.34}
"""The part of 7,500 messages with a difference (docs/conformance.md). Another part is a fault that a class hides, or a
fault of the generator."""


@pytest.mark.parametrize("peer", ALL)
def test_generated_messages(
    peer: str, full_count: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    """No difference without a class; and where the count allows it, no class that nothing needs."""
    if peer not in (MAILAUTH, DKIMPY) and missing(peer):
        pytest.skip(missing(peer))
    count, ask = PEERS[peer]
    count = max(count, full_count(150))
    made = [generated(seed) for seed in range(count)]
    answers = ask([case for case, _, _ in made])
    found = [
        one for case, ours, chain in made for one in find_differences(case, peer, ours, chain, answers[case["id"]])
    ]
    tally, unknown = classify(found)
    signatures = sum(len(case["signatures"]) for case, _, _ in made)
    record_property(
        f"{peer}: {count} messages, {signatures} signatures and chains", {name: tally[name] for name in tally}
    )
    assert unknown == []
    share = len({one.case for one in found}) / count
    assert abs(share - SHARES[peer]) < (0.02 if count >= 5000 else 0.14), "classes or generator have changed"
    if SOAK or count >= 5000:
        assert {one.name for one in CLASSES if peer in one.peers} == tally.keys()


def corpus_cases() -> list[Case]:
    found = []
    for source in SOURCES:
        path = corpus(f"dkim/{source}/cases.json")
        data = json.loads(path.read_text())
        for case in data["cases"]:
            merged = {"dns": data.get("dns", {}), "now": data.get("now")} | case
            found.append(
                read_case(case["id"], path.parent / case["file"], merged["dns"], merged["now"] or 1_730_000_000.0)
            )
    mutations = corpus("mutations")
    data = json.loads((mutations / "cases.json").read_text())
    dns = {name: [record] for name, record in data["dns"].items()}
    altered = data["cases"]
    return found + [read_case(one["id"], mutations / one["file"], dns, one["verify_now"]) for one in altered]


def read_case(id: str, file: Path, dns: Mapping[str, list[str] | str], now: float) -> Case:
    zone: dict[str, Any] = {}
    for name, records in dns.items():
        failed = isinstance(records, str) and records.upper() in ("TIMEOUT", "SERVFAIL")
        zone[name] = str(records).upper() if failed else {"TXT": [] if isinstance(records, str) else records}
    odd = [CORPUS_ODDITIES[id]] if id in CORPUS_ODDITIES else []
    return {"id": id, "message": file.read_bytes(), "dns": zone, "now": now, "oddities": odd, "signatures": {}}


@pytest.mark.parametrize("peer", [MAILAUTH, DKIMPY])
def test_corpora(peer: str) -> None:
    cases = corpus_cases()
    assert len(cases) == 603
    answers = PEERS[peer][1](cases)
    for answer in answers.values():
        del answer["arc"]
    found = [
        one for case in cases for one in find_differences(case, peer, our_signatures(case), "", answers[case["id"]])
    ]
    assert classify(found)[1] == []
    assert len({one.case for one in found}) <= 25


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
