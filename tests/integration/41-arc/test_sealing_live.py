"""ARC through the running gateway: Microsoft's copy is sealed, Google's is not, and one trusted sealer counts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dkim
import pytest

from gateway.mail.header import parse_header, split_message
from tests.peers import verifier
from tests.support.gateway_process import Gateway, send
from tests.support.samples import nested_multipart, plain, sign, signing_key
from tests.support.sealing import pass_on, pem, seal_at, zone
from tests.support.signing import key_record, rsa_key

SENDER, SEALER = "author@sender.example", "gw.example"
ALICE, BOB = "alice@corp.example", "bob@corp.example"
USUAL = ["X-Waypost-Verdict", "Authentication-Results", "Received"]
SET = ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"]


def names() -> dict[str, str]:
    """The TXT records of the world."""
    return zone() | {
        "sender.example": "v=spf1 ip4:127.0.0.1 -all",
        "_dmarc.sender.example": "v=DMARC1; p=reject",
        "sel1._domainkey.sender.example": signing_key()[1],
        f"arc._domainkey.{SEALER}": key_record(rsa_key()),
        "forwarder.example": "v=spf1 ip4:127.0.0.1 -all",
        "src.example": "v=spf1 ip4:192.0.2.1 ?all",
        "_dmarc.src.example": "v=DMARC1; p=reject",
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests: each backend's copies are distinguished by their number."""
    directory = tmp_path_factory.mktemp("arc")
    process = Gateway(directory, zone={name: {"TXT": [text]} for name, text in names().items()})
    (directory / "arc.pem").write_bytes(pem(rsa_key()))
    process.microsoft_lines = "seal = true"
    process.settings = (
        f'[seal]\ndomain = "{SEALER}"\nselector = "arc"\nkey = "arc.pem"\n[policy]\ntrusted_sealers = ["one.example"]\n'
    )
    try:
        process.start()
        yield process
    finally:
        process.stop()


def deliver(gateway: Gateway, sender: str, message: bytes, *rcpts: str) -> tuple[dict[str, bytes], str]:
    """Each backend's copy of the message, and its id."""
    ways = {"alice@corp.example": gateway.google, "bob@corp.example": gateway.microsoft}
    before = {rcpt: len(ways[rcpt].received()) for rcpt in rcpts}
    with gateway.smtp(tls=False) as client:
        code, text = send(client, sender, list(rcpts), message)
    assert code == 250, text
    got = {rcpt: ways[rcpt].wait(before[rcpt] + 1)[-1][0] for rcpt in rcpts}
    return got, text.split("(")[-1].rstrip(")")


def explain(gateway: Gateway, id: str, *options: str) -> str:
    return gateway.run("explain", id, *options, "--config", str(gateway.config_path)).stdout


def added(octets: bytes, message: bytes) -> list[str]:
    assert octets.endswith(message)
    return [field.name for field in parse_header(octets[: -len(message)])]


def ask_stock(octets: bytes) -> bytes | None:
    """The result of stock dkimpy for the chain."""
    records = names()
    found = dkim.arc_verify(octets, dnsfunc=lambda name, timeout=5: records[name.decode().rstrip(".")].encode())[0]
    return None if found is None else bytes(found)


@pytest.mark.parametrize("hops", [0, 1])
def test_one_copy_is_sealed_and_the_other_is_not(gateway: Gateway, hops: int) -> None:
    message = pass_on(sign(nested_multipart(SENDER), "sender.example"), hops)
    got, id = deliver(gateway, SENDER, message, ALICE, BOB)
    assert added(got[ALICE], message) == USUAL
    assert added(got[BOB], message) == SET + USUAL
    header = parse_header(split_message(got[BOB])[0])
    assert header[2].value.startswith(b" i=%d; mx.gateway.example;" % (hops + 1))
    assert ask_stock(got[BOB]) == b"pass"
    assert dkim.verify(got[BOB], dnsfunc=lambda name, timeout=5: signing_key()[1].encode())
    told = json.loads(explain(gateway, id, "--json"))
    assert told["sealed"] == ["microsoft"]
    assert told["replayed"] == "same"
    assert [field.partition(":")[0] for field in told["added"]] == SET + USUAL


def test_mailauth_agrees(gateway: Gateway) -> None:
    message = pass_on(sign(nested_multipart(SENDER), "sender.example"), 1)
    sealed = deliver(gateway, SENDER, message, BOB)[0][BOB]
    dns = {name: {"TXT": [record]} for name, record in names().items()}
    cases = [{"id": "sealed", "message": sealed, "dns": dns}]
    cases.append({"id": "altered", "message": sealed.replace(b"Preamble", b"Postface"), "dns": dns})
    answers = verifier.verify(cases)
    assert (answers["sealed"]["arc"], answers["altered"]["arc"]) == ("pass", "fail")


def test_a_broken_chain_is_delivered_unsealed_and_explained(gateway: Gateway) -> None:
    message = pass_on(plain("hello@forwarder.example"), 1).replace(b"Subject: Plain", b"Subject: Other")
    got, id = deliver(gateway, "hello@forwarder.example", message, BOB)
    assert added(got[BOB], message) == USUAL
    assert "ARC-Seal: the chain that came in cannot be vouched for" in explain(gateway, id)


@pytest.mark.parametrize(("sealer", "action"), [("one.example", "accept"), ("two.example", "quarantine")])
def test_a_trusted_seal_is_believed_and_recorded(gateway: Gateway, sealer: str, action: str) -> None:
    message = seal_at(sealer, plain("ann@src.example", BOB))
    got, id = deliver(gateway, "list@forwarder.example", message, BOB)
    assert added(got[BOB], message) == SET + USUAL
    assert ask_stock(got[BOB]) == b"pass"
    told = json.loads(explain(gateway, id, "--json"))
    assert told["decision"]["action"] == action
    chain = f"arc=pass as[1].d={sealer} as[1].s=arc remote-ip[1]=2001:db8::1a"
    comment = chain if action == "accept" else "dmarc-unproven (arc)"
    assert told["results"]["dmarc"]["overrides"] == [{"type": "local_policy", "comment": comment}]
    assert told["replayed"] == "same"
