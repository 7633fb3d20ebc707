"""The configuration's shape: one TOML file, every setting typed, frozen once read."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal, Self

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
    wrong,
)
from gateway.mail.relay_formats import RelayFormat

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
    connections_per_network: Count = 500
    """From one /24 or /64: the pools of the big providers need hundreds."""
    errors: Count = 20
    """Refused commands in a session before 421."""
    callouts_per_client: Count = 20
    """Questions about mailboxes that one client may cause in a minute."""
    callouts_per_backend: Count = 120
    """Questions about mailboxes that one backend gets in a minute."""
    commands: Count = 2000
    session_seconds: Seconds = 3600.0
    command_seconds: Seconds = 300.0
    data_seconds: Seconds = 180.0
    """How long a client may be silent inside DATA."""
    bytes_in_flight: Count = 536_870_912


class Certificate(Section):
    """One more certificate of a listener."""

    certificate: File
    key: File | None = None


class Listener(Section):
    """One listening socket."""

    name: str = ""
    """In logs and traces; the address when empty."""
    role: Literal["mx", "submission"] = "mx"
    """`mx` takes mail for our domains from anyone; `submission` from people who log in, and only from them."""
    tls: Literal["starttls", "implicit"] = "starttls"
    """`implicit`: TLS from the first octet (RFC 8314), after a PROXY header where one is due."""
    address: ListenAddress
    """`host:port`, e.g. `0.0.0.0:25` or `[::]:25`."""
    certificate: File | None = None
    """PEM file: our certificate, then its intermediates. Without one STARTTLS is not offered."""
    key: File | None = None
    """PEM file, not encrypted; not needed when the key is in the certificate's file."""
    certificates: tuple[Certificate, ...] = ()
    """Further ones: a client is shown the one that has the name it asks for (SNI), else the one above."""
    client_ca: File | None = None
    """Ask clients for a certificate, and take those of these authorities (PEM). Its subject is a fact for rules; a
    client that shows another authority's is refused TLS."""
    session_tickets: bool = True
    """Let clients resume TLS sessions. Some senders abort on the tickets of TLS 1.3."""
    greet_pause: float = Field(0.0, ge=0, le=60)
    """Seconds that a client must be silent before it is greeted."""
    proxy_from: Networks = ()
    """Balancers that must send a PROXY header. Its absence from them, or its presence from others, ends the
    connection."""
    xclient_from: Networks = ()
    """Filters of our own that say by XCLIENT for whom they speak."""


class Submission(Section):
    """Who may log in at listeners of role `submission`."""

    users: File | None = None
    """`name:hash` lines, the hash by argon2. Read again when it changes."""


class Domain(Section):
    """A domain of ours."""

    name: DomainName
    backend: str
    """Where mail goes whose address no map names."""
    mailboxes: Literal["listed", "unknown"] = "unknown"
    """`listed`: every mailbox is in [routing], and any other is refused; `unknown`: the backend knows."""
    callout: bool = False
    """Ask the backend whether a mailbox exists, if it is proven to refuse those that do not."""


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
    networks: Networks = ()
    """Where the backend's own mail comes from: what comes from there is never routed back to it."""
    seal: bool = False
    """Its copies get an ARC set of ours, made with the key of [seal]."""

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
    """CSV files: `address,backend` lines, read again when they change."""
    stale_after: Seconds = 86_400.0
    """How long a map may be unreadable before a mailbox that is not listed is put off instead of refused."""


class TrustedRelay(Section):
    """A relay of our own whose Received line names the true client."""

    name: str
    addresses: Networks
    by: Names
    """Names that it writes after `by`; `*.x`, for `exchange-online` only, is every name below x."""
    format: RelayFormat
    """Which mail server's layout the line has; docs/true-client.md shows each."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        # A service gives its machines names of its own choosing; a relay of ours has a name that we know.
        for name in self.by:
            if name.startswith("*.") and self.format != "exchange-online":
                raise wrong(f'"{name}" names no relay', "write the very name that the relay puts after `by`")
        return self


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
    fcrdns: bool = False
    """Look the client's name up in reverse DNS and confirm it forward: a fact, and the name that Received shows."""
    trusted_sealers: DomainNames = ()
    """d= of ARC sealers whose word counts when they say that a message passed DMARC with them."""


class Seal(Section):
    """Who we are in ARC seals (RFC 8617)."""

    domain: DomainName
    """d=: our own domain, where the public key stands at `selector._domainkey`."""
    selector: DomainName
    key: File
    """PEM file, not encrypted: RSA, 2048 to 4096 bits."""


class Dnsbl(Section):
    """A DNS block list. What it says is a fact for rules; no shipped rule acts on it."""

    zone: DomainName
    codes: Networks = ()
    """Answers that count as a listing, e.g. `127.0.0.2` or `127.0.0.8/30`; empty: every code of the list."""

    @model_validator(mode="after")
    def _check_codes(self) -> Self:
        for code in self.codes:
            if not isinstance(code, IPv4Network) or not code.subnet_of(IPv4Network("127.0.0.0/8")):
                raise wrong(f"{code} is no answer of a block list", "write codes from 127.0.0.0/8")
        return self


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
    submission: Submission = Submission()
    routing: Routing = Routing()
    relay: tuple[TrustedRelay, ...] = ()
    own_hop: tuple[OwnHop, ...] = ()
    policy: Policy = Policy()
    dnsbl: tuple[Dnsbl, ...] = ()
    seal: Seal | None = None
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    admin: Admin = Admin()
    log: Log = Log()
