from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.samples import signing_key


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with the rule set `enforce`; each test starts it."""
    zone: dict[str, object] = {
        "sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
        "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
        "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
        "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
        "other.example": {"TXT": ["v=spf1 ip4:127.0.0.1 ~all"]},
    }
    process = Gateway(tmp_path, zone=zone, settings='[policy]\nset = "enforce"\n')
    try:
        yield process
    finally:
        process.stop()
