"""TLS towards backends: contexts, and whether a certificate has an expected name (RFC 6125)."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from gateway.config.backends import BackendSettings
from gateway.config.keyring import SERVERS_ALONE, is_for_servers_alone
from gateway.model.ingress import Tls
from gateway.model.value import Value

Mode = Literal["required", "opportunistic", "off"]

_MOST_SHOWN = 3
"""Names of a certificate that a message shows; some have a hundred."""


class ClientTls(Value):
    """The TLS parameters for a backend's hosts."""

    mode: Mode
    names: tuple[str, ...]
    """The certificate must have one of them; the host's own name when empty."""
    verifying: ssl.SSLContext
    """Trusts the configured authorities, or the system's. Names are matched here, because there may be several."""
    trusting: ssl.SSLContext
    """Accepts any certificate: for opportunistic TLS with a host that cannot prove its own."""

    hint: str = ""
    """The possible fault of our own certificate."""

    def expected(self, host: str) -> tuple[str, ...]:
        return self.names or (host,)


def client_tls(settings: BackendSettings) -> ClientTls:
    """The contexts of a backend. Reads authorities and our certificate from disk. Raises OSError when that fails."""
    verifying = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    verifying.check_hostname = False
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None:
        for context in (verifying, trusting):
            context.load_cert_chain(settings.certificate, settings.key)
    ours = settings.certificate
    hint = f"; our certificate {SERVERS_ALONE}" if ours is not None and is_for_servers_alone(ours) else ""
    return ClientTls(settings.tls, settings.tls_names, verifying, trusting, hint)


class ClientContexts:
    """A backend's contexts; renewed when the certificate that is shown to it has changed on disk."""

    def __init__(self, settings: BackendSettings) -> None:
        """Raises OSError: a file cannot be read."""
        self._settings = settings
        self._stamp = self._look()
        self._current = client_tls(settings)

    def current(self) -> ClientTls:
        """The contexts for new connections: the last readable ones."""
        with suppress(OSError):
            stamp = self._look()
            if stamp != self._stamp:
                self._current, self._stamp = client_tls(self._settings), stamp
        return self._current

    def _look(self) -> tuple[tuple[int, int], ...]:
        files = (self._settings.certificate, self._settings.key)
        found = [file.stat() for file in files if file is not None]
        return tuple((one.st_mtime_ns, one.st_ino) for one in found)


class TlsTrouble(Exception):
    """TLS was not established on this connection."""

    def __init__(self, why: str, certificate: bool = False) -> None:
        """`certificate`: the certificate alone is at fault."""
        super().__init__(why)
        self.why = why
        self.certificate = certificate


def certificate_trouble(certificate: Mapping[str, Any], expected: Sequence[str]) -> str:
    """The fault in the names of a verified certificate; empty when one is expected."""
    carried = certificate_names(certificate)
    if match_name(expected, carried):
        return ""
    return f"certificate is for {', '.join(carried[:_MOST_SHOWN]) or 'no name'}, expected {', '.join(expected)}"


def certificate_names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The names and addresses of a verified certificate, from subjectAltName only (RFC 6125 section 6.4.4)."""
    found: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    return tuple(value for kind, value in found if kind in ("DNS", "IP Address"))


def match_name(expected: Sequence[str], carried: Sequence[str]) -> bool:
    """True when one of the certificate's names is expected. On either side `*.x` stands for one label (RFC 6125 section
    6.4.3); an address matches only itself."""
    return any(_equal(one, other) for one in expected for other in carried)


def _equal(expected: str, carried: str) -> bool:
    address = _address(expected)
    if address is not None:
        return address == _address(carried)
    one, other = expected.lower().rstrip("."), carried.lower().rstrip(".")
    return one == other or _covers(other, one) or _covers(one, other)


def _covers(pattern: str, name: str) -> bool:
    label, _, rest = name.partition(".")
    return pattern.startswith("*.") and bool(label) and "*" not in label and "." in rest and pattern[2:] == rest


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def describe_session(session: ssl.SSLObject) -> Tls:
    """The TLS session as a value."""
    cipher = session.cipher()
    certificate: Mapping[str, Any] = session.getpeercert() or {}
    subject = dict(pair for group in certificate.get("subject", ()) for pair in group)
    return Tls(session.version() or "", cipher[0] if cipher else "", str(subject.get("commonName", "")))


def explain_failure(error: BaseException) -> str:
    """The reason why TLS was not established, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "certificate not verified"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS error").lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "timeout"
    return str(error) or type(error).__name__
