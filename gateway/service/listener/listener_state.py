"""What the sessions of one listener share."""

from __future__ import annotations

from asyncio import Event, Task
from collections.abc import Callable
from typing import Any, Protocol

from gateway.model.reply import Reply
from gateway.ports import EventSink, Reception
from gateway.service.listener.connection_limits import ConnectionLimits
from gateway.service.listener.journal import Journal
from gateway.service.listener.settings import ListenerSettings


class SessionState(Protocol):
    """A session, as the listener sees it."""

    @property
    def task(self) -> Task[Any]:
        """Done when the session is over."""

    def stop(self, reply: Reply) -> None:
        """End it with this reply as soon as it waits for its client."""

    def retire(self, reply: Reply) -> None:
        """End it with this reply if it waits for a command outside a transaction."""

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
        self.sessions: set[SessionState] = set()
        """Sessions that are not over."""
        self.draining = False
        """No new transaction is begun."""
        self._connected: set[SessionState] = set()
        self.empty = Event()
        """No connection is open. A session that is over may still have its last reply to send."""
        self.empty.set()

    @property
    def connected(self) -> frozenset[SessionState]:
        """Whose connection is open."""
        return frozenset(self._connected)

    def enter(self, session: SessionState) -> None:
        """A connection was made, and its session begins."""
        self.sessions.add(session)
        self._connected.add(session)
        self.empty.clear()

    def disconnect(self, session: SessionState) -> None:
        """Its connection is gone."""
        self._connected.discard(session)
        if not self._connected:
            self.empty.set()
