"""The sections about next hops and the delivery to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.values import (
    Addresses,
    CertificateNames,
    Count,
    File,
    Hosts,
    Networks,
    Seconds,
    SecondsOrNone,
    Section,
    wrong,
)

PRESETS: dict[str, dict[str, object]] = {
    # Google takes one recipient domain per transaction: 451 4.3.0 "Multiple destination domains per transaction".
    "google-workspace": {"tls": "required", "one_domain_per_transaction": True},
    # Connectors of Exchange Online identify senders by IPv4 address only.
    "microsoft-365": {"tls": "required", "address_family": "ipv4"},
    "generic": {},
}
"""The settings of a backend preset; a setting written in the file overrides it."""


class BackendSettings(Section):
    """A next hop."""

    preset: Literal["google-workspace", "microsoft-365", "generic"] = "generic"
    hosts: Hosts
    """`host` or `host:port` in order of preference; or only `mx`: the MX of the recipient's domain."""
    tls: Literal["required", "opportunistic", "off"] = "opportunistic"
    tls_names: CertificateNames = ()
    """Names, one of which the certificate must carry; the host's own name when empty. `*.x` matches one label."""
    ca_file: File | None = None
    """Authorities to trust instead of the system's."""
    connections: Count = 10
    """Maximum of concurrent connections. There are fewer until it has taken some mail, and while it wants less."""
    messages_per_minute: int = Field(default=0, ge=0)
    """Maximum of messages to it in a minute; 0: no limit."""
    connection_seconds: Seconds = 300.0
    """Age at which a connection is closed, so that load moves to recovered hosts."""
    connection_messages: Count = 100
    """Messages after which a connection is closed."""
    message_size: int = Field(default=0, ge=0)
    """Octets of the largest message that is sent to it; 0: the size that its hosts announce."""
    source_addresses: Addresses = ()
    """Addresses of this machine that connections come from: one for IPv4, one for IPv6, or both. With only one, only
    hosts of its family are used. The system chooses when empty."""
    certificate: File | None = None
    """PEM file shown to its hosts: some identify a sender by its certificate. Read again when it changes."""
    key: File | None = None
    """PEM file, not encrypted; not needed when the key is in the certificate's file."""
    ehlo_name: str = ""
    connect_seconds: Seconds = 30.0
    """Time limit for opening a connection, before the greeting and for TLS."""
    greeting_seconds: Seconds = 300.0
    """Time limit for the greeting (RFC 5321 section 4.5.3.2.1)."""
    command_seconds: Seconds = 300.0
    """Time limit for the reply to MAIL, RCPT or another command (sections 4.5.3.2.2 and 4.5.3.2.3)."""
    data_seconds: Seconds = 120.0
    """Time limit for the reply to DATA (section 4.5.3.2.4)."""
    block_seconds: Seconds = 180.0
    """Time limit for sending a piece of content (section 4.5.3.2.5)."""
    final_seconds: Seconds = 600.0
    """Time limit for the reply to the final dot (section 4.5.3.2.6)."""
    transaction_recipients: Count = 100
    """Maximum of recipients in one transaction; the others go at once in further ones."""
    idle_seconds: Seconds = 30.0
    """Time for which an unused connection is kept."""
    address_family: Literal["any", "ipv4", "ipv6"] = "any"
    one_domain_per_transaction: bool = False
    networks: Networks = ()
    """The networks of the backend's own mail, which is never routed back to it."""
    login: str = ""
    """Our name at a next smarthost that requires a login (AUTH PLAIN or LOGIN), only under required TLS."""
    password: str = ""
    """Best as `env:NAME` or `file:/path`."""
    seal: bool = False
    """Its copies get an ARC set of ours, made with the key of [seal]."""

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if bool(self.login) != bool(self.password):
            raise wrong("login and password go together", "set both, or neither")
        if self.login and self.tls != "required":
            raise wrong("a login would be told to whoever answers", 'set tls = "required"')
        return self

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        versions = [address.version for address in self.source_addresses]
        if len(set(versions)) < len(versions):
            raise wrong("two source addresses of one family", "write one for IPv4 and one for IPv6, at most")
        wanted = {"ipv4": 4, "ipv6": 6}.get(self.address_family)
        if versions and wanted not in (None, *versions):
            said = f"no source address is {self.address_family}, the only family that is connected to"
            raise wrong(said, "add such an address, or change address_family")
        return self

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        return {**PRESETS.get(preset, {}), **data} if isinstance(preset, str) else data


def _check_schedule(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value:
        raise wrong("is empty", "write at least one number of seconds, or leave it out")
    return value


class DeliverySettings(Section):
    """The times and the duration of delivery attempts."""

    in_session: bool = True
    session_budget: Seconds = 20.0
    """Seconds from the final dot within which the backend's own answer is passed to the client."""
    schedule: Annotated[tuple[Seconds, ...], AfterValidator(_check_schedule)] = (
        60.0,
        300.0,
        900.0,
        1800.0,
        3600.0,
        7200.0,
        14400.0,
    )
    """Seconds between attempts; the last one repeats."""
    expire: Seconds = 432_000.0
    delay_warning: Seconds = 14_400.0
    dsn_backend: str = ""
    """Backend for our own DSNs; direct to the MX of their recipient when empty."""
    mx_networks: Networks = ()
    """Networks of special use (private, loopback ...) and addresses of this machine to which mail may go even if only
    the MX of a recipient's domain leads there. Hosts that a backend lists need no entry."""

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.schedule and self.expire < self.schedule[0]:
            said = f"expire ({self.expire:g}) is shorter than the first retry ({self.schedule[0]:g})"
            raise wrong(f"{said}, so nothing would be tried twice", "write a longer expire, or a shorter schedule")
        return self


class RetentionSettings(Section):
    """Retention of finished mail in the spool. Held content stays until an admin decides about it."""

    delivered: SecondsOrNone = 0.0
    """Seconds for the content of a message that every recipient got; 0: it is deleted at once."""
    failed: SecondsOrNone = 604_800.0
    """Seconds for the content of a message that some recipient did not get."""
    trace: Seconds = 2_592_000.0
    """Seconds from reception for the data of `explain`; never less than for the content."""
    refused_octets: Count = 1_073_741_824
    """Octets on disk, for each worker, for the data of `explain` about refused mail; the oldest is deleted early."""
