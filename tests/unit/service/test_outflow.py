"""The last reply may take a while to leave, and nothing is kept of a closed connection."""

from __future__ import annotations

import asyncio

import pytest

from gateway.service.listener import outflow
from gateway.service.listener.outflow import Outflow


class Pipe:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


@pytest.mark.parametrize(
    ("ends", "calls"), [("", ["close", "abort"]), ("after", ["close"]), ("before", ["close"])], ids=repr
)
async def test_close(monkeypatch: pytest.MonkeyPatch, ends: str, calls: list[str]) -> None:
    monkeypatch.setattr(outflow, "_LINGER_SECONDS", 0.01)
    pipe, way = Pipe(), Outflow(silent=False)
    way.attach(pipe)  # type: ignore[arg-type]
    if ends == "before":
        way.end()
    way.close()
    if ends == "after":
        way.end()
    await asyncio.sleep(0.05)
    assert pipe.calls == calls
