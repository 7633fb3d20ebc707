"""The configuration's shape: one TOML file, every setting typed, frozen once read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.config.values import (
    CertificateNames,
    Count,
    DomainName,
    DomainNames,
    File,
    Hosts,
    ListenAddress,
    Names,
    NameServers,
    Networks,
    Seconds,
)

PRESETS: dict[str, dict[str, object]] = {
    # Google takes one recipient domain per transaction: 451 4.3.0 "Multiple destination domains per transaction".
    "google-workspace": {"tls": "required", "one_domain_per_transaction": True},
    # Connectors of Exchange Online know senders by IPv4 address only.
    "microsoft-365": {"tls": "required", "address_family": "ipv4"},
    "generic": {},
}
"""What a backend preset sets; a setting written out in the file wins over it."""


class Section(BaseModel):
    """Frozen, and an unknown setting is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Section):
    """Who this gateway is."""

    hostname: DomainName
    """The name in our banner, EHLO and Received: the MX name."""
    authserv_id: str = Field("", pattern=r"^[A-Za-z0-9._-]*$")
    """Our name in Authentication-Results (RFC 8601 section 2.5); the hostname when empty."""
    spool: File = Path("/var/lib/waypost")
    drain_timeout: Seconds = 60.0
    """Seconds that open sessions get after SIGTERM."""


class Limits(Section):
    """Bounds on what clients may ask of us (promise P7)."""

    message_size: Count = 52_428_800
    header_size: Count = 524_288
    recipients: Count = 1000
    connections: Count = 1000
    connections_per_address: Count = 50
    errors: Count = 20
    """Refused commands in a session before 421."""
    commands: Count = 2000
    session_seconds: Seconds = 3600.0
    command_seconds: Seconds = 300.0
    data_seconds: Seconds = 180.0
    """How long a client may be silent inside DATA."""
    bytes_in_flight: Count = 536_870_912


class Listener(Section):
    """One listening socket."""

    name: str = ""
    """In logs and traces; the address when empty."""
    role: Literal["mx"] = "mx"
    address: ListenAddress
    """`host:port`, e.g. `0.0.0.0:25` or `[::]:25`."""
    certificate: File | None = None
    """PEM file: our certificate, then its intermediates. Without one STARTTLS is not offered."""
    key: File | None = None
    """PEM file, not encrypted; not needed when the key is in the certificate's file."""
    proxy_from: Networks = ()
    """Balancers that must send a PROXY header. Its absence from them, or its presence from others, ends the
    connection."""


class Domain(Section):
    """A domain of ours."""

    name: DomainName
    backend: str
    """Where mail goes whose address no map names."""


class Backend(Section):
    """A next hop."""

    preset: Literal["google-workspace", "microsoft-365", "generic"] = "generic"
    hosts: Hosts
    """`host` or `host:port` in order of preference; or `mx` alone: the MX of the recipient's domain."""
    tls: Literal["required", "opportunistic", "off"] = "opportunistic"
    tls_names: CertificateNames = ()
    """Names, one of which the certificate must carry; the host's own name when empty. `*.x` matches one label."""
    ca_file: File | None = None
    """Authorities to trust instead of the system's."""
    connections: Count = 10
    """How many at once."""
    ehlo_name: str = ""
    command_seconds: Seconds = 60.0
    final_seconds: Seconds = 600.0
    """How long the reply to the final dot may take (RFC 5321 section 4.5.3.2.6)."""
    idle_seconds: Seconds = 30.0
    """How long an unused connection is kept."""
    address_family: Literal["any", "ipv4", "ipv6"] = "any"
    one_domain_per_transaction: bool = False

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        return {**PRESETS.get(preset, {}), **data} if isinstance(preset, str) else data


class Routing(Section):
    """Which mailbox lives where."""

    addresses: dict[str, str] = Field(default_factory=dict)
    """address -> backend."""
    maps: tuple[File, ...] = ()
    """CSV files: `address,backend` lines."""


class TrustedRelay(Section):
    """A relay of our own whose Received line names the true client."""

    name: str
    addresses: Networks
    by: Names
    """Names that it writes after `by`."""
    format: Literal["postfix"]


class OwnHop(Section):
    """Addresses behind the edge: mail from there crossed no border here, so SPF is no question."""

    name: str
    addresses: Networks


class Policy(Section):
    """How we judge."""

    set: str = "enforce"
    directory: File | None = None
    """Rule files of the admin's own; the shipped ones when empty."""
    firewall: Literal["published", "reject", "quarantine"] = "published"
    """What happens to unauthenticated mail of our own domains; `published`: reject where the domain publishes
    quarantine or reject, else quarantine."""
    protected_domains: DomainNames = ()


class Dns(Section):
    """Where names are looked up."""

    nameservers: NameServers = ()
    """`address` or `address:port`; those of /etc/resolv.conf when empty."""
    zone: File | None = None
    """Answer everything from this file instead of asking the network (tests, demo)."""
    query_seconds: Seconds = 5.0
    budget_seconds: Seconds = 18.0
    """For all lookups of one message together."""


class Delivery(Section):
    """When and how long delivery is tried."""

    in_session: bool = True
    session_budget: Seconds = 20.0
    """Seconds from the final dot within which the backend's own answer is passed to the client."""
    schedule: tuple[Seconds, ...] = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
    """Seconds between attempts; the last one repeats."""
    expire: Seconds = 432_000.0
    delay_warning: Seconds = 14_400.0
    dsn_backend: str = ""
    """Backend for our own DSNs; direct to the MX of their recipient when empty."""


class Admin(Section):
    """Metrics and health over HTTP."""

    address: ListenAddress = "127.0.0.1:8025"


class Log(Section):
    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "alarm"] = "info"


class Config(Section):
    """Everything an admin sets."""

    server: Server
    listener: tuple[Listener, ...]
    domain: tuple[Domain, ...]
    backend: dict[str, Backend]
    limits: Limits = Limits()
    routing: Routing = Routing()
    relay: tuple[TrustedRelay, ...] = ()
    own_hop: tuple[OwnHop, ...] = ()
    policy: Policy = Policy()
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    admin: Admin = Admin()
    log: Log = Log()
