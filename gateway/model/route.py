"""Where a recipient's mail goes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.envelope import Recipient


@dataclass(frozen=True, slots=True)
class Route:
    """A backend's name, never a host, and the recipients that share one mail transaction to it."""

    backend: str
    rcpts: tuple[Recipient, ...]
