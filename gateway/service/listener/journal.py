"""What a listener refuses by itself, told in events that an attack cannot multiply."""

from __future__ import annotations

import asyncio

from gateway.model.event import Event, Level
from gateway.ports import EventSink

_WINDOW_SECONDS = 60.0


class Journal:
    """The first of a kind is told at once; what follows within a minute is counted, and told together at its end.

    Reasons are words of ours, a dozen of them: however many clients there are, that bounds memory and log lines.
    """

    def __init__(self, emit: EventSink, listener: str) -> None:
        self._emit = emit
        self._listener = listener
        self._alarm_again = 0.0
        self._more: dict[str, tuple[int, str, asyncio.TimerHandle]] = {}

    def note(self, reason: str, client: str) -> None:
        """A session or one of its commands was refused."""
        if reason in self._more:
            count, _, timer = self._more[reason]
            self._more[reason] = count + 1, client, timer
            return
        timer = asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._tell, reason)
        self._more[reason] = 0, "", timer
        self._send(reason, client, 1)

    def alarm(self, error: OSError) -> None:
        """The system gives no connection: descriptors or memory are used up."""
        now = asyncio.get_running_loop().time()
        if now >= self._alarm_again:
            self._alarm_again = now + _WINDOW_SECONDS
            fix = "raise the limit on open files (LimitNOFILE, ulimits), or lower [limits] connections"
            fields = (("listener", self._listener), ("error", error.strerror or str(error)), ("fix", fix))
            self._emit(Event("no-connection-taken", "", fields, Level.ALARM))

    def close(self) -> None:
        """Tell what was counted."""
        for reason in tuple(self._more):
            self._more[reason][2].cancel()
            self._tell(reason)

    def _tell(self, reason: str) -> None:
        count, client, _ = self._more.pop(reason)
        if count:
            self._send(reason, client, count)

    def _send(self, reason: str, client: str, count: int) -> None:
        fields = (("listener", self._listener), ("reason", reason), ("client", client), ("count", count))
        self._emit(Event("listener-refused", "", fields))
