"""The sections about whose mail is ours and where each mailbox lives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import DomainName, File, Seconds


class Domain(Section):
    """A domain of ours."""

    name: DomainName
    backend: str
    """Where mail goes whose address no map names."""
    mailboxes: Literal["listed", "unknown"] = "unknown"
    """`listed`: every mailbox is in [routing], and any other is refused; `unknown`: the backend knows."""
    policy: str = ""
    """The rule set that judges mail to it; that of [policy] when empty."""
    callout: bool = False
    """Ask the backend whether a mailbox exists, if it is proven to refuse those that do not."""


class Routing(Section):
    """Which mailbox lives where."""

    addresses: dict[str, str] = Field(default_factory=dict)
    """address -> backend."""
    maps: tuple[File, ...] = ()
    """CSV files: `address,backend` lines, read again when they change."""
    stale_after: Seconds = 86_400.0
    """How long a map may be unreadable before a mailbox that is not listed is put off instead of refused."""
