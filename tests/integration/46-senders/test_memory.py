"""The memory of passed mail counts: the third ground for rejecting, and `waypost senders`."""

from __future__ import annotations

import json
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import Gateway, send
from tests.support.samples import break_between_boundaries, nested_multipart, plain, sign, signing_key

pytestmark = pytest.mark.slow

SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")
STRANGER = "127.9.9.9"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    zone: dict[str, object] = {
        "sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
        "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
        "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
        "sel1._domainkey.saas.example": {"TXT": [signing_key()[1]]},
        "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject"]},
        "saas.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
    }
    process = Gateway(tmp_path, zone=zone)
    try:
        yield process
    finally:
        process.stop()


def deliver(gateway: Gateway, mail_from: str, octets: bytes, source: str = "127.0.0.1") -> tuple[int, str]:
    """The code, and the message's id."""
    with smtplib.SMTP("127.0.0.1", gateway.port, "client.example", timeout=30, source_address=(source, 0)) as client:
        client.ehlo()
        code, text = send(client, mail_from, ["alice@corp.example"], octets)
    found = re.search(r"\((\w+)\)$", text)
    assert found
    return code, found[1]


def asked(gateway: Gateway, *words: str) -> Any:
    return json.loads(gateway.run(*words, "--json", "--config", str(gateway.config_path)).stdout)


def test_a_source_that_never_passed_is_strange_once_others_do(gateway: Gateway) -> None:
    gateway.start()
    forged = b"Received: from x (unknown [192.0.2.9]) by mx.forwarder.example; today\r\n" + plain(
        "author@sender.example"
    )
    code, _ = deliver(gateway, "x@saas.example", forged, STRANGER)
    assert code == 250, "a hop with a public address speaks for an indirect way, and nothing is known yet"
    for _ in range(5):
        assert deliver(gateway, "author@sender.example", SIGNED)[0] == 250
    code, id = deliver(gateway, "x@saas.example", forged, STRANGER)
    assert code == 550
    story = asked(gateway, "explain", id)
    assert story["results"]["dmarc"]["grounds"] == ["strange-source"]
    assert story["replayed"] == "same", "what was known then is part of the trace"
    code, id = deliver(gateway, "x@saas.example", break_between_boundaries(SIGNED), STRANGER)
    assert code == 250, "a broken signature of the author's is what changed mail looks like"
    assert asked(gateway, "explain", id)["decision"]["action"] == "quarantine"
    assert asked(gateway, "replay")["changed"] == []
    first, second = asked(gateway, "senders", "sender.example")
    assert (first["networks"], first["passed"], first["failed"]) == (["127.9.9.0/24"], 0, 3)
    assert (second["networks"], second["passed"], second["failed"]) == (["127.0.0.0/24"], 5, 0)


def test_who_writes_as_us_is_listed_and_let_in_by_its_lines(gateway: Gateway) -> None:
    gateway.start()
    newsletter = sign(plain("news@corp.example"), "saas.example")
    assert deliver(gateway, "bounce@saas.example", newsletter, STRANGER)[0] == 550
    assert deliver(gateway, "bounce@saas.example", newsletter, "127.8.8.8")[0] == 550
    assert deliver(gateway, "x@saas.example", plain("ceo@corp.example"), "127.7.7.7")[0] == 550
    service, stranger = asked(gateway, "senders")
    assert (service["signer"], service["failed"], service["passed"]) == ("saas.example", 2, 0)
    assert sorted(service["networks"]) == ["127.8.8.0/24", "127.9.9.0/24"]
    assert (stranger["signer"], stranger["networks"], stranger["failed"]) == (None, ["127.7.7.0/24"], 1)
    shown = gateway.run("senders", "--config", str(gateway.config_path)).stdout
    assert service["paste"] in shown + "\n"

    gateway.config_path.write_text(gateway.config_path.read_text() + service["paste"])
    reloaded = gateway.run("reload", "--config", str(gateway.config_path))
    assert reloaded.returncode == 0, reloaded.stdout
    assert deliver(gateway, "bounce@saas.example", newsletter, STRANGER)[0] == 250
    assert deliver(gateway, "x@saas.example", plain("ceo@corp.example"), "127.7.7.7")[0] == 550
    assert asked(gateway, "senders")[0]["named"] == "saas.example"
