"""The configuration's shape: one TOML file, every setting typed, frozen once read."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Network = IPv4Network | IPv6Network


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_one_or_many)]


class Section(BaseModel):
    """Frozen, and an unknown setting is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Section):
    """Who this gateway is."""

    hostname: str
    """The name in our banner, EHLO and Received: the MX name."""
    authserv_id: str = ""
    """Our name in Authentication-Results (RFC 8601 section 2.5); the hostname when empty."""
    spool: Path = Path("/var/lib/waypost")
    drain_timeout: float = 60.0
    """Seconds that open sessions get after SIGTERM."""


class Limits(Section):
    """Bounds on what clients may ask of us (promise P7)."""

    message_size: int = 52_428_800
    header_size: int = 524_288
    recipients: int = 1000
    connections: int = 1000
    connections_per_address: int = 50
    errors: int = 20
    """Refused commands in a session before 421."""
    commands: int = 2000
    session_seconds: float = 3600.0
    command_seconds: float = 300.0
    data_seconds: float = 180.0
    """How long a client may be silent inside DATA."""
    bytes_in_flight: int = 536_870_912


class Listener(Section):
    """One listening socket."""

    name: str = ""
    """In logs and traces; the address when empty."""
    role: Literal["mx"] = "mx"
    address: str
    """`host:port`, e.g. `0.0.0.0:25` or `[::]:25`."""
    certificate: Path | None = None
    key: Path | None = None
    proxy_from: Networks = ()
    """Balancers that must send a PROXY header; its absence from them, or its presence from others, ends the connection."""


class Domain(Section):
    """A domain of ours."""

    name: str
    backend: str
    """Where mail goes whose address no map names."""


class Backend(Section):
    """A next hop."""

    preset: Literal["google-workspace", "microsoft-365", "generic"] = "generic"
    hosts: Names
    """`host` or `host:port` in order of preference; or `mx` alone: the MX of the recipient's domain."""
    tls: Literal["required", "opportunistic", "off"] = "opportunistic"
    tls_names: Names = ()
    """Names, one of which the certificate must carry; the host's own name when empty. `*.x` matches one label."""
    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    connections: int = 10
    """How many at once."""
    ehlo_name: str = ""
    command_seconds: float = 60.0
    final_seconds: float = 600.0
    """How long the reply to the final dot may take (RFC 5321 section 4.5.3.2.6)."""
    idle_seconds: float = 30.0
    """How long an unused connection is kept."""
    address_family: Literal["any", "ipv4", "ipv6"] = "any"
    one_domain_per_transaction: bool = False


class Routing(Section):
    """Which mailbox lives where."""

    addresses: dict[str, str] = Field(default_factory=dict)
    """address -> backend."""
    maps: tuple[Path, ...] = ()
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
    directory: Path | None = None
    """Rule files of the admin's own; the shipped ones when empty."""
    firewall: Literal["published", "reject", "quarantine"] = "published"
    """What happens to unauthenticated mail of our own domains; `published`: reject where the domain publishes quarantine or reject, else quarantine."""
    protected_domains: Names = ()


class Dns(Section):
    """Where names are looked up."""

    nameservers: Names = ()
    """`address` or `address:port`; those of /etc/resolv.conf when empty."""
    zone: Path | None = None
    """Answer everything from this file instead of asking the network (tests, demo)."""
    query_seconds: float = 5.0
    budget_seconds: float = 18.0
    """For all lookups of one message together."""


class Delivery(Section):
    """When and how long delivery is tried."""

    in_session: bool = True
    session_budget: float = 20.0
    """Seconds from the final dot within which the backend's own answer is passed to the client."""
    schedule: tuple[float, ...] = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
    """Seconds between attempts; the last one repeats."""
    expire: float = 432_000.0
    delay_warning: float = 14_400.0
    dsn_backend: str = ""
    """Backend for our own DSNs; direct to the MX of their recipient when empty."""


class Admin(Section):
    """Metrics and health over HTTP."""

    address: str = "127.0.0.1:8025"


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
