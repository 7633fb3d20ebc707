"""One SMTP session (RFC 5321): aiosmtpd's protocol, with our own command loop and commands."""

from __future__ import annotations

import asyncio
from typing import cast

from aiosmtpd.smtp import SMTP

from gateway.mail.framing import DataFraming
from gateway.mail.path import parse_path
from gateway.model.address import IPText, ip_text
from gateway.model.ingress import Tls
from gateway.model.reply import REPLIES, Reply
from gateway.service.listener.arrival import HealthCheck, identify, read_tls
from gateway.service.listener.command import (
    BEFORE_TLS,
    COMMAND_OCTETS,
    CONSTANT,
    NOT_HERE,
    is_client_name,
    read_chunk,
    read_command,
)
from gateway.service.listener.dialogue import Dialogue
from gateway.service.listener.house import House
from gateway.service.listener.inflow import Inflow, SessionOver
from gateway.service.listener.parameters import read_recipient, read_sender

_CHUNK = 262_144
_TURN = 32
"""Commands after which other sessions get their turn, however many this client has pipelined."""
_UNREAD = 65_536
"""Octets of replies that a client may leave unread."""
_HANDSHAKE_SECONDS = 60.0
_LINGER_SECONDS = 10.0
"""How long the last reply may take to leave."""

_TOO_LONG = Reply(500, "5.2", "Command line too long")
_UNKNOWN = Reply(500, "5.1", "Command not recognised")
_TLS_FIRST = Reply(530, "7.0", "Must issue a STARTTLS command first")
_HELLO_FIRST = Reply(503, "5.1", "Send EHLO or HELO first")
_EARLY = Reply(554, "5.1", "You talk before you are greeted")
_INJECTION = Reply(554, "5.1", "Nothing may follow STARTTLS before TLS is up")
_TOO_MANY_COMMANDS = Reply(421, "7.0", "Too many commands")
_TOO_MANY_ERRORS = Reply(421, "7.0", "Too many errors")


class SmtpSession(SMTP):
    """The connection's protocol and the session's task in one.

    Of aiosmtpd it keeps the connection, the task and the table of commands. Its loop is replaced, because that ends
    commands at a bare LF, cancels a running commit when the client leaves, answers a bug of ours with 500, and forgets
    the PROXY address at STARTTLS. Each command is a method `smtp_VERB` that returns its reply.
    """

    def __init__(self, house: House) -> None:
        loop = asyncio.get_running_loop()
        self._house = house
        self._settings = house.settings
        self._inflow = Inflow(loop)
        self._end_at = loop.time() + house.settings.limits.session_seconds
        self._loop = loop
        self._pipe: asyncio.Transport
        self._client: IPText | None = None
        self._greeted = False
        self._secured = False
        self._tls: Tls | None = None
        self._commands = 0
        self._errors = 0
        self._dialogue = Dialogue(HealthCheck(), house.settings.limits.message_size, house.report)
        super().__init__(None, hostname=house.settings.hostname, loop=loop)

    def __dir__(self) -> list[str]:
        # aiosmtpd asks twice for all our members, for each connection, to find the commands among them: 0.25 ms
        return _COMMANDS

    @property
    def task(self) -> asyncio.Task[None]:
        assert self._handler_coroutine is not None
        return self._handler_coroutine

    def stop(self, reply: Reply) -> None:
        self._inflow.stop(reply)

    def abort(self) -> None:
        self._pipe.abort()

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._attach(transport)
        super().connection_made(transport)
        self._house.enter(self)

    def data_received(self, data: bytes) -> None:
        self._inflow.feed(data)

    def eof_received(self) -> bool:
        """The client sends no more. Without TLS it can still read our reply."""
        self._inflow.end()
        return not self._secured

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. The session finds out when it next reads or writes: a commit is not cancelled."""
        self._inflow.end()
        self._house.disconnect(self)
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's timer would run during a commit; ours is the Inflow's."""

    # the session

    async def _handle_client(self) -> None:
        try:
            await self._greet()
            while True:
                await self._serve_command()
        except SessionOver as over:
            if over.reply is not None:
                self._write(over.reply)
        except Exception as error:  # of `connect`, or of ours: how far the client's octets were read is not known
            self._write(Reply(421, "3.0", f"Internal error, try again later ({self._house.report(error)})"))
        finally:
            self._leave()

    async def _greet(self) -> None:
        """Everything before the first command: who it is, whether it may come in, and our 220."""
        if not self._house.census.arrive():
            raise SessionOver(REPLIES["too-busy"])
        peer = self._pipe.get_extra_info("peername")
        if not peer:
            raise SessionOver(None)  # gone before we looked
        connection = await identify(self._inflow, ip_text(peer[0]), self._house)
        if connection is not None:
            self._client = connection.client
            if not self._house.census.admit(self._client):
                raise SessionOver(REPLIES["too-busy"])
        await asyncio.sleep(self._settings.greet_pause)
        if len(self._inflow):
            raise SessionOver(_EARLY)
        if connection is not None:
            conversation = self._house.reception.connect(connection)
            if isinstance(conversation, Reply):
                raise SessionOver(conversation)
            self._dialogue = Dialogue(conversation, self._settings.limits.message_size, self._house.report)
        self._write(Reply(220, "", f"{self._settings.hostname} {self._settings.banner}"))

    async def _serve_command(self) -> None:
        line = await self._inflow.read_line(COMMAND_OCTETS, self._due(self._settings.limits.command_seconds))
        if self._house.draining and self._dialogue.idle:
            raise SessionOver(REPLIES["shutting-down"])
        self._commands += 1
        if self._commands > self._settings.limits.commands:
            raise SessionOver(_TOO_MANY_COMMANDS)
        if self._commands % _TURN == 0:
            await asyncio.sleep(0)
        reply = await self._obey(line)
        if reply is not None:
            await self._tell(reply)

    async def _obey(self, line: bytes | None) -> Reply | None:
        if line is None:
            return _TOO_LONG
        command, argument = read_command(line)
        if command in CONSTANT:
            return CONSTANT[command]
        method = self._smtp_methods.get(command)
        if method is None:
            return _UNKNOWN
        if self._must_secure and command not in BEFORE_TLS:
            return _TLS_FIRST
        reply: Reply | None = await method(argument)
        return reply

    async def smtp_EHLO(self, argument: str) -> Reply:
        return self._hello(
            argument, True, "\n".join((self._settings.hostname, *self._settings.name_extensions(self._secured)))
        )

    async def smtp_HELO(self, argument: str) -> Reply:
        return self._hello(argument, False, self._settings.hostname)

    async def smtp_MAIL(self, argument: str) -> Reply:
        if not self._greeted:
            return _HELLO_FIRST
        path = parse_path(argument, "FROM")
        if path is None:
            return Reply(501, "1.7", "Syntax: MAIL FROM:<address> [parameters]")
        read = read_sender(path, self._settings.extensions, self._settings.limits.message_size)
        return read if isinstance(read, Reply) else await self._dialogue.mail(*read)

    async def smtp_RCPT(self, argument: str) -> Reply:
        path = parse_path(argument, "TO")
        if path is None:
            return Reply(501, "1.3", "Syntax: RCPT TO:<address> [parameters]")
        recipient = read_recipient(path, self._settings.extensions, self._dialogue.smtputf8)
        return recipient if isinstance(recipient, Reply) else await self._dialogue.rcpt(recipient)

    async def smtp_DATA(self, argument: str) -> Reply:
        if argument:
            return Reply(501, "5.4", "Syntax: DATA")
        start = await self._dialogue.begin(chunked=False)
        if start.code != 354:
            return start
        self._write(start)
        framing = DataFraming()
        while not framing.done:
            octets = await self._inflow.read(_CHUNK, self._due(self._settings.limits.data_seconds))
            await self._dialogue.take(framing.feed(octets))
        self._inflow.unread(framing.rest)
        return await self._finish()

    async def smtp_BDAT(self, argument: str) -> Reply:
        if "CHUNKING" not in self._settings.extensions:
            raise SessionOver(NOT_HERE)
        size, last = read_chunk(argument)
        start = _TLS_FIRST if self._must_secure else await self._dialogue.begin(chunked=True)
        left = size
        while left:  # RFC 3030 section 2: the chunk is read also when it is refused
            octets = await self._inflow.read(min(left, _CHUNK), self._due(self._settings.limits.data_seconds))
            left -= len(octets)
            await self._dialogue.take(octets)
        if start.code != 354:
            return start
        if last:
            return await self._finish()
        return self._dialogue.refusal or Reply(250, "0.0", f"{size} octets taken")

    async def smtp_RSET(self, argument: str) -> Reply:
        self._dialogue.reset()
        return CONSTANT["NOOP"]

    async def smtp_STARTTLS(self, argument: str) -> Reply | None:
        context = self._settings.tls
        if context is None or "STARTTLS" not in self._settings.extensions:
            return NOT_HERE
        if argument:
            return Reply(501, "5.4", "Syntax: STARTTLS")
        if self._secured:
            return Reply(503, "5.1", "TLS is up already")
        if len(self._inflow):
            raise SessionOver(_INJECTION)  # CVE-2011-0411: plain text read as if it had come under TLS
        self._write(Reply(220, "0.0", "Ready to start TLS"))
        self._secured = True
        try:
            await self._writer.start_tls(context, ssl_handshake_timeout=_HANDSHAKE_SECONDS)
        except OSError:
            self._house.disconnect(self)  # the TLS layer has gone with the handshake, and tells us no more
            raise SessionOver(None) from None
        self._attach(self._writer.transport)
        self._tls = read_tls(self._pipe)
        self._dialogue.reset()
        self._greeted = False  # RFC 3207 section 4.2: what was said before TLS counts for nothing
        return None

    # helpers

    @property
    def _must_secure(self) -> bool:
        return self._settings.require_tls and self._tls is None

    def _attach(self, transport: asyncio.BaseTransport) -> None:
        self._pipe = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._inflow.attach(self._pipe)

    def _due(self, seconds: float) -> float:
        return min(self._loop.time() + seconds, self._end_at)

    def _hello(self, name: str, esmtp: bool, text: str) -> Reply:
        if not is_client_name(name):
            return Reply(501, "5.4", "Syntax: EHLO name" if esmtp else "Syntax: HELO name")
        failure = self._dialogue.hello(name, esmtp, self._tls)
        self._greeted = failure is None
        return failure or Reply(250, "", text)

    async def _finish(self) -> Reply:
        reply = await self._dialogue.finish()
        if reply.positive:  # the limits are for sessions that bring no mail
            self._commands = self._errors = 0
        return reply

    async def _tell(self, reply: Reply) -> None:
        """Send a reply, and end the session with 421 and 221, and after too many refusals."""
        if reply.code in (221, 421):
            raise SessionOver(reply)
        self._write(reply)
        if reply.permanent:
            self._errors += 1
            if self._errors >= self._settings.limits.errors:
                raise SessionOver(_TOO_MANY_ERRORS)
        if self._pipe.get_write_buffer_size() > _UNREAD:
            try:
                async with asyncio.timeout(self._settings.limits.command_seconds):
                    await self._writer.drain()
            except (TimeoutError, OSError):
                raise SessionOver(None) from None

    def _write(self, reply: Reply) -> None:
        if not self._pipe.is_closing():
            self._pipe.write(reply.wire())

    def _leave(self) -> None:
        self._dialogue.close()
        self._inflow.close()
        self._house.census.depart()
        if self._client is not None:
            self._house.census.release(self._client)
        self._house.guests.discard(self)
        if self._pipe.get_write_buffer_size():
            self._loop.call_later(_LINGER_SECONDS, self._pipe.abort)
        self._pipe.close()


_COMMANDS = [name for name in vars(SmtpSession) if name.startswith("smtp_")]
