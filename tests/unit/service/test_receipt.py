"""Whether a client has heard a reply: told once for each, by what comes after it."""

from __future__ import annotations

import pytest

from gateway.service.listener.reply_tracker import ReplyTracker


class Line:
    def __init__(self, broken: bool = False) -> None:
        self.told: list[bool] = []
        self.receipt = ReplyTracker(self.told.append, lambda: broken)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.listener.reply_tracker._LOOKS", (0.0, 0.0))


async def test_a_further_command_is_proof() -> None:
    line = Line()
    line.receipt.spoke()
    assert line.told == []
    line.receipt.sent(gone=False, left=False)
    assert line.told == []
    line.receipt.spoke()
    line.receipt.lost(ConnectionResetError())
    await line.receipt.close()
    assert line.told == [True]


async def test_no_connection_no_hearing() -> None:
    line = Line()
    line.receipt.sent(gone=True, left=True)
    await line.receipt.close()
    assert line.told == [False]


async def test_a_reset_instead_of_a_command() -> None:
    line = Line()
    line.receipt.sent(gone=False, left=False)
    line.receipt.lost(ConnectionResetError())
    await line.receipt.close()
    assert line.told == [False]


@pytest.mark.parametrize("broken", [True, False])
async def test_who_sends_nothing_more_is_looked_after(broken: bool) -> None:
    """It may have shut only its own direction, and read on; or it is gone, and our reply is answered by a reset."""
    line = Line(broken)
    line.receipt.sent(gone=False, left=True)
    await line.receipt.close()
    assert line.told == [not broken]


async def test_who_leaves_without_quit_has_heard() -> None:
    line = Line(broken=True)
    line.receipt.sent(gone=False, left=False)
    line.receipt.lost(None)
    await line.receipt.close()
    assert line.told == [True]
