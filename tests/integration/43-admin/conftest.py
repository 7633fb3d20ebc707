from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that each test configures and starts itself; always stopped at the end."""
    process = Gateway(tmp_path, zone=dict(ZONE))
    try:
        yield process
    finally:
        process.stop()
