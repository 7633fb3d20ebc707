"""One event: the log line, the metric and the message's trace come from it."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


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
