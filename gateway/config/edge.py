"""The sections about clients that may connect, and the limits on them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.values import Count, File, ListenAddress, Names, Networks, Seconds, Section, wrong
from gateway.mail.relay_formats import RelayFormat


class Limits(Section):
    """Limits on clients (promise P7)."""

    message_size: Count = 52_428_800
    header_size: Count = 524_288
    recipients: Count = 1000
    connections: Count = 1000
    connections_per_address: Count = 50
    connections_per_network: Count = 500
    """From one /24 or /64: the pools of the big providers need hundreds."""
    connections_per_minute: Count = 60_000
    """From one IPv4 address, or one /64: more than a sender needs, and less than a flood."""
    recipients_per_minute: Count = 60_000
    """The same for recipients, refused ones too. Role addresses are exempt."""
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
    """Seconds for which a client may be silent inside DATA."""
    bytes_in_flight: Count = 536_870_912
    bytes_in_flight_per_client: Count = 134_217_728
    """Of one IPv4 address, or one /64. One message of `message_size` is always accepted while half of `bytes_in_flight`
    is free."""


class Certificate(Section):
    """One further certificate of a listener."""

    certificate: File
    key: File | None = None


class Listener(Section):
    """One listening socket."""

    name: str = ""
    """Used in logs and traces; the address when empty."""
    role: Literal["mx", "submission", "smarthost"] = "mx"
    """`mx` takes mail for our domains from anyone; `submission` from people who log in, to anywhere; `smarthost` from
    machines that [[sender]] lists and from our own [[tenant]]s, to anywhere."""
    tls: Literal["starttls", "implicit"] = "starttls"
    """`implicit`: TLS from the first octet (RFC 8314), after a PROXY header if one is required."""
    address: ListenAddress
    """`host:port`, e.g. `0.0.0.0:25` or `[::]:25`. The latter takes IPv4 too, unless another listener has an IPv4
    address with that port."""
    certificate: File | None = None
    """PEM file: our certificate, then its intermediates. Without one STARTTLS is not offered."""
    key: File | None = None
    """PEM file, not encrypted; not needed when the key is in the certificate's file."""
    certificates: tuple[Certificate, ...] = ()
    """Further certificates. A client gets the one with the name that it requests (SNI), else the one above."""
    client_ca: File | None = None
    """Request client certificates, and accept those of these authorities (PEM). The subject is a fact for rules; a
    client with another authority's certificate is refused TLS."""
    session_tickets: bool = True
    """Let clients resume TLS sessions. Some senders abort on the tickets of TLS 1.3."""
    greet_pause: float = Field(0.0, ge=0, le=60)
    """Seconds that a client must be silent before its greeting."""
    bare_newline: Literal["refuse", "carry"] = "refuse"
    """The treatment of a bare CR, a bare LF or a NUL in a message. `carry`: in the body only, never together with a
    lone dot, and only when every backend of the message is known to take BDAT."""
    proxy_from: Networks = ()
    """Balancers that must send a PROXY header. A missing header from them, or a header from others, ends the
    connection."""
    xclient_from: Networks = ()
    """Filters of our own that name their client by XCLIENT."""


PLACE = "{login}"


def _check_dn(value: str) -> str:
    if PLACE not in value:
        raise wrong(f"{PLACE} does not stand in it", f'write it as "uid={PLACE},ou=people,dc=example,dc=com"')
    return value


def _check_ldap_url(value: str) -> str:
    if not re.fullmatch(r"ldaps?://[^/ ]+/?", value):
        raise wrong(f'"{value}" is no URL of a directory', 'write "ldaps://host.example"')
    return value


class LdapLogin(Section):
    """A directory that checks the passwords of people who are not in the users' file."""

    url: Annotated[str, AfterValidator(_check_ldap_url)]
    dn: Annotated[str, AfterValidator(_check_dn)]
    """The name to bind as: the person's entry, with `{login}` for the login's name."""
    starttls: bool = False
    """TLS on an `ldap://` port."""
    ca_file: File | None = None
    """Authorities to trust instead of the system's (PEM)."""
    timeout: Seconds = 10.0


class Submission(Section):
    """The people who may log in at listeners of role `submission`."""

    users: File | None = None
    """`name:hash` lines with argon2 hashes. Read again when it changes."""
    ldap: LdapLogin | None = None


class TrustedRelay(Section):
    """A relay of our own whose Received line names the true client."""

    name: str
    addresses: Networks
    by: Names
    """Names that it writes after `by`; `*.x`, for `exchange-online` only, is every name below x."""
    format: RelayFormat
    """The mail server whose layout the line has; docs/true-client.md shows each."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        # A service chooses the names of its machines; a relay of ours has a name that we know.
        for name in self.by:
            if name.startswith("*.") and self.format != "exchange-online":
                raise wrong(f'"{name}" names no relay', "write the very name that the relay puts after `by`")
        return self


class OwnHop(Section):
    """Addresses behind the edge: mail from there crossed no border here, so SPF is not evaluated."""

    name: str
    addresses: Networks
