"""The sections about our domains and the backend of each mailbox."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.values import Count, DomainName, File, Names, Seconds, Section, wrong


class MapSource(Protocol):
    """A directory of addresses in another system."""

    @property
    def name(self) -> str: ...

    def fetch(self, into: Path) -> bool:
        """Write all its addresses as a CSV map; False when nothing has changed since the last map that this wrote.
        Blocks, but not beyond the configured time. Raises MapUnavailable."""

    def forget(self) -> None:
        """The last map is unusable: the next one is written even if nothing has changed."""


class LoginSource(Protocol):
    """A directory of people who may log in."""

    def check(self, name: str, password: str) -> bool:
        """True when this is the person's password. Blocks; raises LoginsUnavailable when no directory can tell."""


class LoginsUnavailable(Exception):
    """The directory did not answer; the text gives the reason."""


class MapUnavailable(Exception):
    """A map could not be fetched; the text gives the reason."""


_SHORTEST_SECRET = 16


class Domain(Section):
    """A domain of ours."""

    name: DomainName
    backend: str
    """The backend of addresses that no map names."""
    mailboxes: Literal["listed", "unknown"] = "unknown"
    """`listed`: every mailbox is in [routing], and any other is refused; `unknown`: the backend knows."""
    policy: str = ""
    """The rule set that judges mail to it; the set of [policy] when empty."""
    callout: bool = False
    """Ask the backend whether a mailbox exists, if it is proven to refuse unknown ones."""


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
    """A map that is fetched as a whole at intervals. The last one is kept on disk."""

    name: Annotated[str, AfterValidator(_check_name)]
    """Used in logs, and as the name of its file."""
    every: Seconds = 60.0
    """Seconds between two fetches."""
    timeout: Seconds = 30.0
    """Total seconds of one fetch at most."""
    most: Count = 1_000_000
    """Maximum of addresses in it."""
    most_octets: Count = 33_554_432
    """Total octets of one fetch at most."""
    ca_file: File | None = None
    """Authorities to trust instead of the system's (PEM)."""


class HttpMap(RemoteMap):
    """A CSV file on a web server."""

    url: Annotated[str, _check_schemes("https", "http")]
    authorization: str = ""
    """The value of the Authorization field, e.g. `Bearer ...`; best as `file:/path` or `env:NAME`."""


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
    """Attributes that hold addresses. A prefix `smtp:` is removed; a value with another prefix is not an address."""
    backend: str
    """Their backend, unless `backend_attribute` gives another."""
    backend_attribute: str = ""
    """An attribute that names the backend, e.g. `memberOf`."""
    backends: dict[str, str] = Field(default_factory=dict)
    """The attribute's values, each with its backend; letter case is ignored."""


class Routing(Section):
    """The backend of each mailbox."""

    addresses: dict[str, Names] = Field(default_factory=dict)
    """address -> backend, or another address (an alias), or several of them."""
    maps: tuple[File, ...] = ()
    """CSV files, `address,backend` lines, or TOML files; read again when they change."""
    http: tuple[HttpMap, ...] = ()
    ldap: tuple[LdapMap, ...] = ()
    outside: str = ""
    """The backend that takes mail for aliases of addresses that are not ours; direct to their MX when empty."""
    stale_after: Seconds = 86_400.0
    """Seconds for which a map may be unreadable before an unlisted mailbox is deferred instead of refused."""

    @property
    def remote(self) -> tuple[HttpMap | LdapMap, ...]:
        """The maps that are fetched."""
        return (*self.http, *self.ldap)


Secret = Annotated[str, AfterValidator(_check_secret)]


class SenderRewriting(Section):
    """Return paths towards third parties (SRS)."""

    domain: DomainName
    """One of our domains, to which their bounces return."""
    secret: Secret
    """The signing secret; best as `file:/path` or `env:NAME`."""
    previous: tuple[Secret, ...] = ()
    """Earlier secrets, still accepted for bounces on their way."""
