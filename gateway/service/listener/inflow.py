"""Octets from the client, waiting to be read: command lines, content, and the time limits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from gateway.mail.octets import DataFraming
from gateway.model.reply import Reply
from gateway.service.listener.dialogue import Dialogue

_HIGH = 65_536
"""Octets beyond which the transport is paused."""
_LOW = 16_384
_HIGH_AT_FIRST = 8192
"""The same before the client's content is due: 900 clients that flood with commands hold little, and their octets are
read as they are worked off."""
_LOW_AT_FIRST = 2048
_POLLS = 3
"""Rounds in which the loop reads its sockets between the end of a time-out and its effect."""
_CR = 13
_TIMEOUT = Reply(421, "4.2", "Timeout, closing the connection")
_BARE_LF = Reply(500, "5.2", "A command line ends in CRLF")


class SessionOver(Exception):
    """The session ends. `reply` is the last reply to the client; None when it is gone, or needs none. `reason` is the
    listener's word for the refusal, for the journal; empty when there is nothing to report."""

    def __init__(self, reply: Reply | None, reason: str = "") -> None:
        super().__init__(reply)
        self.reply = reply
        self.reason = reason


class Inflow:
    """A bounded buffer between the transport and a session's task. Only one task reads.

    Reading raises SessionOver when the client is gone, when it was silent for too long, or after `stop`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, note_held: Callable[[int], None]) -> None:
        """`note_held` is called with the number of octets that wait here while they are many, and with 0 when they no
        longer are."""
        self._loop = loop
        self._note_held = note_held
        self._octets = bytearray()
        self._transport: asyncio.Transport | None = None
        self._held_back = False
        self._high, self._low = _HIGH_AT_FIRST, _LOW_AT_FIRST
        self._ended = False
        self._closed = False
        self._stopped: Reply | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._octets)

    @property
    def ended(self) -> bool:
        """The client sends no more octets."""
        return self._ended

    def attach(self, transport: asyncio.Transport) -> None:
        """Set the transport that feeds this buffer; called again when TLS replaces it."""
        self._release()
        self._transport = transport

    def widen(self) -> None:
        """Content is due: more is read at once."""
        self._high, self._low = _HIGH, _LOW

    def feed(self, octets: bytes) -> None:
        """Octets have arrived."""
        if self._closed:
            return  # under TLS they may still arrive while we wait for the client's close_notify
        self._octets += octets
        if len(self._octets) > self._high and not self._held_back and self._transport is not None:
            self._held_back = True
            self._transport.pause_reading()
            if len(self._octets) > _HIGH:
                self._note_held(len(self._octets))
        self._wake()

    def end(self) -> None:
        """No more octets will arrive; those here can still be read."""
        self._ended = True
        self._wake()

    def stop(self, reply: Reply) -> None:
        """End the session at its next wait for the client."""
        self._stopped = reply
        self._wake()

    def close(self) -> None:
        """Nothing is read any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._octets.clear()
        self._release()

    async def wait_more(self, deadline: float) -> None:
        """Wait for more octets than now. `deadline` is in the loop's time."""
        before = len(self._octets)
        while len(self._octets) == before:
            await self._wait(deadline)

    def peek(self, most: int) -> bytes:
        """The first octets, left in place."""
        return bytes(self._octets[:most])

    def skip(self, count: int) -> None:
        """Drop the first octets."""
        del self._octets[:count]
        self._let_flow()

    def take_all(self) -> bytes:
        """All octets here; the transport is no longer paused."""
        octets = bytes(self._octets)
        self._octets.clear()
        self._release()
        return octets

    def unread(self, octets: bytes) -> None:
        """Put octets back in front."""
        self._octets[:0] = octets

    async def read(self, most: int, deadline: float) -> bytes:
        """Read at least one octet, at most `most`."""
        while not self._octets:
            await self._wait(deadline)
        if len(self._octets) <= most:
            octets = bytes(self._octets)
            self._octets.clear()
        else:
            octets = bytes(self._octets[:most])
            del self._octets[:most]
        self._let_flow()
        return octets

    async def read_line(self, most: int, deadline: float) -> bytes | None:
        """A command line without its CRLF; None for one longer than `most`, which is dropped.

        A bare LF ends the session: it is never the end of a command (RFC 5321 section 2.3.8).
        """
        start = 0
        too_long = False
        while (end := self._octets.find(b"\n", start)) < 0:
            if len(self._octets) > most + 1:
                too_long = True
                del self._octets[:-1]  # the last one may be the CR
            start = len(self._octets)
            self._let_flow()
            await self._wait(deadline)
        if not end or self._octets[end - 1] != _CR:
            raise SessionOver(_BARE_LF, "bare-lf")
        line = bytes(self._octets[: end - 1])
        del self._octets[: end + 1]
        self._let_flow()
        return None if too_long or len(line) > most else line

    async def _wait(self, deadline: float) -> None:
        if self._stopped is not None:
            raise SessionOver(self._stopped)
        if self._ended:
            raise SessionOver(None)
        if self._loop.time() >= deadline:
            raise SessionOver(_TIMEOUT, "timeout")
        self._set_timer(deadline)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self, deadline: float) -> None:
        """One timer serves many waits: it is moved when it fires too early, not at each wait."""
        self._deadline = deadline
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._check_silence)

    def _check_silence(self, polls: int = 0) -> None:
        """Time may be over. Octets in the socket by then count as in time: after a stall, of us or of the machine, a
        timer fires before the loop has read its sockets."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        elif polls < _POLLS:
            self._loop.call_soon(self._check_silence, polls + 1)
        else:
            self._waiter.set_exception(SessionOver(_TIMEOUT, "timeout"))

    def _let_flow(self) -> None:
        if self._held_back and len(self._octets) < self._low:
            self._release()

    def _release(self) -> None:
        if self._held_back and self._transport is not None:
            self._held_back = False
            self._note_held(0)
            if not self._transport.is_closing():
                self._transport.resume_reading()


_CHUNK = 262_144
_HALF = 0.5
_NEARLY = 0.875
_SHORT_SECONDS = 30.0
"""Seconds for which a client may be silent when nearly all of a limit is used."""
_WINDOW_SECONDS = 30.0
_RATE = 1024
"""Octets in a second, on the average of a window, that content must bring when half of a limit is used."""
_RATE_NEARLY = 16_384
"""The same when nearly all is used."""


_LEAST_REST = 2.0
"""Seconds that a client always has for its next command outside a transaction: it may be on a slow line."""
_LEAST_REST_INSIDE = 10.0
"""The same from the last recipient of a transaction to its content, for a response to a challenge, for a TLS handshake,
and in all for a session with many commands and no message: its NOOP and RSET bring it no nearer to one."""


class Awaited(Enum):
    """The step of its client that a session waits for."""

    NONE = auto()
    """It works, or content comes."""
    COMMAND = auto()
    RESPONSE = auto()
    HANDSHAKE = auto()


class ClientPatience:
    """The time limits for the client of a session. The settings apply while less than half of a limit is used. Beyond
    that, content needs a minimum rate, and finally only short silence is allowed."""

    def __init__(self, now: Callable[[], float], end_at: float, pressure: Callable[[], float]) -> None:
        """`pressure` gives the used share, 1 being all."""
        self._now = now
        self._end_at = end_at
        self._pressure = pressure
        self._began = now()
        self._octets = 0
        self.wait = Awaited.NONE
        self._waits_since = 0.0

    def wait_for(self, wait: Awaited) -> None:
        """The session waits for this step of its client from now on."""
        self.wait, self._waits_since = wait, self._now()

    def go_on(self) -> None:
        """The session waits no longer."""
        self.wait = Awaited.NONE

    def rests_until(self, free: bool) -> float | None:
        """The time until which the client may be idle, even if others wait for a place; None while it is not idle.
        `free`: it may take the short rest between messages again and again."""
        if self.wait is Awaited.NONE:
            return None
        if self.wait is not Awaited.COMMAND:
            return self._waits_since + _LEAST_REST_INSIDE
        return self._waits_since + _LEAST_REST if free else self._began + _LEAST_REST_INSIDE

    def due(self, seconds: float) -> float:
        """The time by which a client that may be silent for `seconds` must have sent something."""
        if seconds > _SHORT_SECONDS and self._pressure() >= _NEARLY:
            seconds = _SHORT_SECONDS
        return min(self._now() + seconds, self._end_at)

    def restart(self) -> None:
        """Content may arrive from now on."""
        self._began, self._octets = self._now(), 0

    def content_due(self, seconds: float, octets: int) -> float:
        """The same inside content; `octets` have arrived since the last call."""
        self._octets += octets
        pressure = self._pressure()
        rate = _RATE_NEARLY if pressure >= _NEARLY else _RATE
        if pressure < _HALF or self._octets >= rate * _WINDOW_SECONDS:
            self.restart()
        return min(self.due(seconds), self._began + _WINDOW_SECONDS) if pressure >= _HALF else self.due(seconds)


async def read_data(inflow: Inflow, dialogue: Dialogue, due: Callable[[int], float]) -> None:
    """Read up to CRLF.CRLF. `due` takes the number of new octets, and gives the time by which the next ones must
    arrive."""
    framing = DataFraming()
    octets = b""
    while not framing.done:
        octets = await inflow.read(_CHUNK, due(len(octets)))
        await dialogue.take(framing.feed(octets))
    inflow.unread(framing.rest)


async def read_chunk_of(size: int, inflow: Inflow, dialogue: Dialogue, due: Callable[[int], float]) -> None:
    """Read exactly `size` octets, even unwanted ones, because the next command follows them."""
    octets = b""
    while size:
        octets = await inflow.read(min(size, _CHUNK), due(len(octets)))
        size -= len(octets)
        await dialogue.take(octets)
