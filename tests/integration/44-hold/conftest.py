from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.samples import signing_key

RULES = """
set = "mine"

[[rule]]
id = "indirect"
stage = "data"
when = 'dmarc.result == "fail"'
then = "hold"

[[rule]]
id = "watched"
stage = "data"
when = 'author.domain == "sender.example"'
then = "hold"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with rules that hold; each test configures and starts it."""
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "mine.toml").write_text(RULES)
    zone: dict[str, object] = {
        "sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
        "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
        "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
        "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
        "other.example": {"TXT": ["v=spf1 ip4:127.0.0.1 ~all"]},
    }
    process = Gateway(tmp_path, zone=zone, settings=f'[policy]\nset = "mine"\ndirectory = "{rules}"\n')
    try:
        yield process
    finally:
        process.stop()
