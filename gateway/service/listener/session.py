"""One SMTP session (RFC 5321): aiosmtpd's protocol, with our own command loop and commands."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

from aiosmtpd.smtp import SMTP

from gateway.mail.path import parse_path
from gateway.model.envelope import ip_text
from gateway.model.ingress import Tls
from gateway.model.reply import REPLIES, Reply
from gateway.service.listener import parameters
from gateway.service.listener.arrival import ClientIdentity, HealthCheck
from gateway.service.listener.dialogue import Dialogue
from gateway.service.listener.encryption import TlsLayer, name_failure, read_tls, start_tls
from gateway.service.listener.inflow import Awaited, ClientPatience, Inflow, SessionOver, read_chunk_of, read_data
from gateway.service.listener.listener_state import FREE_COMMANDS, ListenerState
from gateway.service.listener.login import RESPONSE_OCTETS, Login
from gateway.service.listener.outflow import Outflow, ReplyTracker
from gateway.service.listener.parameters import (
    BEFORE_TLS,
    COMMAND_OCTETS,
    CONSTANT,
    NOT_HERE,
    read_chunk,
    read_client_name,
    read_command,
    read_recipient,
    read_sender,
)


class SmtpSession(SMTP):
    """The connection's protocol and the session's task in one.

    It keeps aiosmtpd's connection, task and table of commands. It replaces aiosmtpd's loop, because that ends commands
    at a bare LF, cancels a running commit when the client leaves, answers a bug of ours with 500, and forgets the PROXY
    address at STARTTLS. Each command is a method `smtp_VERB` that returns its reply.
    """

    _dissolved = False
    """All its parts are released."""

    def __init__(self, state: ListenerState) -> None:
        loop = asyncio.get_running_loop()
        self._state = state
        self._settings = state.settings
        self._inflow = Inflow(loop, partial(state.note_held, self))
        end_at = loop.time() + state.settings.limits.session_seconds
        self._patience = ClientPatience(loop.time, end_at, state.connections.pressure)
        self._loop = loop
        self._outflow = Outflow(silent=state.settings.implicit_tls)
        self._identity = ClientIdentity(state)
        self._login = Login(state, self._challenge)
        self._receipt = ReplyTracker(lambda heard: self._dialogue.answered(heard), self._outflow.look)
        self._greeted = False
        self._extensions = state.settings.extensions + (("AUTH",) if state.settings.credentials else ())
        self._secured = False
        self._layer: TlsLayer | None = None
        self._tls: Tls | None = None
        self._commands = self._errors = 0
        self._over = False
        self._dialogue = Dialogue(HealthCheck(), state.settings.limits.message_size, state.report)
        super().__init__(None, hostname=state.settings.hostname, loop=loop)

    def __dir__(self) -> list[str]:
        # aiosmtpd reads all our members twice for each connection to find the commands: 0.25 ms
        return _COMMANDS

    @property
    def task(self) -> asyncio.Task[None]:
        assert self._handler_coroutine is not None
        return self._handler_coroutine

    def stop(self, reply: Reply) -> None:
        self._patience.go_on()
        self._inflow.stop(reply)

    @property
    def gives_way_at(self) -> float | None:
        free = self._dialogue.idle and self._commands <= FREE_COMMANDS
        return self._patience.rests_until(free)

    def give_way(self, reply: Reply) -> None:
        if self._patience.wait is Awaited.HANDSHAKE:
            self._patience.go_on()
            self.abort()
        else:
            self.stop(reply)

    @property
    def proven(self) -> bool:
        """A recipient was accepted: the session has mail for us."""
        return self._dialogue.proven

    def retire(self, reply: Reply) -> None:
        if self._patience.wait is Awaited.COMMAND and self._dialogue.idle:
            self._inflow.stop(reply)

    def abort(self) -> None:
        self._outflow.pipe.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._attach(transport)
        super().connection_made(transport)
        self._state.enter(self)

    def data_received(self, data: bytes) -> None:
        self._inflow.feed(data)

    def eof_received(self) -> bool:
        """The client sends no more. Without TLS it can still read our reply."""
        self._inflow.end()
        return not self._secured

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. The session finds out at its next read or write: a commit is not cancelled."""
        if self._dissolved:
            return  # the TLS layer that went with the handshake
        self._receipt.lost(error, self._inflow.ended)
        self._dialogue.lost()
        self._outflow.end()
        self._inflow.end()
        self._identity.leave()
        self._state.disconnect(self)
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if self._over:
            self._dissolve()

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's timer would run during a commit; the Inflow has a timer of its own."""

    async def _handle_client(self) -> None:
        try:
            await self._greet()
            while True:
                await self._serve_command()
        except SessionOver as over:
            if over.reason:
                self._state.journal.note(over.reason, self._identity.client or "")
            if over.reply is not None:
                self._outflow.write(over.reply)
        except Exception as error:  # of `connect`, or of ours: the position in the client's octets is unknown
            self._outflow.write(Reply(421, "3.0", f"Internal error, try again later ({self._state.report(error)})"))
        finally:
            await self._receipt.close()
            self._leave()

    async def _greet(self) -> None:
        """Everything before the first command: the client's identity, its admission, and our 220."""
        peer = self._outflow.pipe.get_extra_info("peername")
        if not peer:
            raise SessionOver(None)  # gone before its first turn
        await self._identity.arrive(self._inflow, ip_text(peer[0]))
        if self._settings.implicit_tls:
            await self._secure()
        await asyncio.sleep(self._settings.greet_pause)
        if len(self._inflow):
            raise SessionOver(parameters.EARLY, "early-talker")
        self._dialogue = await self._identity.meet()
        self._outflow.write(self._greeting())

    def _greeting(self) -> Reply:
        return Reply(220, "", f"{self._settings.hostname} {self._settings.banner}")

    async def _serve_command(self) -> None:
        if self._state.draining and self._dialogue.idle:
            raise SessionOver(REPLIES["shutting-down"])
        line = await self._wait_for_line(Awaited.COMMAND, COMMAND_OCTETS)
        self._receipt.spoke()
        if self._state.draining and self._dialogue.idle:
            raise SessionOver(REPLIES["shutting-down"])
        self._commands += 1
        if self._commands > self._settings.limits.commands:
            raise SessionOver(parameters.TOO_MANY_COMMANDS, "too-many-commands")
        await self._state.take_turns(self._commands, self._identity.network)
        if self._outflow.gone and not self.proven:
            raise SessionOver(None)  # no client is left for the replies to its other commands
        reply = await self._obey(line)
        if self._settings.debug:
            self._state.note_exchange(self._identity.client, line, reply)
        if reply is not None:
            await self._tell(reply)

    async def _obey(self, line: bytes | None) -> Reply | None:
        if line is None:
            return parameters.TOO_LONG
        command, argument = read_command(line)
        if command in CONSTANT:
            return CONSTANT[command]
        method = self._smtp_methods.get(command)
        if method is None:
            return parameters.UNKNOWN
        if self._settings.require_tls and self._tls is None and command not in BEFORE_TLS:
            return parameters.TLS_FIRST
        reply: Reply | None = await method(argument)
        return reply

    async def smtp_EHLO(self, argument: str) -> Reply:
        offered = self._settings.name_extensions(self._secured, self._identity.may_introduce)
        return self._hello(argument, True, "\n".join((self._settings.hostname, *offered)))

    async def smtp_HELO(self, argument: str) -> Reply:
        return self._hello(argument, False, self._settings.hostname)

    async def smtp_MAIL(self, argument: str) -> Reply:
        if not self._greeted:
            return parameters.HELLO_FIRST
        if self._login.due:
            return parameters.LOGIN_FIRST  # RFC 6409 section 4.3
        if self._commands <= FREE_COMMANDS:
            self._patience.restart()
        devices = self._settings.devices
        path = parse_path(argument, "FROM", devices) or (self._dialogue.force_sender(argument) if devices else None)
        if path is None:
            return await self._dialogue.refuse_sender(parameters.SYNTAX_MAIL)
        read = read_sender(path, self._extensions, self._settings.limits.message_size)
        if isinstance(read, Reply):
            return await self._dialogue.refuse_sender(read, path.mailbox)
        return await self._dialogue.mail(*read)

    async def smtp_RCPT(self, argument: str) -> Reply:
        path = parse_path(argument, "TO", self._settings.devices)
        if path is None:
            return await self._dialogue.refuse(parameters.SYNTAX_RCPT)
        self._patience.restart()
        recipient = read_recipient(path, self._settings.extensions, self._dialogue.smtputf8)
        if isinstance(recipient, Reply):
            return await self._dialogue.refuse(recipient, path.mailbox)
        return await self._dialogue.rcpt(recipient)

    async def smtp_DATA(self, argument: str) -> Reply:
        if argument:
            return await self._dialogue.refuse(parameters.SYNTAX_DATA)
        start = await self._dialogue.begin(chunked=False)
        if start.code != 354:
            return start
        self._widen()
        self._outflow.write(start)
        await read_data(self._inflow, self._dialogue, self._data_due)
        return await self._finish()

    async def smtp_BDAT(self, argument: str) -> Reply:
        if "CHUNKING" not in self._settings.extensions:
            raise SessionOver(NOT_HERE)
        size, last = read_chunk(argument)
        secured = self._tls or not self._settings.require_tls
        start = await self._dialogue.begin(True) if secured else parameters.TLS_FIRST
        if start.code == 354:
            self._widen()
        await read_chunk_of(size, self._inflow, self._dialogue, self._data_due)
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
            return parameters.SYNTAX_STARTTLS
        if self._secured:
            return parameters.TLS_TWICE
        if len(self._inflow):  # CVE-2011-0411: plain text read as if it had come under TLS
            raise SessionOver(parameters.INJECTION, "starttls-injection")
        self._outflow.write(parameters.START_TLS)
        await self._secure()
        self._dialogue.reset()
        self._greeted = False  # RFC 3207 section 4.2: commands before TLS do not count
        return None

    async def smtp_AUTH(self, argument: str) -> Reply:
        if self._login.due and not self._greeted:
            return parameters.HELLO_FIRST
        return await self._login.attempt(argument, self._identity.client, self._tls is not None, self._dialogue)

    async def smtp_XCLIENT(self, argument: str) -> Reply:
        if not self._dialogue.idle:
            return parameters.IN_MAIL
        refusal = self._identity.introduce(argument)
        if refusal is not None:
            return refusal
        self._dialogue.close()
        self._dialogue = await self._identity.meet()
        self._greeted, self._login.name = False, ""
        return self._greeting()

    async def _secure(self) -> None:
        context = self._settings.tls
        assert context is not None
        self._secured = True
        self._patience.wait_for(Awaited.HANDSHAKE)
        try:
            ask_turn = partial(self._state.handshakes.ask, self._identity.network)
            self._layer = await start_tls(self._outflow.pipe, context, self._inflow.take_all, ask_turn)
        except OSError as error:
            self._identity.leave()
            self._state.disconnect(self)  # the TLS layer ended with the handshake, and reports nothing more
            raise SessionOver(None, name_failure(error)) from None
        finally:
            self._patience.go_on()
        self._attach(self._layer.outer)
        vars(self._writer)["_transport"] = self._layer.outer  # as StreamWriter.start_tls does
        self._outflow.unmute()
        self._tls = read_tls(self._outflow.pipe)

    async def _challenge(self, text: str) -> bytes | None:
        self._outflow.write(Reply(334, "", text))
        return await self._wait_for_line(Awaited.RESPONSE, RESPONSE_OCTETS)

    async def _wait_for_line(self, wait: Awaited, most: int) -> bytes | None:
        self._patience.wait_for(wait)
        line = await self._inflow.read_line(most, self._patience.due(self._settings.limits.command_seconds))
        self._patience.go_on()
        return line

    def _data_due(self, octets: int) -> float:
        return self._patience.content_due(self._settings.limits.data_seconds, octets)

    def _widen(self) -> None:
        self._inflow.widen()
        if self._layer is not None:
            self._layer.widen()

    def _attach(self, transport: asyncio.BaseTransport) -> None:
        pipe = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._outflow.attach(pipe)
        self._inflow.attach(pipe)

    def _hello(self, argument: str, esmtp: bool, text: str) -> Reply:
        name = read_client_name(argument, self._settings.devices, self._identity.client)
        if not name:
            return parameters.SYNTAX_EHLO if esmtp else parameters.SYNTAX_HELO
        failure = self._dialogue.hello(name, esmtp, self._identity.tls(self._tls))
        self._greeted = failure is None
        return failure or Reply(250, "", text)

    async def _finish(self) -> Reply:
        self._receipt.next()
        reply = await self._dialogue.finish()
        self._receipt.sent(gone=self._outflow.pipe.is_closing(), ahead=len(self._inflow) > 0)
        if reply.positive:  # the limits are for sessions that bring no mail
            self._commands = self._errors = 0
        return reply

    async def _tell(self, reply: Reply) -> None:
        """Send a reply. End the session after 421 and 221, and after too many refusals."""
        if reply.code in (221, 421):
            raise SessionOver(reply)
        self._outflow.write(reply, self._dialogue.smtputf8)
        if reply.permanent:
            self._errors += 1
            if self._errors >= self._settings.limits.errors:
                raise SessionOver(parameters.TOO_MANY_ERRORS, "too-many-errors")
        await self._outflow.wait_until_read(self._writer.drain, self._settings.limits.command_seconds)

    def _leave(self) -> None:
        self._dialogue.close()
        self._inflow.close()
        self._state.sessions.discard(self)
        self._over = True
        self._outflow.close()
        if self not in self._state.connected:
            self._identity.leave()
            self._dissolve()

    def _dissolve(self) -> None:
        """Session and connection are over: release everything, or its memory would wait for the garbage collector."""
        closed: asyncio.Future[None] = vars(self)["_closed"]
        if closed.done() and not closed.cancelled():
            closed.exception()  # otherwise asyncio warns that the exception was never retrieved
        vars(self).clear()
        self._dissolved = True


_COMMANDS = [name for name in vars(SmtpSession) if name.startswith("smtp_")]
