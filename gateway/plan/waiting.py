"""How long mail of one author domain from one network is put off because DNS gives no answer.

The wait is remembered in the spool, so that it holds over restarts and over all workers.
"""

from __future__ import annotations

from gateway.model.circumstances import Wait
from gateway.model.greylisting import Acquaintance

LONGEST = 4 * 3600.0
"""Seconds; then such mail is judged without the answer."""
_REMEMBERED = 8 * 3600.0
"""Seconds after the last message that waited: more than a sender lets pass between two tries."""


def find_wait_key(domain: str, network: str) -> str:
    """By what a wait is remembered, beside what the greylist remembers."""
    return f"dns {domain} {network}"


def join_wait(key: str, known: Acquaintance | None, now: float) -> Wait:
    """The wait that a message falls into: the one under way, or its own."""
    return Wait(key, known.first if known is not None and known.expires > now else now)


def is_over(wait: Wait, now: float) -> bool:
    return now - wait.begun >= LONGEST


def remember_wait(wait: Wait | None, now: float) -> Acquaintance | None:
    """What is stored of it with the message."""
    return Acquaintance(wait.key, wait.begun, False, now + _REMEMBERED) if wait is not None else None
