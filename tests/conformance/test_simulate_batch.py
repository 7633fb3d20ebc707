"""The corpora through the command that an admin has: `waypost simulate --batch`.

Every case that the command can express is here; where a suite and an RFC differ, the case is named with our result,
and docs/conformance.md gives the section.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.batch import run_batch
from tests.support.corpora import corpus
from tests.support.samples import sign, signing_key
from tests.support.spf_suites import DEVIATIONS, Case, read_mail_auth, read_openspf

RCPT = "someone@receiver.example"
AFTER_ALL_SIGNATURES = 1_730_000_000
MUTATION_RESULTS = {"pass": "pass", "fail:bodyhash": "fail", "fail:signature": "fail"}

DKIM_DEVIATIONS = {
    "chasquid-02-too_many_headers": ["pass"] * 7,
    "chasquid-03-bad_message": [],
    "chasquid-09-limited_body": ["policy", "pass", "pass"],
}
DMARC_DEVIATIONS = {
    "kumo-dmarc_dkim_relaxed_subdomain": "reject",
    "kumo-dmarc_dkim_relaxed_subdomain_deep": "reject",
}
DMARC_UNSPEAKABLE = {
    # A simulation's result does not contain the expectations of these cases; test_dmarc_suites.py checks them.
    "mailauth-rfc9989-12": "the order of DNS queries",
    "mailauth-rfc9989-20": "the absence of a pct property",
    "mailauth-rfc9989-29": "the text of the record",
}


def message(directory: Path, name: str, octets: bytes) -> str:
    path = directory / f"{name}.eml"
    path.write_bytes(octets)
    return str(path)


# --- SPF


def spf_case(case: Case, file: str, number: int) -> dict[str, Any]:
    return {
        "id": f"{number} {case.id}",
        "file": file,
        "ip": case.ip,
        "helo": case.helo,
        "mail_from": case.sender,
        "rcpt": RCPT,
        "dns": case.zone,
        "now": AFTER_ALL_SIGNATURES,
    }


def run_spf(cases: list[Case], directory: Path) -> dict[str, str]:
    """Results other than the expected ones."""
    file = message(directory, "spf", b"From: a@author.example\r\nSubject: x\r\n\r\nx\r\n")
    results = run_batch((spf_case(case, file, number) for number, case in enumerate(cases)), directory)
    wrong = {}
    for number, case in enumerate(cases):
        result = results[f"{number} {case.id}"]
        expected = (DEVIATIONS[case.id],) if case.id in DEVIATIONS else case.expect
        said = result.get("error") or result["spf"]["result"]
        if said not in expected:
            wrong[case.id] = said
    return wrong


def test_openspf(tmp_path: Path) -> None:
    cases = read_openspf()
    assert len(cases) == 203
    assert run_spf(cases, tmp_path) == {}


def test_spf_of_mail_auth(tmp_path: Path) -> None:
    cases = read_mail_auth()
    assert len(cases) == 163
    assert run_spf(cases, tmp_path) == {}


# --- DKIM


def zone_of_keys(dns: dict[str, Any]) -> dict[str, Any]:
    zone: dict[str, Any] = {}
    for name, records in dns.items():
        if isinstance(records, list) or records in ("SERVFAIL", "TIMEOUT"):
            zone[name] = {"TXT": records}
        elif records == "NODATA":
            zone[name] = {"A": ["192.0.2.1"]}
    return zone


def plain_case(id: str, file: Path | str, dns: dict[str, Any], now: float) -> dict[str, Any]:
    return {
        "id": id,
        "file": str(file),
        "ip": "192.0.2.1",
        "helo": "client.example",
        "mail_from": "",
        "rcpt": RCPT,
        "dns": dns,
        "now": now,
        "raw": True,
    }


def test_dkim(tmp_path: Path) -> None:
    cases, expected = [], {}
    for source in ("chasquid", "go-msgauth", "mail-auth", "mailauth"):
        path = corpus(f"dkim/{source}/cases.json")
        data = json.loads(path.read_text())
        for case in data["cases"]:
            dns = zone_of_keys(case.get("dns", data.get("dns", {})))
            now = case.get("now", data.get("now")) or AFTER_ALL_SIGNATURES
            cases.append(plain_case(case["id"], path.parent / case["file"], dns, now))
            expected[case["id"]] = case
    results = run_batch(cases, tmp_path)
    assert len(results) == 23
    wrong = {}
    for id, case in expected.items():
        words = [one["result"] for one in results[id]["dkim"]]
        if id in DKIM_DEVIATIONS:
            assert words == DKIM_DEVIATIONS[id]
        elif not judged_as(case, words):
            wrong[id] = words
    assert wrong == {}


def judged_as(case: dict[str, Any], words: list[str]) -> bool:
    if case.get("sigs") is not None:
        return words == case["sigs"]
    return words == [] if case["expect"] == "none" else case["expect"] in words


def test_mutations(tmp_path: Path) -> None:
    """580 messages altered in transit, and stock dkimpy's result for each."""
    directory = corpus("mutations")
    data = json.loads((directory / "cases.json").read_text())
    zone = zone_of_keys({name: [record] for name, record in data["dns"].items()})
    cases = [plain_case(case["id"], directory / case["file"], zone, case["verify_now"]) for case in data["cases"]]
    results = run_batch(cases, tmp_path)
    wrong = {}
    for case in data["cases"]:
        words = [one["result"] for one in results[case["id"]]["dkim"]]
        if words != [MUTATION_RESULTS[word] for word in case["dkim_result_dkimpy118"]]:
            wrong[case["id"]] = words
    assert wrong == {}


# --- ARC


def test_arc(tmp_path: Path) -> None:
    cases, expected = [], {}
    suite = corpus("arc/arc_test_suite/arc-draft-validation-tests.yml").read_text("utf-8")
    for scenario in yaml.safe_load_all(suite):
        for name, test in scenario["tests"].items() if scenario else ():
            octets = test["message"].encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            zone = zone_of_keys({key: [text] for key, text in (scenario.get("txt-records") or {}).items()})
            cases.append(plain_case(name, message(tmp_path, name, octets), zone, AFTER_ALL_SIGNATURES))
            expected[name] = (test["cv"] or "fail").lower()
    for number in ("001", "002"):
        dns, _, octets = corpus(f"arc/mail-auth/{number}.txt").read_bytes().partition(b"\n\n")
        zone = zone_of_keys({key: [text] for key, text in (line.decode().split(" ", 1) for line in dns.split(b"\n"))})
        file = message(tmp_path, number, octets.replace(b"\n", b"\r\n"))
        cases.append(plain_case(number, file, zone, AFTER_ALL_SIGNATURES))
        expected[number] = "pass"
    results = run_batch(cases, tmp_path)
    assert len(results) == 173
    wrong = {id: results[id]["arc"] for id, word in expected.items() if results[id]["arc"]["result"] != word}
    assert wrong == {}


# --- DMARC: the suites give evaluated SPF and DKIM results, so messages are made that have them


def dmarc_suite() -> list[dict[str, Any]]:
    found = []
    for name in ("mailauth-rfc9989", "mail-auth", "kumomta"):
        found += json.loads(corpus(f"dmarc/{name}.json").read_text())["verify"]
    return [case for case in found if case["id"] not in DMARC_UNSPEAKABLE]


def dmarc_case(case: dict[str, Any], directory: Path) -> dict[str, Any]:
    """A client, a message and a zone that give the case's SPF and DKIM results."""
    author = case["header_from"] if "@" in case["header_from"] else f"user@{case['header_from']}"
    zone: dict[str, Any] = {}
    for name, kinds in case["dns"].items():
        zone[name] = {kind: [mx(item) if kind == "MX" else item for item in items] for kind, items in kinds.items()}
    octets = f"From: <{author}>\r\nTo: <{RCPT}>\r\nSubject: s\r\n\r\nText.\r\n".encode()
    mail_from = ""
    for one in case["spf"]:
        if one["domain"]:
            mail_from = f"user@{one['domain']}"
            policy = {"pass": "v=spf1 +all", "fail": "v=spf1 -all", "softfail": "v=spf1 ~all"}.get(one["result"])
            if policy:
                zone.setdefault(one["domain"], {})["TXT"] = [policy]
    for one in case["dkim"]:
        if one["domain"]:
            octets = sign(octets, one["domain"])
            key = {"TXT": [signing_key()[1]]}
            zone[f"sel1._domainkey.{one['domain']}"] = key if one["result"] == "pass" else {"TXT": ["v=DKIM1; p="]}
    found = plain_case(case["id"], message(directory, case["id"], octets), zone, AFTER_ALL_SIGNATURES)
    # A HELO of its own, so that no SPF record besides the case's is asked for.
    return found | {"mail_from": mail_from, "helo": "[192.0.2.1]"}


def mx(item: Any) -> str:
    preference, host = item.values() if isinstance(item, dict) else item
    return f"{preference} {host}"


def dmarc_mismatch(case: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The failed expectations, with the actual results."""
    dmarc = result["dmarc"]
    said = {
        "status.result": dmarc["result"],
        "result": dmarc["result"],
        "policy": dmarc["policy"],
        "domain": dmarc["policy_domain"],
        "aligned_spf": dmarc["alignment"]["spf"],
        "aligned_dkim": dmarc["alignment"]["dkim"],
        "disposition": "pass" if dmarc["result"] == "pass" else dmarc["policy"] or "none",
    }
    wanted = dict(case["expect"])
    if case["id"] == "mailauth-rfc9989-05":
        wanted = {"status.result": "fail", "policy": "none", "domain": "example.com"}
    if case["id"] in DMARC_DEVIATIONS:
        wanted["disposition"] = DMARC_DEVIATIONS[case["id"]]
    checked = {key: value for key, value in wanted.items() if key in said}
    assert checked, case
    return {key: said[key] for key, value in checked.items() if said[key] != value}


def test_dmarc(tmp_path: Path) -> None:
    suite = dmarc_suite()
    results = run_batch([dmarc_case(case, tmp_path) for case in suite], tmp_path)
    mismatches = {case["id"]: dmarc_mismatch(case, results[case["id"]]) for case in suite}
    assert {id: wrong for id, wrong in mismatches.items() if wrong} == {}


# --- messages from real mail


@pytest.mark.parametrize("options", [(), ("--raw",)], ids=["read", "raw"])
def test_any_message_is_judged(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Broken MIME, odd character sets, mbox lines: a result for each, never an error."""
    files = sorted(path for path in corpus("mime").rglob("*") if path.suffix in (".txt", ".eml"))
    assert len(files) > 200
    cases = [plain_case(str(path), path, {}, AFTER_ALL_SIGNATURES) | {"raw": bool(options)} for path in files]
    results = run_batch(cases, tmp_path)
    assert [id for id, result in results.items() if "error" in result] == []
    newlines = {result["newlines"] for result in results.values()}
    assert newlines == ({"crlf", "mixed"} if options else {"crlf", "converted", "mixed"})
