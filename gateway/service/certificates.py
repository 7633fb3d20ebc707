"""A listener's certificates: chosen by the name that the client asks for, and read again when their files change."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from gateway.config.model import Config
from gateway.model.value import Value, replace

_DAY = 86_400.0
_SOON_DAYS, _URGENT_DAYS = 14, 3

Pair = tuple[Path, Path | None]
"""Certificate with its intermediates, and key; None when the key is in the certificate's file."""


class Certificates:
    """Certificates and the TLS settings around them.

    `context` stays the same: it passes each handshake to the newest certificates, so a session keeps those of its
    start. The first pair is for clients that ask for no name, or for an unknown one (RFC 6066 section 3). Raises
    OSError, ssl.SSLError, ValueError when made with unusable files.
    """

    def __init__(self, pairs: Sequence[Pair], client_ca: Path | None = None, session_tickets: bool = True) -> None:
        self._pairs = tuple(pairs)
        self._client_ca = client_ca
        self._session_tickets = session_tickets
        self._stamp = self._look()
        self._first, self._by_name = self._read()
        self.context = self._load(self._pairs[0])
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Read the files again if any has changed. True when it has. Raises OSError, ssl.SSLError, ValueError when they
        are unusable, once for each change; the certificates in use then stay."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._first, self._by_name = self._read()
        except OSError as error:
            if not isinstance(error, ssl.SSLError):
                self._stamp = ()  # unreadable now: try again, even if the file itself does not change
            raise
        return True

    def _look(self) -> tuple[tuple[int, int, int, int] | None, ...]:
        return tuple(_stamp(file) for pair in self._pairs for file in (*pair, self._client_ca) if file is not None)

    def _load(self, pair: Pair) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
        context.load_cert_chain(pair[0], pair[1], password="")  # an encrypted key is an error, not a question
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        if not self._session_tickets:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0  # TLS 1.3 has tickets of its own
        return context

    def _read(self) -> tuple[ssl.SSLContext, dict[str, ssl.SSLContext]]:
        """The first certificate's context, and each by its names; if two have the same name, the first is used."""
        contexts = [self._load(pair) for pair in self._pairs]
        index: dict[str, ssl.SSLContext] = {}
        for pair, context in zip(self._pairs, contexts, strict=True):
            for name in read_names(pair[0]):
                index.setdefault(name, context)
        return contexts[0], index

    def _choose(self, session: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        wanted = (name or "").lower().removesuffix(".")
        wildcard = f"*.{wanted.partition('.')[2]}"  # RFC 9525 section 6.3: for one label
        session.context = self._by_name.get(wanted) or self._by_name.get(wildcard) or self._first


def read_names(certificate: Path) -> list[str]:
    """The DNS names of the first certificate in the file, in lower case. Raises OSError, ValueError."""
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


class CertificateCondition(Value):
    """The condition of one configured certificate."""

    where: str
    """`listener NAME` or `backend NAME`."""
    file: Path
    names: tuple[str, ...]
    ends: float | None
    """Epoch seconds; None for a file that cannot be read."""
    state: str
    """`good`, `soon` (ends within 14 days), `urgent` (within 3 days), `ended`, `foreign` (a listener's certificates do
    not have the host name), `unreadable`."""
    problem: str = ""


def examine_certificates(config: Config, now: float) -> list[CertificateCondition]:
    """The certificates of all listeners, and those shown to backends. `now` is in epoch seconds."""
    hostname = config.server.hostname.lower()
    found: list[CertificateCondition] = []
    for listener in config.listener:
        files = [file for file in (listener.certificate, *(one.certificate for one in listener.certificates)) if file]
        seen = [_examine(f"listener {listener.name or listener.address}", file, now) for file in files]
        fits = any(is_for(one.names, hostname) or one.state == "unreadable" for one in seen)
        if seen and not fits and seen[0].state == "good":
            seen[0] = replace(seen[0], state="foreign", problem=f"it is not for {hostname}, which clients connect to")
        found += seen
    for name, backend in config.backend.items():
        if backend.certificate is not None:
            found.append(_examine(f"backend {name}", backend.certificate, now))
    return found


def is_for(names: Sequence[str], host: str) -> bool:
    """One of the names is the host's; a wildcard stands for one label (RFC 9525 section 6.3)."""
    return host in names or f"*.{host.partition('.')[2]}" in names


def _examine(where: str, file: Path, now: float) -> CertificateCondition:
    try:
        names = tuple(read_names(file))
        ends = x509.load_pem_x509_certificates(file.read_bytes())[0].not_valid_after_utc.timestamp()
    except (OSError, ValueError, IndexError) as error:
        return CertificateCondition(where, file, (), None, "unreadable", f"{file} cannot be read: {error}")
    left = (ends - now) / _DAY
    if left < 0:
        return CertificateCondition(where, file, names, ends, "ended", f"it ended {-left:.0f} days ago")
    state = "urgent" if left < _URGENT_DAYS else "soon" if left < _SOON_DAYS else "good"
    return CertificateCondition(
        where, file, names, ends, state, "" if state == "good" else f"it ends in {left:.0f} days"
    )


def _stamp(file: Path) -> tuple[int, int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
