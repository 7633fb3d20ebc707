"""Whether a client has heard that its message is stored. Nothing acknowledges a reply in SMTP, but TCP does: a reply
whose octets the client's host acknowledged was heard, however the connection ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from time import monotonic

from gateway.model.value import Value

_LOOKS = (0.05, 0.2, 0.75, 2.0)
"""Seconds between looks at a connection on which our reply is not acknowledged yet when the session ends."""

_SOON = 1.0
"""Seconds after which a reply is looked after that no further command has followed."""


class LineState(Enum):
    """What TCP says of the way to the client."""

    OPEN = auto()
    ENDED = auto()
    """The client's host has said that nothing more comes. It may still read."""
    CLOSED = auto()
    """Both directions are over, by a reset or by a time-out."""


class Line(Value):
    """The way to the client at one instant."""

    state: LineState
    unacknowledged: int
    """Octets of ours that the client's host has not acknowledged."""
    round_trip: float = 0.0
    """Seconds; the shortest that was seen."""


class ReplyTracker:
    """For one session; `tell` is called once for each reply that was `sent`."""

    def __init__(self, tell: Callable[[bool], None], look: Callable[[], Line | None]) -> None:
        """`look` gives None when there is no connection to look at."""
        self._tell = tell
        self._look = look
        self._open = False
        self._ended = False
        """The client had ended its direction before our reply went out."""
        self._ahead = False
        """The client had sent more than its message before our reply went out."""
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def sent(self, gone: bool, ahead: bool) -> None:
        """The reply goes out now. `gone`: there is no connection any more; `ahead`: commands wait to be read."""
        line = self._look()
        self._open, self._ahead, self._at = True, ahead, monotonic()
        if gone or line is None or line.state is LineState.CLOSED:
            self._conclude(False)
        else:
            self._ended = line.state is LineState.ENDED
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._look_again)

    def spoke(self) -> None:
        """The client has sent another command. One that it sent ahead tells nothing."""
        if self._open and not (self._ahead and self._is_unacknowledged()):
            self._conclude(True)

    def next(self) -> None:
        """Another reply is about to be sent."""
        if self._open:
            self._conclude(not self._is_unacknowledged())

    def lost(self, error: Exception | None, ended: bool) -> None:
        """The connection is over. `ended`: the client had ended its direction by then."""
        if not self._open:
            return
        line = self._look()
        if line is None:
            self._conclude(error is None)
        elif not line.unacknowledged:
            self._conclude(True)
        else:
            # A reset takes the acknowledgement with it that was still to come. It tells that the reply had arrived if
            # it came later than the reply's way there and its own way back, unless the client had closed before.
            reset = isinstance(error, ConnectionError) and not (ended or self._ended)
            self._conclude(reset and monotonic() - self._at > line.round_trip)

    def _look_again(self) -> None:
        """A client that says nothing more may have another attempt of the same message wait for this one's end."""
        line = self._look()
        if line is not None and not line.unacknowledged:
            self._conclude(True)

    async def close(self) -> None:
        """The session ends: what is acknowledged soon was heard."""
        for seconds in _LOOKS:
            line = self._look() if self._open else None
            if line is None or not line.unacknowledged or line.state is LineState.CLOSED:
                break
            await asyncio.sleep(seconds)
        self.next()

    def _is_unacknowledged(self) -> bool:
        line = self._look()
        return line is not None and line.unacknowledged > 0

    def _conclude(self, heard: bool) -> None:
        if self._open:
            self._open = False
            if self._timer is not None:
                self._timer.cancel()
            self._tell(heard)
