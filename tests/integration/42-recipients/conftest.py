from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway
from tests.support.smtp_sink import Sink

ZONE = {"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"], "MX": ["10 mx.sender.example"]}}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that each test configures and starts itself; always stopped at the end."""
    process = Gateway(tmp_path, zone=dict(ZONE))
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A backend that can be scripted; `settings` of the gateway name it."""
    async with Sink(extensions=("8BITMIME", "SIZE 20000", "ENHANCEDSTATUSCODES", "PIPELINING")) as sink:
        yield sink
