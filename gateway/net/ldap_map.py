"""Address maps from LDAP directories. The only file that knows ldap3."""

from __future__ import annotations

import csv
import math
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException

from gateway.config.recipients import LdapMap
from gateway.ports import MapUnavailable

_PAGE = 500
"""Entries asked for at once (RFC 2696): directories refuse more than some 1,000."""


class LdapSource:
    """A `ports.MapSource`: one search, page by page, over a connection of its own."""

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
            with self._connect() as connection, into.open("w", encoding="utf-8", newline="") as file:
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

    @contextmanager
    def _connect(self) -> Iterator[ldap3.Connection]:
        settings = self._settings
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ca_file and str(settings.ca_file))
        server = ldap3.Server(settings.url, tls=tls, get_info=ldap3.NONE, connect_timeout=settings.timeout)
        connection = ldap3.Connection(
            server,
            settings.bind_dn or None,
            settings.password or None,
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


def _as_texts(value: Any) -> list[str]:
    """One or many values; what is no text is none."""
    values = value if isinstance(value, list) else [value]
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in values if one]
