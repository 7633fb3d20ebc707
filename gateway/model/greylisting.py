"""The greylist: whoever is new here is told to come back once, as mail servers do and most spam does not (RFC 6647)."""

from __future__ import annotations

from gateway.model.value import Value


class Acquaintance(Value):
    """Somebody who has tried before, as it is stored. Times are epoch seconds."""

    key: str
    """By what it is known: an authenticated domain, else a client network and sender."""
    first: float
    passed: bool
    """A message was let in."""
    expires: float
    """From then on it is forgotten."""


class Greylisting(Value):
    """What the greylist says of one message; kept with its trace."""

    key: str
    first: float
    """When it first tried: now, if it never did."""
    wait: bool
    """It is to come back."""
