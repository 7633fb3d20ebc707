"""LDAP directories: address maps, and logins. The only file that knows ldap3."""

from __future__ import annotations

import csv
import math
import socket
import ssl
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from stringprep import in_table_b1
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPOperationResult
from ldap3.utils.dn import escape_rdn

from gateway.config.edge import PLACE, LdapLogin
from gateway.config.recipients import LdapMap, LoginsUnavailable, MapUnavailable
from gateway.net.bounded import Watch

_REFUSED = frozenset({32, 34, 48, 49})
"""Result codes for wrong credentials: noSuchObject, invalidDNSyntax, inappropriateAuthentication, invalidCredentials
(RFC 4511 appendix A)."""
_UNSEEN = ("Cc", "Cf")
"""Unicode's categories of controls and formats."""
_PAGE = 500
"""Entries requested at once (RFC 2696): directories refuse more than some 1,000."""
_PAGE_OCTETS = 16_777_216
"""Octets of one answer: the memory holds several copies of it."""
_BIND_OCTETS = 65_536
_PAGED = "1.2.840.113556.1.4.319"


class DirectoryError(Exception):
    """The directory did not do what was requested, or not in time; the text gives the reason."""

    def __init__(self, text: str, code: int = -1) -> None:
        super().__init__(text)
        self.code = code
        """Its result code (RFC 4511 section 4.1.9); -1 when there is none."""


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
        try:
            with (
                _connect(settings, settings.bind_dn, settings.password, settings.most_octets) as connection,
                into.open("w", encoding="utf-8", newline="") as file,
            ):
                rows = csv.writer(file)
                for count, (address, backend) in enumerate(self._search(connection), 1):
                    if count > settings.most:
                        raise MapUnavailable(f"it has more than {settings.most} addresses (most)")
                    rows.writerow((address, backend))
        except DirectoryError as error:
            raise MapUnavailable(str(error)) from None
        return True

    def forget(self) -> None:
        """Nothing to do: every search is complete."""

    def _search(self, connection: ldap3.Connection) -> Iterator[tuple[str, str]]:
        settings = self._settings
        attributes = [*settings.addresses, *([settings.backend_attribute] if settings.backend_attribute else [])]
        cookie = None
        while cookie is None or cookie:
            connection.socket.refill()
            connection.search(
                settings.base, settings.filter, attributes=attributes, paged_size=_PAGE, paged_cookie=cookie
            )
            # A search cut short by a limit or a referral would lose the people beyond it.
            result = _require(connection, "searchResDone")
            for entry in connection.response:
                if entry["type"] == "searchResEntry":  # otherwise a referral, which is not followed
                    yield from self._read(entry)
            cookie = (result.get("controls") or {}).get(_PAGED, {}).get("value", {}).get("cookie", b"")

    def _read(self, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
        values = {name.lower(): _as_texts(value) for name, value in entry["attributes"].items()}
        backend = self._find_backend(values.get(self._settings.backend_attribute.lower(), ()))
        for name in self._settings.addresses:
            for value in values.get(name.lower(), ()):
                scheme, colon, rest = value.partition(":")
                address = rest if colon and scheme.lower() == "smtp" else "" if colon else value
                if address:
                    yield address, backend

    def _find_backend(self, values: Sequence[str]) -> str:
        known = (self._backends.get(value.lower()) for value in values)
        return next((backend for backend in known if backend), self._settings.backend)


class LdapLogins:
    """A `LoginSource`: a person who can bind to the directory may log in (RFC 4513 section 5.1.3)."""

    def __init__(self, settings: LdapLogin) -> None:
        self._settings = settings

    def check(self, name: str, password: str) -> bool:
        # RFC 4513 section 5.1.2: a bind with a name and no password succeeds, and proves nothing.
        if not password or not name or not _is_plain(name):
            return False
        dn = self._settings.dn.replace(PLACE, escape_rdn(name))
        try:
            with _connect(self._settings, dn, password, _BIND_OCTETS):
                return True
        except DirectoryError as error:
            if error.code in _REFUSED:
                return False
            raise LoginsUnavailable(str(error)) from None


def _is_plain(name: str) -> bool:
    """True when the name is spelled as a directory compares names, except for letter case (RFC 4518 section 2). A
    directory ignores extra white space, other widths and invisible characters; our limits would take the result for
    another name."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    return name == plain and not any(in_table_b1(letter) or unicodedata.category(letter) in _UNSEEN for letter in name)


@contextmanager
def _connect(settings: LdapMap | LdapLogin, dn: str, password: str, most_octets: int) -> Iterator[ldap3.Connection]:
    """A bound connection. Raises DirectoryError, also for errors during its use. At most `most_octets` from the
    directory are read, and after `timeout` seconds in all it is cut."""
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ca_file and str(settings.ca_file))
    tls.wrap_socket = partial(_secure, ssl.create_default_context(cafile=settings.ca_file))
    server = ldap3.Server(settings.url, tls=tls, get_info=ldap3.NONE, connect_timeout=settings.timeout)
    connection = ldap3.Connection(
        server,
        dn or None,
        password or None,
        read_only=True,
        raise_exceptions=True,
        receive_timeout=math.ceil(settings.timeout),
        # The library would send the password in clear to any host that the directory names, and trust that host.
        auto_referrals=False,
    )
    watch, meter = Watch(lambda: _inner(connection.socket), settings.timeout), None
    try:
        connection.open()
        meter = connection.socket = _Meter(connection.socket, most_octets)
        if settings.starttls and not connection.start_tls() and not server.ssl:
            raise DirectoryError("STARTTLS was refused")
        connection.bind()
        _require(connection, "bindResponse")
        yield connection
    except MapUnavailable:
        raise
    except Exception as error:  # also what the library's decoder raises for octets that are not LDAP
        # The library's own time-out of a single wait may notice first.
        late = watch.late or "timed out" in str(error)
        raise _explain(error, settings.timeout if late else 0.0, meter) from None
    finally:
        watch.stop()
        with suppress(Exception):
            connection.unbind()
        # ldap3 leaves it open after a failed connection or TLS handshake.
        if connection.socket is not None:
            connection.socket.close()


class _Meter:
    """A connection's socket with a limit on the octets read."""

    def __init__(self, inner: socket.socket, most_octets: int) -> None:
        self.inner = inner
        self.room = most_octets
        self.refill()

    def refill(self) -> None:
        """Another answer is expected."""
        self.room_of_answer = _PAGE_OCTETS

    def recv(self, size: int) -> bytes:
        octets = self.inner.recv(size)
        self.room -= len(octets)
        self.room_of_answer -= len(octets)
        if self.is_spent:
            raise OSError("too many octets")
        return octets

    @property
    def is_spent(self) -> bool:
        return self.room < 0 or self.room_of_answer < 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _secure(context: ssl.SSLContext, connection: ldap3.Connection, do_handshake: bool = False) -> None:
    """Replaces the library's own function: the socket is known before the handshake, so that it can be cut."""
    held = connection.socket
    secured = context.wrap_socket(_inner(held), server_hostname=connection.server.host, do_handshake_on_connect=False)
    if isinstance(held, _Meter):
        held.inner = secured
    else:
        connection.socket = secured
    secured.do_handshake()


def _inner(held: Any) -> Any:
    return held.inner if isinstance(held, _Meter) else held


def _require(connection: ldap3.Connection, kind: str) -> dict[str, Any]:
    """The result of the last operation. Raises DirectoryError unless it is of this kind and means success: the library
    accepts some other results, and every kind."""
    result = connection.result or {}
    if result.get("type") != kind:
        raise DirectoryError(f"the directory answers {result.get('type', 'nothing')} where {kind} is due")
    if result.get("result") != 0:
        raise _refusal(result.get("result"), result.get("description"), result.get("message"))
    return dict(result)


def _refusal(code: object, name: object, message: object) -> DirectoryError:
    said = f"the directory answers {name} ({code})" + (f": {message}" if message else "")
    return DirectoryError(said, code if isinstance(code, int) else -1)


def _explain(error: Exception, waited: float, meter: _Meter | None) -> DirectoryError:
    if waited:
        return DirectoryError(f"it takes longer than {waited:g} s (timeout)")
    if meter is not None and meter.is_spent:
        return DirectoryError("more octets came than are taken (most_octets)")
    if isinstance(error, DirectoryError):
        return error
    if isinstance(error, LDAPOperationResult):
        return _refusal(error.result, error.description, error.message)
    if isinstance(error, LDAPException | OSError):
        return DirectoryError(str(error) or type(error).__name__)
    return DirectoryError(f"the directory answers what is not understood ({type(error).__name__}: {error})")


def _as_texts(value: Any) -> list[str]:
    """One or many values; a value that is not text is left out."""
    values = value if isinstance(value, list) else [value]
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in values if one]
