"""What the sessions of one listener share."""

from __future__ import annotations

from asyncio import Event, Task
from collections.abc import Callable
from typing import Any, Protocol

from gateway.model.reply import Reply
from gateway.ports import EventSink, Reception
from gateway.service.listener.census import Census
from gateway.service.listener.journal import Journal
from gateway.service.listener.settings import ListenerSettings


class Guest(Protocol):
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


class House:
    """Settings, the reception served, and the sessions that are open."""

    def __init__(
        self,
        settings: ListenerSettings,
        reception: Reception,
        report: Callable[[BaseException], str],
        census: Census,
        emit: EventSink,
    ) -> None:
        self.settings = settings
        self.reception = reception
        self.report = report
        self.census = census
        self.journal = Journal(emit, settings.name)
        self.guests: set[Guest] = set()
        """Sessions that are not over."""
        self.draining = False
        """No new transaction is begun."""
        self._connected: set[Guest] = set()
        self.empty = Event()
        """No connection is open. A session that is over may still have its last reply to send."""
        self.empty.set()

    @property
    def connected(self) -> frozenset[Guest]:
        """Whose connection is open."""
        return frozenset(self._connected)

    def enter(self, guest: Guest) -> None:
        """A connection was made, and its session begins."""
        self.guests.add(guest)
        self._connected.add(guest)
        self.empty.clear()

    def disconnect(self, guest: Guest) -> None:
        """Its connection is gone."""
        self._connected.discard(guest)
        if not self._connected:
            self.empty.set()
