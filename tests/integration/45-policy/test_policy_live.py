"""Policy over SMTP: clients that are refused and clients that must not be, rules at every stage, a set of one domain's
own, reload."""

from __future__ import annotations

import json
import re
import signal
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.support.gateway_process import Gateway, free_port, send
from tests.support.samples import plain, sign, signing_key

SETTINGS = """
[[sender]]
name = "ceo"
login = "ceo"
owns = ["ceo@corp.example"]
[submission]
users = "{users}"
[[listener]]
name = "submission"
role = "submission"
address = "127.0.0.1:{submission}"
certificate = "{certificate}"
key = "{key}"

[[domain]]
name = "severe.example"
backend = "google"
policy = "strict"

[policy]
directory = "rules"
set = "mine"
protected_domains = "bank.example"
[policy.networks]
shunned = "127.0.0.66"
[[policy.sender]]
name = "tickets"
dkim = "tickets.example"
domains = "corp.example"
[[policy.sender]]
name = "staff-list"
dkim = "lists.example"
"""
MINE = """
set = "mine"
include = ["enforce.toml"]

[[rule]]
id    = "shunned"
stage = "connect"
when  = '"shunned" in ingress.networks'
then  = "reject"
reply = "unacceptable"
text  = "Go away, {client}"

[[rule]]
id    = "unwanted"
stage = "mail"
when  = 'envelope.mail_from == "pest@other.example"'
then  = "reject"
reply = "unacceptable"

[[rule]]
id    = "closed"
stage = "rcpt"
when  = '"closed@corp.example" in rcpt.addresses'
then  = "defer"
reply = "not-now"
"""


def base_zone() -> dict[str, Any]:
    key = {"TXT": [signing_key()[1]]}
    return {
        "microsoft.com": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
        "_dmarc.microsoft.com": {"TXT": ["v=DMARC1; p=reject"]},
        "other.example": {"TXT": ["v=spf1 ip4:127.0.0.1 ~all"]},
        "corp.example": {"TXT": ["v=spf1 ip4:192.0.2.2 -all"]},
        "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject"]},
        "sel1._domainkey.tickets.example": key,
        "sel1._domainkey.lists.example": key,
        "sel1._domainkey.other.example": key,
        # Exchange Online answers for a tenant from machines that the tenant's SPF record should name. Here, as is
        # common, it does not, and an automatic answer is not signed.
        "partner.example": {"TXT": ["v=spf1 ip4:192.0.2.3 -all"]},
        "_dmarc.partner.example": {"TXT": ["v=DMARC1; p=reject"]},
    }


class House:
    """One gateway for all of these tests."""

    def __init__(self, directory: Path) -> None:
        self.submission = free_port()
        self.gateway = gateway = Gateway(directory, zone=base_zone())
        users = directory / "users"
        users.write_text(f"ceo:{PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash('right')}\n")
        self.rules = directory / "rules" / "mine.toml"
        self.rules.parent.mkdir()
        self.rules.write_text(MINE)
        gateway.settings = SETTINGS.format(
            users=users, submission=self.submission, certificate=gateway.certificate, key=gateway.key
        )

    def send(self, octets: bytes, sender: str = "x@other.example", rcpt: str = "alice@corp.example") -> str:
        """One message; the reply."""
        with self.gateway.smtp() as client:
            code, text = send(client, sender, [rcpt], octets)
        return f"{code} {text}"

    def explain(self, reply: str) -> dict[str, Any]:
        found = re.search(r"\((\w+)\)$", reply)
        assert found, reply
        for _ in range(40):  # a refusal's trace is written behind the reply
            done = self.gateway.run("explain", found[1], "--config", str(self.gateway.config_path), "--json")
            if done.returncode == 0:
                return dict(json.loads(done.stdout))
            time.sleep(0.1)
        raise AssertionError(done.stderr)

    def wait_for(self, event: str, count: int) -> dict[str, object]:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            found = [one for one in self.gateway.events() if one["event"] == event]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.05)
        raise AssertionError(f"no event {event}:\n{self.gateway.log()}")

    def count(self, event: str) -> int:
        return sum(one["event"] == event for one in self.gateway.events())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("policy"))
    made.gateway.start()
    try:
        yield made
    finally:
        made.gateway.stop()


CEO = plain("ceo@corp.example", subject="Urgent transfer")


def test_incident_3_and_4_are_rejected(house: House) -> None:
    spoof = house.send(plain("security@microsoft.com"))
    assert spoof.startswith("550 5.7.1 Email rejected per DMARC policy for microsoft.com. ")
    own = house.send(CEO, "ceo@corp.example")
    assert own.startswith("550 5.7.1 Email rejected per DMARC policy for corp.example. ")
    assert house.explain(own)["decision"]["rule"] == "own-domain-dmarc"
    told = house.explain(spoof)
    assert told["decision"]["rule"] == "dmarc-reject"
    assert told["results"]["dmarc"]["overrides"] == []
    assert [one["name"] for one in told["findings"]] == ["direct-spoof"]
    assert "nothing signed by microsoft.com" in told["findings"][0]["source"]
    assert told["replayed"] == "same"


def test_incident_4_whatever_it_carries(house: House) -> None:
    for extra in (b"List-Id: <l.lists.example>\r\n", b"Auto-Submitted: auto-replied\r\n", b"ARC-Seal: i=1; x\r\n"):
        for sender in ("x@other.example", ""):
            assert house.send(extra + CEO, sender).startswith("550 5.7.1 "), extra


def test_the_same_from_an_authenticated_submission_is_accepted(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.submission, timeout=20) as client:
        client.starttls(context=house.gateway.client_tls)
        client.login("ceo", "right")
        code, text = send(client, "ceo@corp.example", ["alice@corp.example"], CEO)
    assert code == 250, text
    told = house.explain(text)
    assert (told["decision"]["action"], told["decision"]["rule"]) == ("accept", "inside")
    assert told["ingress"]["login"] == "ceo"


@pytest.mark.parametrize("rcpt", ["abuse@corp.example", "postmaster@corp.example", "abuse@severe.example"])
def test_role_addresses_take_everything(house: House, rcpt: str) -> None:
    reply = house.send(plain("security@microsoft.com"), rcpt=rcpt)
    assert reply.startswith("250 "), reply
    told = house.explain(reply)
    assert told["decision"]["rule"] == "role-recipient"
    assert [one["type"] for one in told["results"]["dmarc"]["overrides"]] == ["local_policy"]


def test_an_out_of_office_from_exchange_online_is_quarantined_at_most(house: House) -> None:
    answer = (
        b"Received: from AS8PR01MB1234.eurprd01.prod.exchangelabs.com ([fe80::1]) by\r\n"
        b" AS8PR01MB1234.eurprd01.prod.exchangelabs.com ([fe80::1%4]) with mapi id 15.20.1.1; Sat, 21 Nov 2026"
        b" 12:00:00 +0000\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n"
    ) + plain("ann@partner.example", subject="Automatic reply: hello")
    reply = house.send(answer, "")
    assert reply.startswith("250 "), reply
    decision = house.explain(reply)["decision"]
    assert (decision["action"], decision["rule"]) == ("quarantine", "notification")
    severe = house.send(answer, "", "alice@severe.example")
    assert severe.startswith("250 "), severe


def test_a_colleagues_post_through_a_named_list_is_accepted(house: House) -> None:
    post = b"List-Id: Staff <staff.lists.example>\r\nList-Post: <mailto:staff@lists.example>\r\n" + sign(
        plain("ann@corp.example", "staff@lists.example", "[staff] Lunch"), "lists.example"
    )
    reply = house.send(post, "staff-bounces@lists.example")
    assert reply.startswith("250 "), reply
    told = house.explain(reply)
    assert (told["decision"]["action"], told["decision"]["rule"]) == ("accept", "named-sender")
    assert told["results"]["dmarc"]["overrides"] == [
        {"type": "local_policy", "comment": "named-sender (staff-list)"}
    ], "never silently"


def test_a_saas_sender_is_allowed_by_its_dkim_domain(house: House) -> None:
    ticket = sign(plain("help@corp.example", subject="[#1] Your ticket"), "tickets.example")
    reply = house.send(ticket, "bounce@tickets.example")
    assert reply.startswith("250 "), reply
    assert house.explain(reply)["decision"]["rule"] == "named-sender"
    for forged in (
        sign(plain("help@corp.example"), "other.example"),
        ticket.replace(b"Hello.", b"Pay now."),
        sign(plain("news@bank.example"), "tickets.example"),
    ):
        assert house.explain(house.send(forged))["decision"]["rule"] != "named-sender"
    assert house.send(sign(plain("help@corp.example"), "other.example")).startswith("550 5.7.1 ")


def test_a_domain_of_ones_own_rules_and_no_verdict_leaks(house: House) -> None:
    """Forwarded mail of a p=reject domain: marked for one domain, rejected for the other, in either order."""
    post = b"Received: from x (unknown [192.0.2.9]) by mx.forwarder.example; today\r\n" + plain("ann@partner.example")
    with house.gateway.smtp() as client:
        client.mail("x@other.example")
        assert client.rcpt("alice@corp.example")[0] == 250
        code, text = client.rcpt("bob@severe.example")
        assert (code, text[:5]) == (452, b"4.5.3")
        code, text = client.rcpt("abuse@corp.example")
        assert (code, text[:5]) == (452, b"4.5.3")
        assert client.rcpt("carol@corp.example")[0] == 250
        code, text = client.data(post)
        assert code == 250, text
        told = house.explain(text.decode())
        assert [one["rcpt"] for one in told["envelope"]["rcpts"]] == ["alice@corp.example", "carol@corp.example"]
        assert (told["decision"]["action"], told["decision"]["set"]) == ("quarantine", "mine")
        client.mail("x@other.example")
        assert client.rcpt("bob@severe.example")[0] == 250
        code, text = client.rcpt("alice@corp.example")
        assert (code, text[:5]) == (452, b"4.5.3")
        code, text = client.data(post)
        assert (code, text[:5]) == (550, b"5.7.1")
        assert house.explain(text.decode())["decision"]["set"] == "strict"


def test_rules_before_the_message(house: House) -> None:
    with pytest.raises(smtplib.SMTPConnectError) as caught:
        house.gateway.smtp(source="127.0.0.66")
    said = f"{caught.value.smtp_code} {caught.value.smtp_error.decode()}"
    assert said.startswith("554 5.7.1 Go away, 127.0.0.66 ("), "the admin's own words"
    told = house.explain(said)
    assert told["decision"]["considered"] == [{"rule": "shunned", "stage": "connect", "matched": True}]
    reply = house.send(CEO, "pest@other.example")
    assert reply.startswith("550 5.7.1 Message refused by policy (")
    assert house.explain(reply)["envelope"]["mail_from"] == "pest@other.example"
    reply = house.send(CEO, rcpt="closed@corp.example")
    assert reply.startswith("451 4.7.0 ")
    assert [one["rcpt"] for one in house.explain(reply)["envelope"]["rcpts"]] == ["closed@corp.example"]
    accepted = house.explain(house.send(plain("a@free.example")))["decision"]
    assert [one["rule"] for one in accepted["considered"][:3]] == ["shunned", "unwanted", "closed"]


def test_a_rule_that_fails_is_451_and_an_event(house: House) -> None:
    when = 'rcpt.domains[rcpt.domains[0] == "own.example" ? 0 : 3] == "x"'
    broken = f'[[rule]]\nid = "broken"\nstage = "rcpt"\nwhen = \'{when}\'\nthen = "accept"\n'
    reload_rules(house, MINE + broken)
    try:
        reply = house.send(CEO)
        assert reply.startswith("451 4.3.0 ")
        event = house.wait_for("rule-failed", 1)
        assert (event["rule"], event["level"]) == ("broken", "alarm")
        assert event["id"] == re.search(r"\((\w+)\)$", reply)[1]  # type: ignore[index]
        assert house.send(CEO, rcpt="abuse@corp.example").startswith("250 ")
    finally:
        reload_rules(house, MINE)


def reload_rules(house: House, text: str) -> None:
    before = house.count("reloaded")
    house.rules.write_text(text)
    assert house.gateway.process is not None
    house.gateway.process.send_signal(signal.SIGHUP)
    house.wait_for("reloaded", before + 1)


def test_reload_is_all_or_nothing(house: House) -> None:
    refused = house.count("reload-refused")
    good = MINE + '[[rule]]\nid = "new"\nstage = "mail"\nwhen = \'envelope.mail_from_domain == "new.example"\'\n'
    good += 'then = "reject"\nreply = "unacceptable"\n'
    house.rules.write_text(good + '[[rule]]\nid = "bad"\nstage = "mail"\nwhen = "nonsense"\nthen = "accept"\n')
    done = house.gateway.run("reload", "--config", str(house.gateway.config_path))
    assert done.returncode != 0
    assert "mine.toml:35: rule bad: when: no fact named nonsense" in done.stdout + done.stderr
    event = house.wait_for("reload-refused", refused + 1)
    assert event["level"] == "alarm"
    assert house.send(plain("a@new.example"), "a@new.example").startswith("250 "), "nothing of it counts"
    house.rules.write_text(good)
    with house.gateway.smtp() as open_session:
        open_session.mail("a@new.example")
        done = house.gateway.run("reload", "--config", str(house.gateway.config_path))
        assert done.returncode == 0, done.stderr
        assert open_session.rcpt("alice@corp.example")[0] == 250, "an open transaction keeps its rules"
    assert house.send(plain("a@new.example"), "a@new.example").startswith("550 5.7.1 ")
    reload_rules(house, MINE)


def test_learn_delivers_and_marks(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, zone=base_zone(), settings='[policy]\nset = "learn"\n')
    gateway.start()
    try:
        with gateway.smtp() as client:
            assert send(client, "x@other.example", ["bob@corp.example"], plain("security@microsoft.com"))[0] == 250
            assert send(client, "x@other.example", ["bob@corp.example"], CEO)[0] == 250
        heads = [octets.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ") for octets, _ in gateway.microsoft.wait(2)]
        head = next(one for one in heads if b"security@microsoft.com" in one)
        own = next(one for one in heads if one is not head)
        assert b"action=quarantine; dmarc=fail; rule=own-domain-unproven; would=reject" in own, (
            "marked, and not refused"
        )
        assert (
            b"X-Waypost-Verdict: action=accept; dmarc=fail; rule=default; would=reject; would-rule=dmarc-reject" in head
        )
    finally:
        gateway.stop()
