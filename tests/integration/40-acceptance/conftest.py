from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.samples import signing_key


def base_zone() -> dict[str, object]:
    """The senders of the five incidents."""
    _, key = signing_key()
    return {
        "sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx.sender.example"]},
        "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
        "sel1._domainkey.sender.example": {"TXT": [key]},
        "microsoft.com": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
        "_dmarc.microsoft.com": {"TXT": ["v=DMARC1; p=reject; pct=100"]},
        "other.example": {"TXT": ["v=spf1 ip4:127.0.0.1 ~all"]},
        "corp.example": {"TXT": ["v=spf1 ip4:192.0.2.2 -all"]},
        "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject"]},
        "plain.example": {"A": ["192.0.2.3"]},
        "client.sender.example": {"A": ["127.0.0.1"]},
    }


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that each test configures and starts itself; always stopped at the end."""
    process = Gateway(tmp_path, zone=base_zone())
    try:
        yield process
    finally:
        process.stop()
