"""LDAP directories: address maps, and logins. The only file that knows ldap3."""

from __future__ import annotations

import csv
import math
import ssl
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stringprep import in_table_b1
from typing import Any

import ldap3
from ldap3.core.exceptions import (
    LDAPException,
    LDAPInappropriateAuthenticationResult,
    LDAPInvalidCredentialsResult,
    LDAPInvalidDNSyntaxResult,
    LDAPNoSuchObjectResult,
)
from ldap3.utils.dn import escape_rdn

from gateway.config.directories import LoginsUnavailable, MapUnavailable
from gateway.config.edge import PLACE, LdapLogin
from gateway.config.recipients import LdapMap

_REFUSED = (
    LDAPInvalidCredentialsResult,
    LDAPInappropriateAuthenticationResult,
    LDAPInvalidDNSyntaxResult,
    LDAPNoSuchObjectResult,
)
"""What a directory says to who is not who he says he is."""
_UNSEEN = ("Cc", "Cf")
"""Unicode's categories of controls and formats."""
_PAGE = 500
"""Entries asked for at once (RFC 2696): directories refuse more than some 1,000."""


class LdapSource:
    """A `MapSource`: one search, page by page, over a connection of its own."""

    def __init__(self, settings: LdapMap) -> None:
        self._settings = settings
        self._backends = {value.lower(): backend for value, backend in settings.backends.items()}

    @property
    def name(self) -> str:
        return self._settings.name

    def fetch(self, into: Path) -> bool:
        """Raises MapUnavailable when the search cannot be done, or not in time."""
        settings = self._settings
        deadline = time.monotonic() + settings.timeout
        try:
            with (
                _connect(settings, settings.bind_dn, settings.password) as connection,
                into.open("w", encoding="utf-8", newline="") as file,
            ):
                rows = csv.writer(file)
                for count, (address, backend) in enumerate(self._search(connection), 1):
                    if count > settings.most:
                        raise MapUnavailable(f"it has more than {settings.most} addresses (most)")
                    if time.monotonic() > deadline:
                        raise MapUnavailable(f"it takes longer than {settings.timeout:g} s (timeout)")
                    rows.writerow((address, backend))
        except (LDAPException, OSError, ssl.SSLError) as error:
            raise MapUnavailable(str(error) or type(error).__name__) from None
        return True

    def forget(self) -> None:
        """Every search is a whole one."""

    def _search(self, connection: ldap3.Connection) -> Iterator[tuple[str, str]]:
        settings = self._settings
        attributes = [*settings.addresses, *([settings.backend_attribute] if settings.backend_attribute else [])]
        found = connection.extend.standard.paged_search(
            settings.base, settings.filter, attributes=attributes, paged_size=_PAGE, generator=True
        )
        for entry in found:
            if entry["type"] != "searchResEntry":
                continue  # a referral to another directory, which was not asked for
            values = {name.lower(): _as_texts(value) for name, value in entry["attributes"].items()}
            backend = self._find_backend(values.get(settings.backend_attribute.lower(), ()))
            for name in settings.addresses:
                for value in values.get(name.lower(), ()):
                    scheme, colon, rest = value.partition(":")
                    address = rest if colon and scheme.lower() == "smtp" else "" if colon else value
                    if address:
                        yield address, backend

    def _find_backend(self, values: Sequence[str]) -> str:
        known = (self._backends.get(value.lower()) for value in values)
        return next((backend for backend in known if backend), self._settings.backend)


class LdapLogins:
    """A `LoginSource`: who can bind to the directory as himself may log in (RFC 4513 section 5.1.3)."""

    def __init__(self, settings: LdapLogin) -> None:
        self._settings = settings

    def check(self, name: str, password: str) -> bool:
        # RFC 4513 section 5.1.2: a bind with a name and no password succeeds, and proves nothing.
        if not password or not name or not _is_plain(name):
            return False
        dn = self._settings.dn.replace(PLACE, escape_rdn(name))
        try:
            with _connect(self._settings, dn, password):
                return True
        except _REFUSED:
            return False
        except (LDAPException, OSError, ssl.SSLError) as error:
            raise LoginsUnavailable(str(error) or type(error).__name__) from None


def _is_plain(name: str) -> bool:
    """Spelled as a directory compares names, but for letter case (RFC 4518 section 2): white space more or less, other
    widths, and letters that nobody sees are the same name to it, and another one to our limits."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    return name == plain and not any(in_table_b1(letter) or unicodedata.category(letter) in _UNSEEN for letter in name)


@contextmanager
def _connect(settings: LdapMap | LdapLogin, dn: str, password: str) -> Iterator[ldap3.Connection]:
    """A connection that is bound."""
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ca_file and str(settings.ca_file))
    server = ldap3.Server(settings.url, tls=tls, get_info=ldap3.NONE, connect_timeout=settings.timeout)
    connection = ldap3.Connection(
        server,
        dn or None,
        password or None,
        read_only=True,
        raise_exceptions=True,
        receive_timeout=math.ceil(settings.timeout),
    )
    try:
        connection.open()
        if settings.starttls:
            connection.start_tls()
        connection.bind()
        yield connection
    finally:
        with suppress(LDAPException, OSError):
            connection.unbind()
        # ldap3 leaves it open when it could not connect, or not agree on TLS.
        if connection.socket is not None:
            connection.socket.close()


def _as_texts(value: Any) -> list[str]:
    """One or many values; what is no text is none."""
    values = value if isinstance(value, list) else [value]
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in values if one]
