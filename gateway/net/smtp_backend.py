"""Opens SMTP sessions with a backend's hosts. The only file that knows aiosmtplib.

aiosmtplib's own `sendmail` and `data` rewrite line ends and addresses. So it only connects, greets and starts TLS;
`smtp_session` then takes the session over and sends the received octets unchanged.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import cast

import aiosmtplib

from gateway.config.backends import BackendSettings
from gateway.config.values import Networks
from gateway.model.envelope import IPText
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.net.host_backend import HostBackend
from gateway.net.mx import Host, HostFinder
from gateway.net.outcomes import HostRefused, NoReply, Peer, Phase, read_reply, tls_failed
from gateway.net.smtp_session import BackendSession, Patience, silence
from gateway.net.tls import (
    ClientContexts,
    ClientTls,
    TlsTrouble,
    certificate_trouble,
    describe_session,
    explain_failure,
)
from gateway.net.wire import ReplyStream
from gateway.ports import Clock, Resolver, Tally

_EHLO_UNKNOWN = (500, 502, 504)
_LOGGED_IN, _GO_ON = 235, 334


class _LenientProtocol(aiosmtplib.protocol.SMTPProtocol):
    """Ignores empty lines before a reply: some hosts send one after their greeting. The library limits the octets kept
    of a host (32 kB)."""

    def _read_response_from_buffer(self) -> aiosmtplib.SMTPResponse | None:
        while (end := self._buffer.find(b"\n")) >= 0 and not self._buffer[:end].strip(b" \t\r"):
            del self._buffer[: end + 1]
        return super()._read_response_from_buffer()


# The library has no other place for it.
aiosmtplib.smtp.SMTPProtocol = _LenientProtocol  # type: ignore[attr-defined]


class SmtpDialer:
    """Opens sessions with a backend's hosts: greeting, EHLO, and TLS according to the backend's settings."""

    def __init__(self, settings: BackendSettings, hostname: str) -> None:
        """`hostname` is our name in EHLO unless the settings have one. Raises OSError: authorities not readable."""
        self._name = settings.ehlo_name or hostname
        self._connect_seconds, self._greeting_seconds = settings.connect_seconds, settings.greeting_seconds
        self._patience = Patience(
            settings.command_seconds, settings.data_seconds, settings.block_seconds, settings.final_seconds
        )
        self._contexts = ClientContexts(settings)
        self._sources = {address.version: str(address) for address in settings.source_addresses}
        self._login, self._password = settings.login, settings.password

    async def open(self, host: Host, address: IPText, deadline: float) -> BackendSession:
        """A session that is ready for MAIL. Raises NoReply and Refused.

        Opportunistic TLS falls back one step at a time, each on a new connection: an unproven certificate is better
        than none, and plain text is better than no delivery (RFC 7435).
        """
        tls = self._contexts.current()
        if tls.mode == "off":
            return await self._dial(host, address, deadline, tls, None, "")
        try:
            return await self._dial(host, address, deadline, tls, tls.verifying, "")
        except TlsTrouble as trouble:
            if tls.mode == "required":
                raise tls_failed(Peer(host.name, address), trouble.why, trouble.certificate) from trouble
            why = trouble.why
            unproven = trouble.certificate
        if unproven:
            try:
                return await self._dial(host, address, deadline, tls, tls.trusting, f"unverified ({why})")
            except TlsTrouble as trouble:
                why = trouble.why
        return await self._dial(
            host, address, deadline, tls, None, f"unverified (TLS failed: {why}; sent in plain text)"
        )

    async def _dial(
        self,
        host: Host,
        address: IPText,
        deadline: float,
        tls: ClientTls,
        context: ssl.SSLContext | None,
        certificate: str,
    ) -> BackendSession:
        """One connection; under TLS with `context`, one of those of `tls`. Raises NoReply, Refused and TlsTrouble."""
        peer = Peer(host.name, address, certificate=certificate)
        with _as_silence(Phase.GREETING, peer):
            opened = await self._connect(host, address, deadline)
            smtp = aiosmtplib.SMTP(sock=opened, local_hostname=self._name, start_tls=False)
            await smtp.connect(timeout=_until(self._greeting_seconds, deadline))
        smtp.timeout = _until(self._patience.command, deadline)
        try:
            await _greet(smtp, peer)
            offered = smtp.supports_extension("starttls")
            if context is not None and (offered or tls.mode == "required"):
                peer = await self._secure(smtp, peer, tls, context)
                await _greet_again(smtp, peer, tls)
            if self._login:
                await self._log_in(smtp, peer)
        except BaseException:
            smtp.close()
            raise
        # A cast, not isinstance: uvloop's transports do not derive from asyncio's.
        stream = ReplyStream(cast("asyncio.Transport", smtp.transport))
        extensions = smtp.esmtp_extensions
        peer = replace(peer, dsn="dsn" in extensions)
        return BackendSession(stream, extensions, host, peer, self._patience, deadline)

    async def _connect(self, host: Host, address: IPText, deadline: float) -> socket.socket:
        """An open connection. Raises OSError."""
        version = ip_address(address).version
        opened = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            if source := self._sources.get(version):
                opened.bind((source, 0))
            async with asyncio.timeout(_until(self._connect_seconds, deadline)):
                await asyncio.get_running_loop().sock_connect(opened, (address, host.port))
        except BaseException:
            opened.close()
            raise
        return opened

    async def _log_in(self, smtp: aiosmtplib.SMTP, peer: Peer) -> None:
        """AUTH (RFC 4954). Only under TLS that has verified the host: `config.backends` ensures that."""
        offered = smtp.esmtp_extensions.get("auth", "").upper().split()
        with _as_silence(Phase.AUTH, peer):
            if "PLAIN" in offered:
                token = f"\0{self._login}\0{self._password}"
                said = await _answer(smtp, await smtp.execute_command(b"AUTH", b"PLAIN", _encode(token)), token)
            elif "LOGIN" in offered:
                # Without an initial response: some servers accept none, and all ask.
                said = await _answer(smtp, await smtp.execute_command(b"AUTH", b"LOGIN"), self._login, self._password)
            else:
                text = f"{peer.host} [{peer.address}]: offers neither AUTH PLAIN nor LOGIN, and we are to log in"
                raise HostRefused(Phase.AUTH, Reply(530, "7.0", text))
            if said.code != _LOGGED_IN:
                raise aiosmtplib.SMTPResponseException(said.code, said.message)

    async def _secure(self, smtp: aiosmtplib.SMTP, peer: Peer, tls: ClientTls, context: ssl.SSLContext) -> Peer:
        try:
            await smtp.starttls(server_hostname=peer.host, tls_context=context, timeout=self._connect_seconds)
            session: ssl.SSLObject = smtp.get_transport_info("ssl_object")
        except aiosmtplib.SMTPResponseException as error:
            raise TlsTrouble(f"STARTTLS answered {error.code} {error.message}") from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            certificate = isinstance(error, ssl.SSLCertVerificationError)
            raise TlsTrouble(explain_failure(error) + ("" if certificate else tls.hint), certificate) from error
        secured = replace(peer, tls=describe_session(session))
        if context is tls.trusting:
            return secured
        why = certificate_trouble(session.getpeercert() or {}, tls.expected(peer.host))
        if why and tls.mode == "required":
            raise TlsTrouble(why, certificate=True)
        return replace(secured, certificate=f"unverified ({why})" if why else "verified")


def make_smtp_backend(
    name: str,
    settings: BackendSettings,
    resolver: Resolver,
    clock: Clock,
    hostname: str,
    tally: Tally,
    mx_networks: Networks = (),
) -> HostBackend:
    """A backend of the configuration; `mx_networks` as for HostFinder. Reads authorities from disk. Raises OSError and
    ValueError (hosts)."""
    family = settings.address_family
    if family == "any" and len(settings.source_addresses) == 1:
        family = "ipv4" if settings.source_addresses[0].version == 4 else "ipv6"
    hosts = HostFinder(settings.hosts, family, resolver, hostname, clock.jitter, mx_networks)
    return HostBackend(name, settings, hosts, SmtpDialer(settings, hostname), tally)


async def _greet(smtp: aiosmtplib.SMTP, peer: Peer) -> None:
    with _as_silence(Phase.HELLO, peer):
        try:
            await smtp.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in _EHLO_UNKNOWN:
                raise
            await smtp.helo()  # RFC 5321 section 3.2


async def _greet_again(smtp: aiosmtplib.SMTP, peer: Peer, tls: ClientTls) -> None:
    """EHLO under TLS. With TLS 1.3 a host that refuses our certificate shows it only now, by ending the connection."""
    try:
        await _greet(smtp, peer)
    except NoReply as lost:
        if not tls.hint or tls.mode != "required":
            raise
        raise TlsTrouble(f"connection lost after the handshake{tls.hint}") from lost


async def _answer(smtp: aiosmtplib.SMTP, said: aiosmtplib.SMTPResponse, *secrets: str) -> aiosmtplib.SMTPResponse:
    """Send each secret as long as the host asks for one; returns its last answer."""
    for secret in secrets:
        if said.code != _GO_ON:
            break
        said = await smtp.execute_command(_encode(secret))
    return said


def _encode(secret: str) -> bytes:
    return b64encode(secret.encode())


@contextmanager
def _as_silence(phase: Phase, peer: Peer) -> Iterator[None]:
    """Any exception of the library or the system for a missing reply becomes NoReply; a refused session becomes
    Refused."""
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        raise HostRefused(phase, read_reply(phase, error.code, error.message, peer)) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise silence(phase, peer, error) from error


def _until(seconds: float, deadline: float) -> float:
    """So many seconds, limited by the time until the deadline."""
    return max(min(seconds, deadline - asyncio.get_running_loop().time()), 0.1)
