"""Stands before receptions: once it is closed, no new session gets in."""

from __future__ import annotations

from gateway.model.reply import REPLIES, Reply
from gateway.ports import Connection, Conversation, Reception


class AdmissionSwitch:
    """Open until `close`."""

    def __init__(self) -> None:
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def before(self, reception: Reception) -> Reception:
        """The same reception, behind the gate."""
        return _Guarded(self, reception)

    @property
    def closed(self) -> bool:
        return self._closed


class _Guarded:
    def __init__(self, gate: AdmissionSwitch, reception: Reception) -> None:
        self._gate = gate
        self._reception = reception

    async def connect(self, connection: Connection) -> Conversation | Reply:
        return REPLIES["shutting-down"] if self._gate.closed else await self._reception.connect(connection)
