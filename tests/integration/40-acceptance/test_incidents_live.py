"""The incident table over SMTP, with the words an admin gets to see."""

from __future__ import annotations

import json
import re

from tests.support.gateway_process import Gateway, send
from tests.support.samples import break_between_boundaries, nested_multipart, plain, sign

RELAY = """
[[relay]]
name = "on-premises"
addresses = ["127.0.0.9"]
by = ["relay.corp.example"]
format = "postfix"

[[own_hop]]
name = "inner forward"
addresses = ["127.0.0.10"]
"""


def id_of(text: str) -> str:
    found = re.search(r"\((\w+)\)$", text)
    assert found, text
    return found[1]


def explain(gateway: Gateway, text: str) -> dict[str, dict[str, object]]:
    done = gateway.run("explain", id_of(text), "--config", str(gateway.config_path), "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_1b_the_mutated_copy_is_quarantined(gateway: Gateway) -> None:
    gateway.zone["sender.example"] = {"TXT": ["v=spf1 ip4:192.0.2.9 -all"]}
    gateway.start()
    message = break_between_boundaries(sign(nested_multipart("author@sender.example"), "sender.example"))
    with gateway.smtp() as client:
        code, text = send(client, "author@sender.example", ["bob@corp.example"], message)
    assert code == 250, text
    [(octets, _)] = gateway.microsoft.wait(1)
    assert octets.endswith(message)
    head = octets[: -len(message)]
    assert head.startswith(b"X-Waypost-Verdict: action=quarantine; dmarc=fail;")
    assert b"dkim=fail" in head
    assert b"spf=fail" in head
    story = explain(gateway, text)
    assert story["decision"]["action"] == "quarantine"


def test_2a_the_client_behind_our_relay_is_judged(gateway: Gateway) -> None:
    gateway.settings = RELAY
    gateway.zone["sender.example"] = {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]}
    gateway.start()
    relayed = (
        b"Received: from mail.sender.example (mail.sender.example [203.0.113.7])\r\n"
        b"\tby relay.corp.example (Postfix) with ESMTPS id 4Xyz12abcd\r\n"
        b"\tfor <alice@corp.example>; Sat, 21 Nov 2026 12:00:01 +0000 (UTC)\r\n"
    ) + plain("author@sender.example")
    with gateway.smtp(source="127.0.0.9", helo="relay.corp.example") as client:
        code, text = send(client, "author@sender.example", ["alice@corp.example"], relayed)
    assert code == 250, text
    story = explain(gateway, text)
    assert story["ingress"]["client"] == "203.0.113.7"
    assert story["ingress"]["source"] == "received"
    assert story["results"]["spf"]["result"] == "pass"
    assert story["results"]["dmarc"]["result"] == "pass"


def test_2b_an_unreadable_line_gives_no_verdict_on_spf(gateway: Gateway) -> None:
    gateway.settings = RELAY
    gateway.start()
    relayed = b"Received: from somewhere by relay.corp.example; Sat, 21 Nov 2026 12:00:01 +0000\r\n" + plain(
        "author@sender.example"
    )
    with gateway.smtp(source="127.0.0.9", helo="relay.corp.example") as client:
        code, text = send(client, "author@sender.example", ["alice@corp.example"], relayed)
    assert code == 250, text
    story = explain(gateway, text)
    assert story["ingress"]["client"] is None
    assert story["results"]["spf"]["result"] == "none"
    assert story["results"]["spf"]["reason"]
    assert story["results"]["dmarc"]["result"] == "none"
    assert story["results"]["dmarc"]["reason"]
    assert story["decision"]["action"] == "accept"


def test_3_the_spoof_is_rejected_and_explained(gateway: Gateway) -> None:
    gateway.start()
    with gateway.smtp() as client:
        code, text = send(client, "x@other.example", ["alice@corp.example"], plain("security@microsoft.com"))
    assert code == 550
    assert text.startswith("5.7.1")
    assert "DMARC" in text
    story = explain(gateway, text)
    assert story["results"]["spf"]["result"] == "pass"
    assert story["results"]["spf"]["domain"] == "other.example"
    assert story["results"]["dmarc"]["result"] == "fail"
    done = gateway.run("explain", id_of(text), "--config", str(gateway.config_path))
    for word in ("other.example", "microsoft.com", "aligned", "p=reject", "dmarc-reject", "direct-spoof"):
        assert word in done.stdout, f"{word} is missing in:\n{done.stdout}"
    assert "same" in done.stdout, "the decision is repeated from the stored evidence"


def test_4_own_domain_from_a_stranger(gateway: Gateway) -> None:
    gateway.start()
    with gateway.smtp() as client:
        code, text = send(client, "ceo@corp.example", ["alice@corp.example"], plain("ceo@corp.example"))
    assert (code, text[:5]) == (550, "5.7.1")


def test_4_own_domain_without_a_record_and_firewall_reject(gateway: Gateway) -> None:
    del gateway.zone["_dmarc.corp.example"], gateway.zone["corp.example"]
    gateway.settings = '[policy]\nfirewall = "reject"\n'
    gateway.start()
    with gateway.smtp() as client:
        code, text = send(client, "ceo@corp.example", ["alice@corp.example"], plain("ceo@corp.example"))
    assert (code, text[:5]) == (550, "5.7.1")


def test_5_abuse_after_an_inner_forward_is_accepted(gateway: Gateway) -> None:
    gateway.settings = RELAY
    gateway.start()
    with gateway.smtp(source="127.0.0.10", helo="inner.corp.example") as client:
        code, text = send(client, "victim@sender.example", ["abuse@corp.example"], plain("victim@sender.example"))
    assert code == 250, text
    story = explain(gateway, text)
    assert story["results"]["spf"]["result"] == "none"
    assert "inner forward" in str(story["results"]["spf"]["reason"])
    assert story["results"]["spf"]["domain"] == "sender.example"
    assert story["results"]["dmarc"]["result"] != "fail"


def test_strangers_cannot_relay(gateway: Gateway) -> None:
    gateway.start(backends=False)
    with gateway.smtp() as client:
        code, text = send(client, "x@other.example", ["someone@elsewhere.example"], b"")
    assert (code, text[:5]) == (550, "5.7.1")
    assert explain(gateway, text)["decision"]["rule"] == "relay-denied"
