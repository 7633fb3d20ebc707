"""What the sessions of one listener share."""

from __future__ import annotations

import asyncio
from asyncio import Task, get_running_loop, sleep
from collections.abc import Callable
from typing import Any, Protocol

from gateway.model.address import IPText
from gateway.model.event import Event, Level
from gateway.model.reply import REPLIES, Reply
from gateway.ports import EventSink, Reception
from gateway.service.listener.connection_limits import ConnectionLimits
from gateway.service.listener.journal import Journal
from gateway.service.listener.settings import ListenerSettings

_MOST_OF_A_COMMAND = 500
_TURN = 32
"""Commands after which other sessions get their turn, however many this client has pipelined."""
_FREE = 16
"""Commands of a session, since its last message, that wait for nobody: most have no more."""
_MANY = 8
"""Sessions with pipelined commands beyond which each of them is slowed down, so that the others are served at once."""
_PAUSE = 0.0005
"""Seconds that each such session adds to a turn."""
_MOST_HELD = 4_194_304
"""Octets that clients may have sent ahead of what is read, in sessions that have more than a little of it: beyond,
those that hold most and have brought no mail are ended."""


_LEAST_REST = 2.0
"""Seconds that a session may be idle in any case: a client on a slow line takes its time."""


class SessionState(Protocol):
    """A session, as the listener sees it."""

    @property
    def task(self) -> Task[Any]:
        """Done when the session is over."""

    def stop(self, reply: Reply) -> None:
        """End it with this reply as soon as it waits for its client."""

    def retire(self, reply: Reply) -> None:
        """End it with this reply if it waits for a command outside a transaction."""

    @property
    def proven(self) -> bool:
        """It has mail for us."""

    @property
    def rests_since(self) -> float | None:
        """Since when it waits for a command outside a transaction, in the loop's time; None when it does not."""

    def abort(self) -> None:
        """Drop its connection."""


class ListenerState:
    """Settings, the reception served, and the sessions that are open."""

    def __init__(
        self,
        settings: ListenerSettings,
        reception: Reception,
        report: Callable[[BaseException], str],
        connections: ConnectionLimits,
        emit: EventSink,
    ) -> None:
        self.settings = settings
        self.reception = reception
        self.report = report
        self.connections = connections
        self.journal = Journal(emit, settings.name)
        self._emit = emit
        self.sessions: set[SessionState] = set()
        """Sessions that are not over."""
        self.draining = False
        """No new transaction is begun."""
        self.busy = 0
        """Sessions that have pipelined commands and wait for their next turn."""
        self._held: dict[SessionState, int] = {}
        self._held_in_all = 0
        self._connected: set[SessionState] = set()
        self.empty = asyncio.Event()
        """No connection is open. A session that is over may still have its last reply to send."""
        self.empty.set()

    async def take_turns(self, commands: int) -> None:
        """Let others go first when so many commands were done without a message. Of many sessions that go on and on
        each waits the longer, the more they are: a flood of commands takes a part of the time only."""
        if commands < _FREE or commands % max(_TURN // (1 + self.busy), 1):
            return
        self.busy += 1
        try:
            await sleep(0 if self.busy <= _MANY else self.busy * _PAUSE)
        finally:
            self.busy -= 1

    def note_held(self, session: SessionState, octets: int) -> None:
        """So many octets of this session wait to be read: many, or 0."""
        self._held_in_all += octets - self._held.pop(session, 0)
        if not octets:
            return
        self._held[session] = octets
        if self._held_in_all > _MOST_HELD:
            unproven = [one for one in self._held if not one.proven]
            if unproven:
                self.journal.note("sends-too-far-ahead", "")
                max(unproven, key=self._held.__getitem__).abort()

    def make_room(self) -> bool:
        """End the session that has been idle longest, so that a newcomer gets its place; False when none is idle."""
        resting = [(since, one) for one in self.sessions if (since := one.rests_since) is not None]
        if not resting:
            return False
        since, idlest = min(resting, key=lambda one: one[0])
        if get_running_loop().time() - since < _LEAST_REST:
            return False
        self.journal.note("idle-made-room", "")
        idlest.stop(REPLIES["too-busy"])
        return True

    @property
    def connected(self) -> frozenset[SessionState]:
        """Whose connection is open."""
        return frozenset(self._connected)

    def enter(self, session: SessionState) -> None:
        """A connection was made, and its session begins."""
        self.sessions.add(session)
        self._connected.add(session)
        self.empty.clear()

    def note_exchange(self, client: IPText | None, line: bytes | None, reply: Reply | None) -> None:
        """A command and what it was answered, for a log of level debug. A password is never in it: those that are not
        behind AUTH come where no command is awaited."""
        if not self.settings.debug:
            return
        said = (line or b"")[:_MOST_OF_A_COMMAND].decode("utf-8", "backslashreplace")
        words = said.split(" ")
        if words[0].upper() == "AUTH":
            said = " ".join([*words[:2], *(["..."] if len(words) > 2 else [])])
        fields = (
            ("listener", self.settings.name),
            ("client", client or ""),
            ("command", said),
            ("reply", str(reply or "")),
        )
        self._emit(Event("smtp", "", fields, Level.DEBUG))

    def disconnect(self, session: SessionState) -> None:
        """Its connection is gone."""
        self.note_held(session, 0)
        self._connected.discard(session)
        if not self._connected:
            self.empty.set()
