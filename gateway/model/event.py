"""One event: the log line, the metric and the message's trace come from it."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


class Alarm(Value):
    """One alarm, told once however often its event comes."""

    name: str
    """The event's name."""
    id: str
    """Message or session of the first event; empty when it belongs to none."""
    at: float
    """Epoch seconds."""
    fields: tuple[tuple[str, str], ...]
    """What the event says, in its order; `fix` says what to do."""
    repeated: int = 0
    """How often the same has happened since it was last told."""

    @property
    def title(self) -> str:
        """What it is about, in one line."""
        about = ", ".join(f"{key} {value}" for key, value in self.fields if key in ABOUT and value)
        return f"{self.name} ({about})" if about else self.name


ABOUT = ("backend", "rule", "cause", "where", "zone", "map", "file", "listener", "account")
"""Fields that tell one alarm from another of the same name: those with few values, never anything a client chooses."""


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


class Event(Value):
    """Something that happened. `fields` are plain values in the order they are shown."""

    name: str
    """What happened, e.g. `accepted`, `refused`, `delivered`, `deferred`, `failed`, `error`."""
    id: str
    """Message or session id; empty when it belongs to none."""
    fields: tuple[tuple[str, str | int | float | bool], ...] = ()
    level: Level = Level.INFO
