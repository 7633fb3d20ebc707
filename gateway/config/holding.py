"""The section about messages that are kept until an admin decides."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import Count, Seconds

_Hour = Annotated[int, Field(ge=0, le=23)]


class Holding(Section):
    """What the action `hold` may keep, how long, and who hears of it."""

    expire: Seconds = 2_592_000.0
    """Seconds after which a held message is given up: 30 days."""
    domain_messages: Count = 200
    """How many may be held of one author domain; what comes then is told to come back (452 4.7.28)."""
    domain_octets: Count = 52_428_800
    messages: Count = 5_000
    """How many may be held in all."""
    octets: Count = 1_073_741_824
    digest: bool = True
    """Send a daily list of what is held to `digest_to`, when anything is."""
    digest_to: Annotated[str, Field(pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""
    """postmaster of the first domain when empty."""
    digest_hour: _Hour = 6
    """UTC."""
