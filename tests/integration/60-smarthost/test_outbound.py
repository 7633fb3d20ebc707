"""Mail of our own people, machines and tenants: it arrives, signed and aligned, and is judged once."""

from __future__ import annotations

import json
import re
import smtplib
import time
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.signing import Signer, rsa_key
from tests.support.smarthost import DEVICE, GOOGLE, MACHINE, MICROSOFT, OURS, SECRET, Pair

pytestmark = pytest.mark.slow

STAMP = f"X-MS-Exchange-CrossTenant-Id: {OURS}\r\n".encode()
BODY = b"\r\nThe text.\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("outbound"))
    made.b.settings = '[[domain]]\nname = "listed.example"\nbackend = "google"\nmailboxes = "listed"\n'
    made.start()
    yield made
    made.stop()


def explain(gateway: Gateway, id: str) -> dict[str, Any]:
    """The story of a message, once nothing of it waits any more."""
    for _ in range(100):
        run = gateway.run("explain", id, "--config", str(gateway.config_path), "--json")
        assert run.returncode == 0, run.stderr
        story: dict[str, Any] = json.loads(run.stdout)
        if all(one["state"] != "waiting" for one in story["recipients"]):
            return story
        time.sleep(0.1)
    raise AssertionError(run.stdout)


def id_of(text: str) -> str:
    found = re.search(r"\(([^()]+)\)$", text)
    assert found, text
    return found[1]


def delivered(pair: Pair, client: smtplib.SMTP, mail_from: str, octets: bytes, rcpt: str = "carl@far.example") -> bytes:
    """Send it through A; returns the copy that B's backend received."""
    before = len(pair.b.google.received())
    with client:
        code, text = send(client, mail_from, [rcpt], octets)
    assert code == 250, text
    return pair.b.google.wait(before + 1)[-1][0]


def judged_at_b(octets: bytes) -> str:
    """The results field that B wrote."""
    found = [str(value) for value in message_from_bytes(octets).get_all("Authentication-Results", [])]
    return " ".join(next(value for value in found if value.startswith("mx.far.example")).split())


def test_a_person_sends_to_the_world(pair: Pair) -> None:
    octets = delivered(pair, pair.login(), "ann@corp.example", b"From: Ann <ann@corp.example>\r\nTo: x\r\n" + BODY)
    results = judged_at_b(octets)
    assert "spf=pass" in results
    assert results.count("dkim=pass") == 2
    assert "dmarc=pass" in results
    message = message_from_bytes(octets)
    assert re.fullmatch(r"<[^@<>]+@mx\.gateway\.example>", str(message["Message-ID"]))
    assert message["Date"]
    assert message["X-Waypost-Verdict"].startswith("action=accept; dmarc=pass;"), "B's own, and none of A's"
    assert len(message.get_all("X-Waypost-Verdict", [])) == 1
    assert len(message.get_all("Authentication-Results", [])) == 1, "strangers are told nothing of what A found"
    assert octets.endswith(BODY)


def test_spf_is_judged_once(pair: Pair) -> None:
    with pair.login() as client:
        _, text = send(client, "ann@corp.example", ["carl@far.example"], b"From: ann@corp.example\r\n" + BODY)
    story = explain(pair.a, id_of(text))
    assert story["results"]["spf"]["result"] == "none"
    assert "not an edge" in story["results"]["spf"]["reason"]
    assert story["ingress"]["trusted_by"] == "sender ann"
    assert story["replayed"] == "same"


def test_a_login_that_is_an_address_sends_as_itself(pair: Pair) -> None:
    octets = delivered(pair, pair.login("zoe@corp.example"), "zoe@corp.example", b"From: zoe@corp.example\r\n" + BODY)
    assert "dmarc=pass" in judged_at_b(octets)


def test_a_scanner_gets_its_forced_sender(pair: Pair) -> None:
    scan = b"From: MFP <mfp@printer.local>\r\nTo: carl@far.example\r\nSubject: Scan 1\r\n" + BODY
    octets = delivered(pair, pair.machine(DEVICE), "mfp@printer.local", scan)
    message = message_from_bytes(octets)
    assert message.get_all("From") == ["<scan@corp.example>"]
    assert message["Subject"] == "Scan 1"
    results = judged_at_b(octets)
    assert "spf=pass smtp.mailfrom=corp.example" in results
    assert "dmarc=pass" in results
    assert "Date" not in message, "what a mail program forgot is added on submission only"


@pytest.mark.parametrize("said", ["<mfp>", "mfp@printer.local", "<#@[]>", "", "<mfp@printer.local.> SIZE=200"])
def test_a_scanner_gets_its_forced_sender_whatever_it_says(pair: Pair, said: str) -> None:
    before = len(pair.b.google.received())
    with pair.machine(DEVICE) as client:
        assert client.docmd("EHLO", "My Scanner 3000")[0] == 250
        assert client.docmd(f"MAIL FROM:{said}")[0] == 250
        assert client.docmd("RCPT TO: carl@far.example.")[0] == 250
        code, text = client.data(b"From: mfp\r\nResent-From: ceo@corp.example\r\nTo: carl\r\n" + BODY)
    assert code == 250, text
    message = message_from_bytes(pair.b.google.wait(before + 1)[-1][0])
    assert message.get_all("From") == ["<scan@corp.example>"]
    assert "Resent-From" not in message
    assert f"from [{DEVICE}]" in " ".join(message.get_all("Received", []))
    assert "spf=pass smtp.mailfrom=corp.example" in judged_at_b(message.as_bytes())


def test_an_application_sends_as_any_of_ours(pair: Pair) -> None:
    octets = delivered(pair, pair.machine(MACHINE), "shop@corp.example", b"From: orders@corp.example\r\n" + BODY)
    assert "dmarc=pass" in judged_at_b(octets)


def test_a_proven_tenant_sends(pair: Pair) -> None:
    message = STAMP + b"From: bob@corp.example\r\n" + BODY
    octets = delivered(pair, pair.provider(MICROSOFT), "bob@corp.example", message)
    assert "dmarc=pass" in judged_at_b(octets)
    assert STAMP in octets, "only a secret is taken out"


def test_a_tenants_secret_does_not_leave(pair: Pair) -> None:
    message = f"Subject: x\r\nX-Corp-Relay: {SECRET}\r\nFrom: eve@corp.example\r\n".encode() + BODY
    octets = delivered(pair, pair.provider(GOOGLE), "eve@corp.example", message)
    assert SECRET.encode() not in octets
    assert b"X-Corp-Relay" not in octets
    assert "dmarc=pass" in judged_at_b(octets)


NDR = (
    b"From: postmaster@corp.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n"
    b"Subject: Undeliverable\r\n"
)
AWAY = b"From: bob@corp.example\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n"


@pytest.mark.parametrize("header", [NDR, AWAY], ids=["NDR", "out of office"])
def test_what_a_tenants_machines_send_arrives_as_it_is(pair: Pair, header: bytes) -> None:
    octets = delivered(pair, pair.provider(MICROSOFT), "", STAMP + header + BODY)
    assert b"DKIM-Signature" not in octets
    assert octets.endswith(STAMP + header + BODY)
    with pair.provider(MICROSOFT) as client:
        code, text = send(client, "", ["carl@far.example"], header + BODY)
    assert (code, text[:6]) == (550, "5.7.1 "), "no tenant's machine, no way out"


def test_a_forwarded_message_of_a_tenant_keeps_its_author_and_gets_no_signature_of_ours(pair: Pair) -> None:
    signed = Signer((("d", "list.example"), ("h", "from:subject")), rsa_key())
    message = b"From: someone@list.example\r\nSubject: news\r\n" + BODY
    message = signed.sign(message) + message
    octets = delivered(pair, pair.provider(MICROSOFT), "bob+srs@corp.example", STAMP + message)
    results = judged_at_b(octets)
    assert "header.d=list.example" in results
    assert "header.d=corp.example" not in results
    with pair.provider(MICROSOFT) as client:
        code, text = send(client, "bob+srs@corp.example", ["carl@far.example"], message)
    assert (code, text[:6]) == (550, "5.7.1 "), "its own signature proves no tenant"


def test_from_google_to_microsoft_is_internal(pair: Pair) -> None:
    before = len(pair.a.microsoft.received())
    message = f"X-Corp-Relay: {SECRET}\r\n".encode()
    rest = b"From: eve@corp.example\r\nSubject: to the other half\r\n" + BODY
    with pair.provider(GOOGLE) as client:
        code, text = send(client, "eve@corp.example", ["bob@corp.example"], message + rest)
    assert code == 250, text
    octets, facts = pair.a.microsoft.wait(before + 1)[-1]
    assert octets.endswith(rest)
    assert facts["rcpts"] == ["bob@corp.example"]
    story = explain(pair.a, id_of(text))
    assert (story["decision"]["action"], story["decision"]["rule"]) == ("accept", "inside")
    assert story["ingress"]["sender"] == "tenant workspace, secret in X-Corp-Relay"


def test_from_microsoft_to_google_is_internal(pair: Pair) -> None:
    before = len(pair.a.google.received())
    with pair.provider(MICROSOFT) as client:
        message = STAMP + b"From: bob@corp.example\r\nSubject: to the other half\r\n" + BODY
        code, text = send(client, "bob@corp.example", ["dan@corp.example"], message)
    assert code == 250, text
    octets, facts = pair.a.google.wait(before + 1)[-1]
    assert octets.endswith(message)
    assert facts["rcpts"] == ["dan@corp.example"]
    story = explain(pair.a, id_of(text))
    assert story["decision"]["action"] == "accept"
    assert "own-domain" not in story["decision"]["rule"]
    assert all(not octets.endswith(message) for octets, _ in pair.a.microsoft.received())


def test_to_a_mailbox_where_it_comes_from_would_go_round_for_ever(pair: Pair) -> None:
    with pair.provider(MICROSOFT) as client:
        code, text = send(
            client, "eve@corp.example", ["bob@corp.example"], STAMP + b"From: eve@corp.example\r\n" + BODY
        )
    assert (code, text[:6]) == (550, "5.1.1 ")


def test_one_message_to_ours_and_to_the_world(pair: Pair) -> None:
    ours, theirs = len(pair.a.google.received()), len(pair.b.google.received())
    with pair.login() as client:
        rcpts = ["dan@corp.example", "postmaster@corp.example", "carl@far.example"]
        code, text = send(client, "ann@corp.example", rcpts, b"From: ann@corp.example\r\n" + BODY)
    assert code == 250, text
    inside = message_from_bytes(pair.a.google.wait(ours + 1)[-1][0])
    assert inside["Authentication-Results"].startswith("mx.gateway.example")
    assert inside["DKIM-Signature"]
    outside = pair.b.google.wait(theirs + 1)[-1][0]
    assert "dmarc=pass" in judged_at_b(outside)


def test_a_bounce_comes_back_to_the_senders_backend(pair: Pair) -> None:
    before = len(pair.a.microsoft.received())
    with pair.machine(MACHINE) as client:
        code, _ = send(client, "bob@corp.example", ["x@listed.example"], b"From: bob@corp.example\r\n" + BODY)
    assert code == 250
    octets, facts = pair.a.microsoft.wait(before + 1)[-1]
    assert facts["mail_from"] == ""
    assert b"report-type=delivery-status" in octets
    assert b"x@listed.example" in octets


def test_adding_a_field_breaks_the_signature(pair: Pair) -> None:
    """Oversigning, seen at B: a hop on the way puts a second Subject above."""
    octets = delivered(pair, pair.login(), "ann@corp.example", b"From: ann@corp.example\r\nSubject: one\r\n" + BODY)
    at = octets.index(b"DKIM-Signature:")
    with pair.b.smtp(source="127.0.0.70") as client:
        code, text = send(client, "ann@corp.example", ["carl@far.example"], b"Subject: two\r\n" + octets[at:])
    assert code == 250, text
    story = explain(pair.b, id_of(text))
    assert {one["result"] for one in story["results"]["dkim"]} == {"fail"}


def test_a_reload_counts_for_sessions_that_are_open(pair: Pair) -> None:
    """From their next message on."""
    octets = b"From: ann@corp.example\r\n\r\nText.\r\n"
    settings = pair.a.settings
    with pair.login() as client:
        assert send(client, "ann@corp.example", ["carl@far.example"], octets)[0] == 250
        pair.a.settings = settings.replace('owns = ["ann@corp.example"]', 'owns = ["other@corp.example"]')
        pair.a.write_config()
        assert pair.a.run("reload", "--config", str(pair.a.config_path)).returncode == 0
        code, text = send(client, "ann@corp.example", ["carl@far.example"], octets)
        assert (code, "5.7.1" in text) == (550, True), text
        pair.a.settings = settings
        pair.a.write_config()
        assert pair.a.run("reload", "--config", str(pair.a.config_path)).returncode == 0
        assert send(client, "ann@corp.example", ["carl@far.example"], octets)[0] == 250
