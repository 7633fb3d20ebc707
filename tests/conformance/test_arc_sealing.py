"""ARC sealing by the suite of ARC's authors (ValiMail arc_test_suite, 17 cases), and by verifiers that are not ours.

The suite gives for each message the three fields with their signatures, which depend on every covered octet. Its
ARC-Authentication-Results holds a comment; ours never do, because stock dkimpy and others lose them, so the suite's
field is used here. Two cases seal over a chain that has just failed: the composition can, the gateway never does (SPEC
section 3, docs/adr/0006-arc.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import dkim as stock
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.authentication import arc
from gateway.authentication.signing import Sealer, seal
from gateway.mail.header import Field, fields, parse_header, unfold
from gateway.mail.tokens import parse_tags
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.result import ArcVerdict
from tests.peers import verifier
from tests.support.corpora import corpus
from tests.support.sealing import pass_on, read, rsa_operation, validate, zone
from tests.support.signing import MESSAGE, NOW, sign, window

SUITE = "arc/arc_test_suite/arc-draft-sign-tests.yml"


def cases() -> list[Any]:
    found = []
    for scenario in yaml.safe_load_all(corpus(SUITE).read_text("utf-8")):
        if scenario:
            found += [pytest.param(scenario, case, id=name) for name, case in scenario["tests"].items()]
    return found


def combine(header: tuple[Field, ...], authserv_id: str, instance: int) -> bytes:
    """All results of that name in one field (RFC 8617 section 5.1 step 2)."""
    values = [unfold(field.value) for field in fields(header, "authentication-results")]
    own = [value.partition(";")[2].strip() for value in values if value.partition(";")[0].strip() == authserv_id]
    return f"ARC-Authentication-Results: i={instance}; {authserv_id}; {'; '.join(own)}\r\n".encode()


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize(("scenario", "case"), cases())
def test_case(scenario: dict[str, Any], case: dict[str, Any]) -> None:
    evidence, header = read(case["message"].encode().replace(b"\n", b"\r\n"))
    known = {
        Question(name.lower(), "TXT"): Answer(DnsStatus.FOUND, (text,))
        for name, text in scenario["txt-records"].items()
    }
    chain = arc.validate(evidence, header, window(known), 12400.0).result
    newest = [unfold(field.value) for field in fields(header, "arc-seal")][:1]
    if newest and "cv=fail" in newest[0]:
        assert not case["AS"].strip()
        assert chain is ArcVerdict.FAIL
        return
    instance = len(fields(header, "arc-seal")) + 1
    results = combine(header, case["srv-id"], instance)
    key = load_pem_private_key(scenario["privatekey"].encode(), None)
    assert isinstance(key, RSAPrivateKey)
    sealer = Sealer(scenario["domain"], scenario["sel"], rsa_operation(key))
    names = tuple(name.strip() for name in case["sig-headers"].lower().split(":"))
    made = seal(evidence, header, results, instance, chain, sealer, float(case["t"]), names)
    top, message, authentication = (parse_header(field)[0] for field in made)
    assert words(unfold(authentication.value)) == words(case["AAR"])
    assert tags(unfold(message.value)) == tags(case["AMS"])
    assert tags(unfold(top.value)) == tags(case["AS"])


def tags(value: str) -> dict[str, str]:
    """Without the white space that may stand in b= and bh=."""
    found = parse_tags(words(value))
    assert found is not None
    return {name: text.replace(" ", "") for name, text in found.items()}


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "body": lambda message: message.replace(b"how  are you?", b"how are they?"),
    "subject": lambda message: message.replace(b"about folding", b"about money"),
    "author": lambda message: message.replace(b"ann@src.example", b"eve@src.example"),
    "second author": lambda message: message.replace(b"From:", b"From: eve@src.example\r\nFrom:", 1),
    "oldest results": lambda message: re.sub(rb"i=1; mx.one.example", b"i=1; mx.own.example", message),
    "newest seal's time": lambda message: message.replace(b"t=1790000000", b"t=1790000001", 1),
    "oldest set removed": lambda message: remove_sets(message, b"i=1"),
}


def remove_sets(message: bytes, instance: bytes) -> bytes:
    header = parse_header(message.partition(b"\r\n\r\n")[0] + b"\r\n")
    for field in header:
        if field.lower.startswith("arc-") and instance in field.value:
            message = message.replace(message[field.start : field.end], b"\0" * (field.end - field.start))
    return message.replace(b"\0", b"")


def look_up(name: bytes, timeout: int = 5) -> bytes | None:
    text = zone().get(name.decode().rstrip("."))
    return text.encode() if text else None


def ask_stock(message: bytes) -> str:
    found = stock.arc_verify(message, dnsfunc=look_up)[0]
    return (found or b"fail").decode().lower()


def ask_mailauth(messages: dict[str, bytes]) -> dict[str, str]:
    dns = {name: {"TXT": [text]} for name, text in zone().items()}
    cases = [{"id": id, "message": message, "dns": dns, "now": NOW} for id, message in messages.items()]
    return {id: answer.get("arc", answer.get("error")) for id, answer in verifier.verify(cases).items()}


def chains() -> Iterator[tuple[str, bytes]]:
    """One, two and three hops: of an unsigned message, of a signed one, and of one whose h= needs folding."""
    long = b"".join(b"%s: x\r\n" % name for name in LONG) + MESSAGE
    empty = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for kind, message in (("plain", MESSAGE), ("signed", sign()), ("long", sign(long)), ("empty", empty)):
        for hops in (1, 2, 3):
            yield f"{kind} {hops}", pass_on(message, hops)


LONG = (b"Cc", b"Reply-To", b"Message-ID", b"References", b"In-Reply-To", b"MIME-Version", b"Content-Type", b"List-Id")


@pytest.mark.parametrize(("name", "message"), list(chains()))
def test_what_we_seal_verifies_here_and_under_stock_dkimpy(name: str, message: bytes) -> None:
    result = validate(message)
    assert (result.result, result.oldest_pass) == (ArcVerdict.PASS, 0), result.reason
    assert len(result.sealers) == int(name[-1])
    assert ask_stock(message) == "pass"


def test_a_header_without_its_last_line_break_is_sealed_as_it_will_be_read() -> None:
    """BDAT can bring a message that ends inside its header; a hop that adds fields above continues to its end."""
    bare = pass_on(MESSAGE.partition(b"\r\n\r\n")[0], 1)
    assert validate(bare).result is ArcVerdict.PASS
    assert ask_stock(bare) == "pass"


def test_what_we_seal_verifies_under_mailauth() -> None:
    messages = dict(chains())
    assert ask_mailauth(messages) == dict.fromkeys(messages, "pass")


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_tampered_chain_fails_here_and_under_stock_dkimpy(alteration: str, hops: int) -> None:
    sealed = pass_on(sign(), hops)
    altered = ALTERATIONS[alteration](sealed)
    assert altered != sealed
    wanted = "none" if alteration == "oldest set removed" and hops == 1 else "fail"
    assert validate(altered).result.value == wanted
    assert ask_stock(altered) == wanted


def test_a_tampered_chain_fails_under_mailauth() -> None:
    messages = {name: alter(pass_on(sign(), 3)) for name, alter in ALTERATIONS.items()}
    assert "pass" not in ask_mailauth(messages).values()
