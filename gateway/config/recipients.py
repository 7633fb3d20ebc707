"""The sections about whose mail is ours and where each mailbox lives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.values import Count, DomainName, File, Names, Seconds, Section, wrong


class MapSource(Protocol):
    """A directory of addresses somewhere else."""

    @property
    def name(self) -> str: ...

    def fetch(self, into: Path) -> bool:
        """Write all its addresses as a CSV map; False when nothing has changed since the last time that this wrote
        one. Blocks, but not beyond the configured time. Raises MapUnavailable."""

    def forget(self) -> None:
        """What was written last is of no use: the next one is written whether it has changed or not."""


class LoginSource(Protocol):
    """A directory of people who may log in."""

    def check(self, name: str, password: str) -> bool:
        """It is this person's password. Blocks; raises LoginsUnavailable when nobody can tell."""


class LoginsUnavailable(Exception):
    """The directory did not answer; the text says why."""


class MapUnavailable(Exception):
    """A map could not be fetched; the text says why."""


_SHORTEST_SECRET = 16


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


def _check_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,50}", value):
        raise wrong(f'"{value}" is no name for a file', "write letters, digits, - and _ only")
    return value


def _check_secret(value: str) -> str:
    if len(value) < _SHORTEST_SECRET:
        raise wrong("is short enough to be guessed", f"write {_SHORTEST_SECRET} characters or more")
    return value


def _check_schemes(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise wrong(f'"{value}" is no URL to ask', f'write "{schemes[0]}://host.example/..."')
        return value

    return AfterValidator(check)


class RemoteMap(Section):
    """A map that is fetched, as a whole, now and then. What was fetched last is kept on disk."""

    name: Annotated[str, AfterValidator(_check_name)]
    """In logs, and of the file that keeps it."""
    every: Seconds = 60.0
    """Seconds between two fetches."""
    timeout: Seconds = 30.0
    """Seconds that one fetch may take in all."""
    most: Count = 1_000_000
    """Addresses that it may have."""
    most_octets: Count = 33_554_432
    """Octets that one fetch may bring in all."""
    ca_file: File | None = None
    """Authorities to trust instead of the system's (PEM)."""


class HttpMap(RemoteMap):
    """A CSV file on a web server."""

    url: Annotated[str, _check_schemes("https", "http")]
    authorization: str = ""
    """What to send as Authorization, e.g. `Bearer ...`; best as `file:/path` or `env:NAME`."""


class LdapMap(RemoteMap):
    """The people of a directory."""

    every: Seconds = 300.0
    timeout: Seconds = 120.0
    most_octets: Count = 134_217_728
    url: Annotated[str, _check_schemes("ldaps", "ldap")]
    """`ldaps://dc1.corp.example`."""
    starttls: bool = False
    """TLS on an `ldap://` port."""
    bind_dn: str = ""
    password: str = ""
    base: str
    filter: str = "(mail=*)"
    addresses: Names = ("mail", "proxyAddresses")
    """Attributes that hold addresses; `smtp:` before one is left out, and what has another prefix is no address."""
    backend: str
    """Where they live, unless `backend_attribute` says otherwise."""
    backend_attribute: str = ""
    """An attribute that tells the backend, e.g. `memberOf`."""
    backends: dict[str, str] = Field(default_factory=dict)
    """Its values, each with the backend that it means; upper and lower case are alike."""


class Routing(Section):
    """Which mailbox lives where."""

    addresses: dict[str, Names] = Field(default_factory=dict)
    """address -> backend, or another address (an alias), or several of them."""
    maps: tuple[File, ...] = ()
    """CSV files, `address,backend` lines, or TOML files; read again when they change."""
    http: tuple[HttpMap, ...] = ()
    ldap: tuple[LdapMap, ...] = ()
    outside: str = ""
    """The backend that takes mail for aliases of addresses that are not ours; direct to their MX when empty."""
    stale_after: Seconds = 86_400.0
    """How long a map may be unreadable before a mailbox that is not listed is put off instead of refused."""

    @property
    def remote(self) -> tuple[HttpMap | LdapMap, ...]:
        """The maps that are fetched."""
        return (*self.http, *self.ldap)


Secret = Annotated[str, AfterValidator(_check_secret)]


class SenderRewriting(Section):
    """Return paths towards third parties (SRS)."""

    domain: DomainName
    """One of ours: their bounces come back to it."""
    secret: Secret
    """Signs; best as `file:/path` or `env:NAME`."""
    previous: tuple[Secret, ...] = ()
    """Secrets of before, still known for bounces that are on their way."""
