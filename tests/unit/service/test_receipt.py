"""Whether a client has heard a reply: reported once for each, from TCP's state."""

from __future__ import annotations

import pytest

from gateway.service.listener.outflow import Line, LineState, ReplyTracker

OPEN, ENDED, CLOSED = LineState.OPEN, LineState.ENDED, LineState.CLOSED
RESET = ConnectionResetError()


class Session:
    def __init__(self, *lines: Line | None) -> None:
        """The states that successive looks find; the last one repeats."""
        self.told: list[bool] = []
        self.lines = list(lines)
        self.tracker = ReplyTracker(self.told.append, self.look)

    def look(self) -> Line | None:
        return self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.service.listener.outflow._LOOKS", (0.0, 0.0))


async def test_a_further_command_is_proof() -> None:
    session = Session(Line(OPEN, 8))
    session.tracker.spoke()
    assert session.told == []
    session.tracker.sent(gone=False, ahead=False)
    assert session.told == []
    session.tracker.spoke()
    session.tracker.lost(RESET, ended=False)
    await session.tracker.close()
    assert session.told == [True]


@pytest.mark.parametrize("unacknowledged", [0, 8])
async def test_a_command_sent_ahead_proves_nothing(unacknowledged: int) -> None:
    session = Session(Line(OPEN, unacknowledged))
    session.tracker.sent(gone=False, ahead=True)
    session.tracker.spoke()
    session.tracker.next()
    assert session.told == [not unacknowledged]


@pytest.mark.parametrize("line", [None, Line(CLOSED, 0)])
async def test_no_connection_no_hearing(line: Line | None) -> None:
    session = Session(line)
    session.tracker.sent(gone=False, ahead=False)
    await session.tracker.close()
    assert session.told == [False]


@pytest.mark.parametrize("error", [None, RESET, TimeoutError()])
@pytest.mark.parametrize("before", [OPEN, ENDED])
async def test_what_is_acknowledged_was_heard_however_it_ended(before: LineState, error: Exception | None) -> None:
    session = Session(Line(before, 0), Line(CLOSED, 0))
    session.tracker.sent(gone=False, ahead=False)
    session.tracker.lost(error, ended=before is ENDED)
    await session.tracker.close()
    assert session.told == [True]


@pytest.mark.parametrize(
    ("before", "error", "round_trip", "heard"),
    [
        (OPEN, RESET, 0.0, True),  # the reply had arrived when the client's host sent this
        (OPEN, RESET, 60.0, False),  # sent before the reply can have arrived
        (ENDED, RESET, 0.0, False),  # the answer of a host that had closed already
        (OPEN, TimeoutError(), 0.0, False),
        (OPEN, None, 0.0, False),
    ],
)
async def test_what_is_not_acknowledged(before: LineState, error: Exception, round_trip: float, heard: bool) -> None:
    session = Session(Line(before, 0), Line(CLOSED, 8, round_trip))
    session.tracker.sent(gone=False, ahead=False)
    session.tracker.lost(error, ended=before is ENDED)
    assert session.told == [heard]


@pytest.mark.parametrize(("last", "heard"), [(Line(OPEN, 0), True), (Line(OPEN, 8), False), (Line(CLOSED, 8), False)])
async def test_the_end_of_a_session_waits_for_the_acknowledgement(last: Line, heard: bool) -> None:
    session = Session(Line(ENDED, 0), Line(ENDED, 8), last)
    session.tracker.sent(gone=False, ahead=False)
    await session.tracker.close()
    assert session.told == [heard]
