"""One event, from which the log line, the metric and the message's trace are made."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


class Alarm(Value):
    """One alarm, raised once however often its event occurs."""

    name: str
    """The event's name."""
    id: str
    """Message or session of the first event; empty when there is neither."""
    at: float
    """Epoch seconds."""
    fields: tuple[tuple[str, str], ...]
    """The event's fields in order; `fix` tells the admin what to do."""
    repeated: int = 0
    """Number of equal events since the alarm was last sent."""

    @property
    def title(self) -> str:
        """The subject of the alarm, in one line."""
        about = ", ".join(f"{key} {value}" for key, value in self.fields if key in ABOUT and value)
        return f"{self.name} ({about})" if about else self.name


ABOUT = ("backend", "rule", "cause", "where", "zone", "map", "file", "listener", "account", "worker")
"""Fields that distinguish alarms of the same name. They have few values, none of them chosen by a client."""


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


class Event(Value):
    """Something that happened. `fields` are plain values in display order."""

    name: str
    """The kind of event, e.g. `accepted`, `refused`, `delivered`, `deferred`, `failed`, `error`."""
    id: str
    """Message or session id; empty when there is neither."""
    fields: tuple[tuple[str, str | int | float | bool], ...] = ()
    level: Level = Level.INFO
