"""`waypost simulate`: the incident table, the JSON to the letter, and the treatment of bad cases in a batch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.app import make_simulation_context
from gateway.tools.simulate import CaseError, read_case, render_simulation, run_batch, simulate, simulation_json
from tests.support.samples import break_between_boundaries, nested_multipart, plain, sign, signing_key

CLIENT = "203.0.113.7"
RELAY = "192.0.2.10"
INNER = "192.0.2.20"
NOW = 1795295400

ZONE: dict[str, Any] = {
    "sender.example": {"TXT": [f"v=spf1 ip4:{CLIENT} -all"]},
    "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
    "microsoft.com": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "_dmarc.microsoft.com": {"TXT": ["v=DMARC1; p=reject; pct=100"]},
    "other.example": {"TXT": [f"v=spf1 ip4:{CLIENT} -all"]},
    "corp.example": {"TXT": ["v=spf1 ip4:192.0.2.2 -all"]},
    "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject"]},
    "open.example": {"A": ["192.0.2.3"]},
}

CONFIG = f"""
[server]
hostname = "mx.corp.example"
[[listener]]
address = "127.0.0.1:2525"
[[domain]]
name = "corp.example"
backend = "google"
[[domain]]
name = "open.example"
backend = "microsoft"
[backend.google]
hosts = "smtp.google.com"
[backend.microsoft]
hosts = "mx.outlook.example"
[routing.addresses]
"bob@corp.example" = "microsoft"
[[relay]]
name = "old"
addresses = ["{RELAY}/32"]
by = ["relay.corp.example"]
format = "postfix"
[[own_hop]]
name = "inner forward"
addresses = ["{INNER}/32"]
[limits]
message_size = 100000
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Bench:
    """A directory with a zone and a configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "zone.json").write_text(json.dumps(ZONE))
        (directory / "gateway.toml").write_text(CONFIG)

    async def run(self, message: bytes, **options: Any) -> dict[str, Any]:
        """The result of one case; by default a stranger writes to alice at corp.example, as configured."""
        return simulation_json(await self.simulate(message, **options))

    async def simulate(self, message: bytes, **options: Any) -> Any:
        (self.directory / "message.eml").write_bytes(message)
        given = {
            "file": "message.eml",
            "ip": CLIENT,
            "helo": "mail.other.example",
            "mail_from": "author@sender.example",
            "rcpt": "alice@corp.example",
            "dns": "zone.json",
            "now": NOW,
            "config": "gateway.toml",
            **options,
        }
        return await simulate(read_case(given, self.directory), make_simulation_context())

    async def batch(self, *lines: object, **defaults: object) -> list[dict[str, Any]]:
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        return [result async for result in run_batch(texts, self.directory, defaults, make_simulation_context())]


def verdicts(result: Mapping[str, Any]) -> tuple[str, list[str], str, str]:
    return (
        result["spf"]["result"],
        [one["result"] for one in result["dkim"]],
        result["dmarc"]["result"],
        result["decision"]["action"],
    )


SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")


async def test_1a_unmutated_to_both_halves(bench: Bench) -> None:
    result = await bench.run(SIGNED, rcpt=["alice@corp.example", "bob@corp.example"])
    assert verdicts(result) == ("pass", ["pass"], "pass", "accept")
    assert result["dkim"][0]["aligned"] is True
    assert result["routes"] == [
        {"rcpt": "alice@corp.example", "backend": "google"},
        {"rcpt": "bob@corp.example", "backend": "microsoft"},
    ]
    names = [field.partition(":")[0] for field in result["added"]]
    assert names == ["X-Waypost-Verdict", "Authentication-Results", "Received"]


async def test_1b_the_mutated_copy(bench: Bench) -> None:
    result = await bench.run(break_between_boundaries(SIGNED), ip="198.51.100.1")
    assert verdicts(result) == ("fail", ["fail"], "fail", "quarantine")
    assert "body hash" in result["dkim"][0]["reason"]
    assert result["decision"]["reply"].startswith("250 ")
    assert result["dmarc"]["disposition"] == "quarantine"
    assert result["dmarc"]["overrides"] != []
    assert result["routes"] == [{"rcpt": "alice@corp.example", "backend": "google"}]
    assert "action=quarantine" in result["added"][0]


RELAYED = (
    f"Received: from mail.sender.example (mail.sender.example [{CLIENT}])\r\n"
    "\tby relay.corp.example (Postfix) with ESMTPS id 4Xyz12abcd\r\n"
    "\tfor <alice@corp.example>; Sat, 21 Nov 2026 12:00:01 +0000 (UTC)\r\n"
).encode()


async def test_2a_behind_a_listed_relay(bench: Bench) -> None:
    result = await bench.run(RELAYED + plain("author@sender.example"), ip=RELAY, helo="relay.corp.example")
    assert verdicts(result) == ("pass", [], "pass", "accept")
    assert f"[{CLIENT}]" in result["added"][-1]
    assert RELAY not in result["added"][-1]


async def test_2b_behind_a_listed_relay_that_cannot_be_read(bench: Bench) -> None:
    unreadable = RELAYED.replace(b"(Postfix)", b"(Sendmail)")
    result = await bench.run(unreadable + plain("author@sender.example"), ip=RELAY, helo="relay.corp.example")
    assert verdicts(result) == ("none", [], "none", "accept")
    assert result["spf"]["reason"]
    assert result["dmarc"]["reason"]
    signed = await bench.run(unreadable + SIGNED, ip=RELAY, helo="relay.corp.example")
    assert verdicts(signed) == ("none", ["pass"], "pass", "accept")


async def test_3_microsoft_from_a_stranger(bench: Bench) -> None:
    result = await bench.run(plain("security@microsoft.com"), mail_from="x@other.example")
    assert verdicts(result) == ("pass", [], "fail", "reject")
    assert result["decision"]["reply"].startswith("550 5.7.1 Email rejected per DMARC policy for microsoft.com. ")
    assert result["decision"]["rule"] == "dmarc-reject"
    assert result["dmarc"]["grounds"] == ["direct-spoof"]
    assert result["routes"] == result["added"] == []


@pytest.mark.parametrize("author", ["ceo@corp.example", "ceo@eu.corp.example"])
async def test_4_own_domain_from_a_stranger(bench: Bench, author: str) -> None:
    result = await bench.run(plain(author), mail_from=author)
    assert result["decision"]["action"] == "reject"
    assert result["decision"]["reply"].startswith("550 5.7.1 ")


async def test_5_after_an_inner_forward(bench: Bench) -> None:
    result = await bench.run(plain("author@sender.example"), ip=INNER, rcpt="abuse@corp.example")
    assert verdicts(result) == ("none", [], "none", "accept")
    assert "inner forward" in result["spf"]["reason"]


async def test_the_result_to_the_letter(bench: Bench) -> None:
    result = await bench.run(SIGNED)
    assert list(result) == ["spf", "dkim", "arc", "dmarc", "decision", "routes", "added", "newlines"]
    assert list(result["spf"]) == ["result", "domain", "identity", "reason"]
    assert list(result["dkim"][0]) == ["result", "domain", "selector", "algorithm", "aligned", "reason"]
    assert list(result["arc"]) == ["result", "oldest_pass", "sealers"]
    assert list(result["dmarc"]) == [
        *("result", "domain", "policy_domain", "published", "policy"),
        *("disposition", "alignment", "grounds", "overrides", "reason"),
    ]
    assert list(result["decision"]) == ["action", "rule", "set", "reply", "considered", "shadow"]
    assert result["spf"] == {"result": "pass", "domain": "sender.example", "identity": "mailfrom", "reason": None}
    assert result["dkim"][0] | {"reason": None} == {
        "result": "pass",
        "domain": "sender.example",
        "selector": "sel1",
        "algorithm": "rsa-sha256",
        "aligned": True,
        "reason": None,
    }
    assert result["arc"] == {"result": "none", "oldest_pass": None, "sealers": []}
    assert result["dmarc"] | {"reason": None} == {
        "result": "pass",
        "domain": "sender.example",
        "policy_domain": "sender.example",
        "published": "reject",
        "policy": "reject",
        "disposition": "none",
        "alignment": {"spf": True, "dkim": True},
        "grounds": [],
        "overrides": [],
        "reason": None,
    }
    decision = result["decision"]
    assert (decision["action"], decision["rule"], decision["set"]) == ("accept", "default", "enforce")
    assert decision["reply"] == "250 2.0.0 Queued"
    assert {tuple(hit) for hit in decision["considered"]} == {("rule", "stage", "matched")}
    assert result["newlines"] == "crlf"
    json.dumps(result)


async def test_the_keys_are_there_when_nothing_was_judged(bench: Bench) -> None:
    """A header above the limit is refused unread; the shape of the result stays."""
    huge = b"X-Fill: " + b"x" * 99_000 + b"\r\n" + plain("author@sender.example")
    config = CONFIG.replace("[limits]", "[limits]\nheader_size = 5000")
    (bench.directory / "small.toml").write_text(config)
    result = await bench.run(huge, config="small.toml")
    full = await bench.run(SIGNED)
    assert result["decision"]["rule"] == "header-too-big"
    assert result["spf"] == {"result": None, "domain": None, "identity": None, "reason": None}
    assert list(result) == list(full)
    for name in ("spf", "arc", "dmarc", "decision"):
        assert list(result[name]) == list(full[name])


async def test_without_a_configuration(bench: Bench) -> None:
    result = await bench.run(SIGNED, config=None, rcpt=["a@one.example", "b@two.example"])
    assert result["routes"] == [
        {"rcpt": "a@one.example", "backend": "default"},
        {"rcpt": "b@two.example", "backend": "default"},
    ]
    assert result["decision"]["set"] == "enforce"
    spoof = await bench.run(plain("ceo@corp.example"), config=None, mail_from="x@other.example")
    assert spoof["decision"]["action"] == "reject", "the own-domain firewall is on"


async def test_the_null_sender_is_judged_by_helo(bench: Bench) -> None:
    result = await bench.run(plain("author@sender.example"), mail_from="", helo="other.example")
    assert (result["spf"]["domain"], result["spf"]["identity"]) == ("other.example", "helo")
    assert result["spf"]["result"] == "pass"


async def test_domains_are_a_labels(bench: Bench) -> None:
    result = await bench.run(plain("a@Bücher.example"), mail_from="x@OTHER.example", rcpt="ALICE@Corp.Example")
    assert result["spf"]["domain"] == "other.example"
    assert result["dmarc"]["domain"] == "xn--bcher-kva.example"
    assert result["routes"] == [{"rcpt": "ALICE@corp.example", "backend": "google"}]


async def test_line_ends(bench: Bench) -> None:
    unix = SIGNED.replace(b"\r\n", b"\n")
    converted = await bench.run(unix)
    assert (converted["newlines"], converted["dkim"][0]["result"]) == ("converted", "pass")
    raw = await bench.run(unix, raw=True)
    assert raw["newlines"] == "mixed"
    assert raw["decision"]["reply"].startswith("550 5.6.11 ")
    mixed = await bench.run(SIGNED + b"x\ny\r\n")
    assert (mixed["newlines"], mixed["decision"]["rule"]) == ("mixed", "bare-newline")
    assert mixed["spf"]["result"] == "pass", "what is refused unjudged is judged for the reader all the same"
    assert mixed["dmarc"]["result"] == "pass"
    assert mixed["routes"] == mixed["added"] == []


async def test_recipients_that_are_not_ours(bench: Bench) -> None:
    result = await bench.run(SIGNED, rcpt="x@elsewhere.example")
    assert result["decision"]["rule"] == "relay-denied"
    assert result["decision"]["reply"].startswith("550 5.7.1 ")
    assert not result["decision"]["reply"].endswith(")")
    assert result["spf"]["result"] == "pass"
    some = await bench.run(SIGNED, rcpt=["x@elsewhere.example", "alice@corp.example"])
    assert some["decision"]["action"] == "accept"
    assert some["routes"] == [{"rcpt": "alice@corp.example", "backend": "google"}]


async def test_a_message_above_the_limit(bench: Bench) -> None:
    result = await bench.run(SIGNED + b"x" * 100_000 + b"\r\n")
    assert result["decision"]["action"] == "reject"
    assert result["decision"]["reply"].startswith("552 5.3.4 ")


async def test_forged_results_of_ours_are_judged_with_and_sent_without(bench: Bench) -> None:
    forged = b"Authentication-Results: mx.corp.example; dmarc=pass\r\n" + plain("security@microsoft.com")
    assert (await bench.run(forged, mail_from="x@other.example"))["decision"]["action"] == "reject"


async def test_text_for_people(bench: Bench) -> None:
    simulation = await bench.simulate(plain("security@microsoft.com"), mail_from="x@other.example")
    page = io.StringIO()
    Console(width=400, file=page).print(render_simulation(simulation))
    text = page.getvalue()
    for words in (
        "reject: 550 5.7.1 Email rejected per DMARC policy for microsoft.com",
        f'It came from {CLIENT}, which called itself "mail.other.example"',
        "SPF: other.example, the envelope's domain, lets 203.0.113.7 send: pass",
        "other.example is not aligned with microsoft.com",
        "DKIM: it carries no signature.",
        'the record at microsoft.com is "v=DMARC1; p=reject; pct=100"',
        "direct-spoof",
        'Rule "dmarc-reject" of set "enforce"',
        "_dmarc.microsoft.com TXT: v=DMARC1; p=reject; pct=100",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ip": None}, "ip is missing"),
        ({"rcpt": None}, "rcpt is missing"),
        ({"rcpt": []}, "rcpt is missing"),
        ({"mail_from": None}, "mail_from is missing"),
        ({"ip": "203.0.113.700"}, "is not an IP address"),
        ({"ip": 7}, "a string is wanted"),
        ({"mail_from": "nobody"}, "is not a mail address"),
        ({"rcpt": [3]}, "is not a mail address"),
        ({"now": "soon"}, "is not a number"),
        ({"now": True}, "is not a number"),
        ({"dns": 3}, "a path or an object"),
        ({"rcpt": "a@[192.0.2.1]", "config": None}, "cannot be a domain of ours"),
    ],
)
async def test_bad_options(bench: Bench, options: dict[str, Any], words: str) -> None:
    with pytest.raises(CaseError, match=words):
        await bench.run(SIGNED, **options)


async def test_a_mapped_address_is_its_ipv4_self(bench: Bench) -> None:
    assert (await bench.run(SIGNED, ip=f"::ffff:{CLIENT}"))["spf"]["result"] == "pass"


async def test_a_batch_goes_on_after_a_bad_case(bench: Bench) -> None:
    (bench.directory / "signed.eml").write_bytes(SIGNED)
    good = {"file": "signed.eml", "ip": CLIENT, "mail_from": "author@sender.example", "rcpt": "a@corp.example"}
    results = await bench.batch(
        {**good, "id": "first", "comment": "keys of its own are let be"},
        {**good, "file": "missing.eml"},
        b"not json",
        b"[1]",
        b"",
        {**good, "dns": {"sender.example": {"TXT": "TIMEOUT"}}, "id": None},
        {**good, "policy": "nonsense"},
        {**good, "rcpt": "x@elsewhere.example", "config": "gateway.toml"},
        {**good, "standng": "familiar"},
        {**good, "mail-from": "author@sender.example"},
        dns=str(bench.directory / "zone.json"),
        now=NOW,
    )
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert list(results[0])[:4] == ["index", "file", "id", "spf"]
    assert results[0]["id"] == "first"
    assert results[0]["dmarc"]["result"] == "pass"
    assert list(results[1]) == ["index", "file", "error"]
    assert "missing.eml" in results[1]["error"]
    assert results[2]["file"] is None
    assert "JSON" in results[2]["error"]
    assert "object" in results[3]["error"]
    assert results[4]["spf"]["result"] == "temperror"
    assert results[4]["id"] is None
    assert "error" in results[5]
    assert results[6]["decision"]["rule"] == "relay-denied"
    assert results[7]["error"] == "standng is not an option; did you mean standing?"
    assert results[8]["error"] == "mail-from is not an option; did you mean mail_from?"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ("(unknown);", "(unknown).")),
        ({"client": "known"}, ("(unknown);", "(known).")),
        ({"standing": "familiar"}, ("(familiar);", "(known).")),
        ({"standing": "stranger"}, ("(stranger);", "(known).")),
        ({"standing": "stranger", "client": "unknown"}, ("(stranger);", "(unknown).")),
    ],
)
async def test_the_text_says_what_was_assumed(bench: Bench, options: dict[str, str], words: tuple[str, ...]) -> None:
    (bench.directory / "signed.eml").write_bytes(SIGNED)
    good = {"file": "signed.eml", "ip": CLIENT, "mail_from": "author@sender.example", "rcpt": "a@corp.example"}
    case = read_case({**good, "dns": "zone.json", **options}, bench.directory)
    printed = [str(part) for part in render_simulation(await simulate(case, make_simulation_context())).renderables]
    (assumed,) = (line for line in printed if line.startswith("Assumed: "))
    assert all(word in assumed for word in words)


async def test_odd_octets_end_no_batch(bench: Bench) -> None:
    (bench.directory / "signed.eml").write_bytes(SIGNED)
    good = {"file": "signed.eml", "ip": CLIENT, "mail_from": "a@sender.example", "rcpt": "a@corp.example", "now": NOW}
    lines = [
        b"\xef\xbb\xbf" + json.dumps(good).encode(),
        b'{"file": "\xff"}',
        {**good, "file": "\ud800"},
        {**good, "id": "\ud800"},
        {**good, "now": float("inf")},
        {**good, "raw": "true"},
        good,
    ]
    results = await bench.batch(*lines, dns=str(bench.directory / "zone.json"))
    assert ["error" in result for result in results] == [False, True, True, False, True, True, False]
    for result in results:
        json.dumps(result, ensure_ascii=False).encode()


async def test_a_batch_is_deterministic(bench: Bench) -> None:
    (bench.directory / "signed.eml").write_bytes(SIGNED)
    case = {"file": "signed.eml", "ip": CLIENT, "mail_from": "a@sender.example", "rcpt": "a@corp.example", "now": NOW}
    first, second = await bench.batch(case, case, dns=str(bench.directory / "zone.json"))
    assert first | {"index": 1} == second
    assert "Sat, 21 Nov 2026 21:10:00 +0000" in first["added"][-1]
