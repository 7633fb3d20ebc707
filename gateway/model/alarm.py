"""What an admin is told besides the log: something that people must look at."""

from __future__ import annotations

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
