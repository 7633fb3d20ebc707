"""SMTP spoken to a backend's hosts. The only file that knows aiosmtplib.

aiosmtplib's own `sendmail` and `data` rewrite line ends and addresses. Only its command, write and read-reply calls
are used, so that what goes out is what came in, octet for octet.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any, cast

import aiosmtplib

from gateway.config.backends import Backend as BackendSettings
from gateway.model.address import IPText
from gateway.model.reply import Reply
from gateway.net.host_backend import HostBackend
from gateway.net.mx import Host, HostFinder
from gateway.net.outcomes import NoReply, Peer, Phase, Refused, read_reply, tls_failed
from gateway.net.tls import ClientTls, TlsTrouble, certificate_trouble, client_tls, describe_session, explain_failure
from gateway.ports import Clock, Resolver

_HIGH_WATER = 256 * 1024
"""Octets that may wait in the transport before we wait for the host (promise P7)."""
_TRUSTED_IDLE = 1.0
"""Seconds of idleness after which a session is asked whether it still lives."""
_CLOSING = 421
_EHLO_UNKNOWN = (500, 502, 504)


class SmtpSession:
    """One open connection. After an exception it is over."""

    def __init__(
        self, smtp: aiosmtplib.SMTP, host: Host, peer: Peer, seconds: tuple[float, float], deadline: float
    ) -> None:
        """`seconds`: for the reply to a command, and to the final dot. `deadline`: until when the dot must have been
        sent, in the loop's time."""
        self.host = host
        self.peer = peer
        self.opened = _time()
        self.transactions = 0
        self.deadline = deadline
        self._smtp = smtp
        self._command_seconds, self._final_seconds = seconds
        self._clean = True
        self._last_used = self.opened
        self._writer: asyncio.StreamWriter | None = None

    @property
    def extensions(self) -> Mapping[str, str]:
        return self._smtp.esmtp_extensions

    @property
    def used(self) -> bool:
        return self.transactions > 0

    @property
    def connected(self) -> bool:
        return self._smtp.is_connected

    async def command(self, phase: Phase, verb: bytes, argument: bytes = b"") -> Reply:
        words = (verb, argument) if argument else (verb,)
        self._clean = False
        with self._over_on_error(), _as_silence(phase, self.peer):
            response = await self._smtp.execute_command(*words, timeout=self._patience())
            self._last_used = _time()
            return read_reply(phase, response.code, response.message, self.peer)

    async def is_ready(self) -> bool:
        """The connection lives and no transaction is open on it."""
        if not self.connected:
            return False
        if self._clean and _time() - self._last_used < _TRUSTED_IDLE:
            return True
        try:
            self._clean = (await self.command(Phase.MAIL, b"RSET")).code == 250
        except NoReply:
            return False
        return self._clean

    async def send_content(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        protocol = self._smtp.protocol
        if protocol is None:
            raise NoReply(Phase.CONTENT, Reply(451, "4.2", f"{self.peer.host} closed the connection"))
        # Reading starts first: a host may refuse in the middle of the content, and what comes unawaited is dropped.
        reading = asyncio.ensure_future(protocol.read_response())
        try:
            await asyncio.sleep(0)
            with self._over_on_error():
                early, held = await self._send_all_but_last(pieces, reading)
                if early is not None:
                    self.abort()
                    return Phase.CONTENT, early
                self._send(held + b".\r\n")
                reply = await self._await_reply(Phase.DOT, reading, self._final_seconds)
        finally:
            reading.cancel()
        self.transactions += 1
        self._last_used = _time()
        self._clean = True
        if reply.code == _CLOSING:
            self.close()
        return Phase.DOT, reply

    async def _send_all_but_last(
        self, pieces: AsyncGenerator[bytes, None], reading: asyncio.Future[aiosmtplib.SMTPResponse]
    ) -> tuple[Reply | None, bytes]:
        """The refusal that came early, if any, and the piece that is still to be sent."""
        held = b""
        async with aclosing(pieces):
            async for piece in pieces:
                if held:
                    self._send(held)
                    await self._drain(reading)
                if reading.done():
                    reply = await self._await_reply(Phase.CONTENT, reading, 0)
                    if reply.code < 400:
                        raise NoReply(Phase.CONTENT, Reply(451, "5.0", f"{self.peer.host} answered before the end"))
                    return reply, b""
                held = piece
        return None, held

    def _send(self, octets: bytes) -> None:
        with _as_silence(Phase.CONTENT, self.peer):
            if self._smtp.protocol is None:
                raise ConnectionResetError
            self._smtp.protocol.write(octets)

    async def _drain(self, reading: asyncio.Future[aiosmtplib.SMTPResponse]) -> None:
        """Wait until the host has taken enough of what was written, or says something."""
        transport, protocol = self._transport(), self._smtp.protocol
        if transport is None or protocol is None or transport.get_write_buffer_size() <= _HIGH_WATER:
            return
        if self._writer is None:
            # The public way to the protocol's flow control; it must live as long as the connection.
            self._writer = asyncio.StreamWriter(transport, protocol, None, asyncio.get_running_loop())
        draining = asyncio.ensure_future(self._writer.drain())
        either: set[asyncio.Future[Any]] = {draining, reading}
        done, _ = await asyncio.wait(either, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED)
        with _as_silence(Phase.CONTENT, self.peer):
            if not done:
                raise TimeoutError
            if not draining.cancel():
                draining.result()

    async def _await_reply(
        self, phase: Phase, reading: asyncio.Future[aiosmtplib.SMTPResponse], seconds: float
    ) -> Reply:
        with _as_silence(phase, self.peer):
            response = await asyncio.wait_for(reading, seconds)
            return read_reply(phase, response.code, response.message, self.peer)

    def _patience(self) -> float:
        return max(min(self._command_seconds, self.deadline - _time()), 0.1)

    @contextmanager
    def _over_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.abort()
            raise

    def close(self) -> None:
        """Say goodbye without waiting for the answer."""
        if self._smtp.protocol is not None and self.connected:
            self._smtp.protocol.write(b"QUIT\r\n")
        self._smtp.close()

    def abort(self) -> None:
        """Drop the connection: what was written and not yet sent is discarded."""
        transport = self._transport()
        if transport is not None:
            transport.abort()
        self._smtp.close()

    def _transport(self) -> asyncio.WriteTransport | None:
        # A cast, not isinstance: uvloop's transports do not derive from asyncio's.
        return cast("asyncio.WriteTransport | None", self._smtp.transport)


class SmtpDialer:
    """Opens sessions with a backend's hosts: greeting, EHLO, and TLS as the backend asks for it."""

    def __init__(self, settings: BackendSettings, hostname: str) -> None:
        """`hostname` is our name in EHLO unless the settings have one. Raises OSError: authorities not readable."""
        self._name = settings.ehlo_name or hostname
        self._seconds = (settings.command_seconds, settings.final_seconds)
        self._tls: ClientTls = client_tls(settings)

    async def open(self, host: Host, address: IPText, deadline: float) -> SmtpSession:
        """A session on which MAIL may follow. Raises NoReply and Refused.

        Opportunistic TLS goes down one step at a time, each on a connection of its own: a certificate that proves
        nothing is better than none, and plain text is better than no delivery (RFC 7435).
        """
        if self._tls.mode == "off":
            return await self._dial(host, address, deadline, None, "")
        try:
            return await self._dial(host, address, deadline, self._tls.verifying, "")
        except TlsTrouble as trouble:
            if self._tls.mode == "required":
                raise tls_failed(Peer(host.name, address), trouble.why, trouble.certificate) from trouble
            why = trouble.why
            unproven = trouble.certificate
        if unproven:
            try:
                return await self._dial(host, address, deadline, self._tls.trusting, f"unverified ({why})")
            except TlsTrouble as trouble:
                why = trouble.why
        return await self._dial(host, address, deadline, None, f"unverified (TLS failed: {why}; sent in plain text)")

    async def _dial(
        self, host: Host, address: IPText, deadline: float, context: ssl.SSLContext | None, certificate: str
    ) -> SmtpSession:
        """One connection; under TLS with `context`. Raises NoReply, Refused and TlsTrouble."""
        seconds = max(min(self._seconds[0], deadline - _time()), 0.1)
        smtp = aiosmtplib.SMTP(
            hostname=address, port=host.port, local_hostname=self._name, start_tls=False, timeout=seconds
        )
        peer = Peer(host.name, address, certificate=certificate)
        with _as_silence(Phase.GREETING, peer):
            await smtp.connect()
        try:
            await _greet(smtp, peer)
            offered = smtp.supports_extension("starttls")
            if context is not None and (offered or self._tls.mode == "required"):
                peer = await self._secure(smtp, peer, context)
                await _greet(smtp, peer)
        except BaseException:
            smtp.close()
            raise
        return SmtpSession(smtp, host, peer, self._seconds, deadline)

    async def _secure(self, smtp: aiosmtplib.SMTP, peer: Peer, context: ssl.SSLContext) -> Peer:
        try:
            await smtp.starttls(server_hostname=peer.host, tls_context=context)
            session: ssl.SSLObject = smtp.get_transport_info("ssl_object")
        except aiosmtplib.SMTPResponseException as error:
            raise TlsTrouble(f"STARTTLS answered {error.code} {error.message}") from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise TlsTrouble(explain_failure(error), isinstance(error, ssl.SSLCertVerificationError)) from error
        tls = describe_session(session)
        if context is self._tls.trusting:
            return replace(peer, tls=tls)
        why = certificate_trouble(session.getpeercert() or {}, self._tls.expected(peer.host))
        if why and self._tls.mode == "required":
            raise TlsTrouble(why, certificate=True)
        return replace(peer, tls=tls, certificate=f"unverified ({why})" if why else "verified")


def make_smtp_backend(
    name: str, settings: BackendSettings, resolver: Resolver, clock: Clock, hostname: str
) -> HostBackend:
    """A backend of the configuration. Reads its authorities from disk. Raises OSError and ValueError (hosts)."""
    hosts = HostFinder(settings.hosts, settings.address_family, resolver, hostname, clock.jitter)
    return HostBackend(name, settings, hosts, SmtpDialer(settings, hostname))


async def _greet(smtp: aiosmtplib.SMTP, peer: Peer) -> None:
    with _as_silence(Phase.HELLO, peer):
        try:
            await smtp.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in _EHLO_UNKNOWN:
                raise
            await smtp.helo()  # RFC 5321 section 3.2


@contextmanager
def _as_silence(phase: Phase, peer: Peer) -> Iterator[None]:
    """Whatever the library or the system raises when there is no reply becomes NoReply; a refused session, Refused."""
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        raise Refused(phase, read_reply(phase, error.code, error.message, peer)) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        detail = "4.1" if phase in (Phase.GREETING, Phase.HELLO) else "4.2"
        reply = Reply(451, detail, f"{peer.host} [{peer.address}]: {_explain(phase, error)}")
        raise NoReply(phase, reply) from error


def _explain(phase: Phase, error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in time ({phase.value})"
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError) and cause.errno:
        return f"{os.strerror(cause.errno)} ({phase.value})"
    return f"connection lost ({phase.value})"


def _time() -> float:
    return asyncio.get_running_loop().time()
