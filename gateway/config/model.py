"""The configuration's shape: one TOML file, every setting typed, frozen once read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config.backends import BackendSettings, DeliverySettings, RetentionSettings
from gateway.config.edge import Limits, Listener, OwnHop, Submission, TrustedRelay
from gateway.config.judging import Dnsbl, GreylistSettings, Holding, Policy, SealSettings
from gateway.config.outbound import Outbound, SenderSettings, TenantSettings
from gateway.config.recipients import Domain, Routing, SenderRewriting
from gateway.config.values import (
    DomainName,
    File,
    ListenAddress,
    Mailboxes,
    NameServers,
    Seconds,
    Section,
    WebAddress,
    check_form,
)


class AlarmSettings(Section):
    """The destinations of alarms besides the log."""

    webhook: WebAddress = ""
    """`https://...`: gets a POST of JSON with a `text` that chat services show."""
    mail: Mailboxes = ()
    """Mailboxes that get alarms. At least one should not live behind this gateway."""
    repeat_after: Seconds = 3600.0
    """Seconds for which the same alarm is not sent again."""
    silent_after: Seconds = 600.0
    """Seconds for which a backend takes none of the mail that waits for it, after which that is an alarm."""
    queue_age: Seconds = 14_400.0
    """Age of waiting mail, in seconds, from which on it is an alarm."""


DEFAULT_SPOOL = Path("/var/lib/waypost")


class Server(Section):
    """The identity of this gateway."""

    hostname: DomainName
    """The name in our banner, EHLO and Received: the MX name."""
    authserv_id: Annotated[str, check_form(r"[A-Za-z0-9._-]*", "write letters, digits, dots, - and _ only")] = ""
    """Our name in Authentication-Results (RFC 8601 section 2.5); the hostname when empty."""
    spool: File = DEFAULT_SPOOL
    drain_timeout: Seconds = 60.0
    """Seconds that open sessions get after SIGTERM."""
    workers: int = Field(default_factory=lambda: min(len(os.sched_getaffinity(0)), 32), ge=1, le=32)
    """Processes that serve, each with a part of the spool: by default one for each core."""


class Dns(Section):
    """The source of DNS answers."""

    nameservers: NameServers = ()
    """`address` or `address:port`; the nameservers of /etc/resolv.conf when empty."""
    zone: File | None = None
    """Answer all questions from this file instead of the network (tests, demo)."""
    query_seconds: Seconds = 5.0
    budget_seconds: Seconds = 18.0
    """For all lookups of one message together."""


class Admin(Section):
    """Metrics and health over HTTP."""

    address: ListenAddress = "127.0.0.1:8025"


class SearchSettings(Section):
    """The search over all mail: `waypost find`."""

    subjects: bool = False
    """Find messages by their subject, and show it in lists. Whoever may search then sees the subjects of all mail."""


class Log(Section):
    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "alarm"] = "info"


class Config(Section):
    """All settings of an admin."""

    server: Server
    listener: tuple[Listener, ...]
    domain: tuple[Domain, ...]
    backend: dict[str, BackendSettings]
    limits: Limits = Limits()
    submission: Submission = Submission()
    routing: Routing = Routing()
    srs: SenderRewriting | None = None
    sender: tuple[SenderSettings, ...] = ()
    tenant: tuple[TenantSettings, ...] = ()
    outbound: Outbound = Outbound()
    relay: tuple[TrustedRelay, ...] = ()
    own_hop: tuple[OwnHop, ...] = ()
    policy: Policy = Policy()
    dnsbl: tuple[Dnsbl, ...] = ()
    greylisting: GreylistSettings = GreylistSettings()
    hold: Holding = Holding()
    seal: SealSettings | None = None
    dns: Dns = Dns()
    delivery: DeliverySettings = DeliverySettings()
    retention: RetentionSettings = RetentionSettings()
    admin: Admin = Admin()
    log: Log = Log()
    alarm: AlarmSettings = AlarmSettings()
    search: SearchSettings = SearchSettings()
