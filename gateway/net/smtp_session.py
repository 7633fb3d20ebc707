"""A session with a host for mail transactions in turn: its commands, replies and time limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager

from gateway.model.reply import Reply
from gateway.model.value import Value
from gateway.net.mx import Host
from gateway.net.outcomes import NoReply, Peer, Phase, read_reply
from gateway.net.wire import NotSmtp, ReplyStream

_TRUSTED_IDLE = 1.0
"""Seconds of idleness after which a session is tested before use."""
_CLOSING = 421


class Patience(Value):
    """The time limits for a host, in seconds (RFC 5321 section 4.5.3.2)."""

    command: float
    """For the reply to a command."""
    data: float
    """For the reply to DATA."""
    block: float
    """For taking a piece of content."""
    final: float
    """For the reply to the end of the content."""


class BackendSession:
    """One open connection, greeted and with TLS as configured. After an exception it is over."""

    def __init__(
        self,
        stream: ReplyStream,
        extensions: Mapping[str, str],
        host: Host,
        peer: Peer,
        patience: Patience,
        deadline: float,
    ) -> None:
        """`deadline`: the loop's time by which the content must have been sent."""
        self.host = host
        self.peer = peer
        self.extensions = extensions
        self.opened = _time()
        self.transactions = 0
        self.deadline = deadline
        self._stream = stream
        self._patience = patience
        self._clean = True
        self._last_used = self.opened

    @property
    def used(self) -> bool:
        return self.transactions > 0

    @property
    def connected(self) -> bool:
        return self._stream.connected

    def say(self, phase: Phase, *commands: bytes) -> None:
        """Send commands; `hear` returns the replies in the same order."""
        self._clean = False
        self._write(phase, b"".join(command + b"\r\n" for command in commands), len(commands))

    async def hear(self, phase: Phase) -> Reply:
        """The next reply. A host that replies 421 closes the session (RFC 5321 section 3.8)."""
        most = self._patience.data if phase is Phase.DATA else self._patience.command
        return await self._hear(phase, self._until(most))

    async def ask(self, phase: Phase, command: bytes) -> Reply:
        """One command, one reply."""
        self.say(phase, command)
        return await self.hear(phase)

    async def is_ready(self) -> bool:
        """The connection works and no transaction is open on it."""
        if not self.connected or self._stream.answered:
            return False
        if self._clean and _time() - self._last_used < _TRUSTED_IDLE:
            return True
        try:
            self._clean = (await self.ask(Phase.MAIL, b"RSET")).code == 250
        except NoReply:
            return False
        return self._clean

    async def send_content(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        """The content by DATA; `pieces` are already stuffed."""
        replies = 1
        with self._over_on_error():
            held = b""
            async with aclosing(pieces):
                async for piece in pieces:
                    if self._stream.answered:
                        return Phase.CONTENT, await self._early()
                    if held:
                        await self._push(held, replies)
                        replies = 0
                    held = piece
            self._write(Phase.CONTENT, held + b".\r\n", replies)
            return Phase.DOT, await self._conclude()

    async def send_chunks(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        """The content by BDAT (RFC 3030 section 2), unchanged."""
        ahead = "pipelining" in self.extensions
        unheard = 0
        with self._over_on_error():
            held: bytes | None = None
            async with aclosing(pieces):
                async for piece in pieces:
                    if held is not None:
                        await self._push(b"BDAT %d\r\n" % len(held) + held, 1)
                        unheard += 1
                    while unheard and (self._stream.answered or not ahead):
                        reply = await self.hear(Phase.CONTENT)
                        unheard -= 1
                        if not reply.positive:
                            self.abort()
                            return Phase.CONTENT, reply
                    held = piece
            last = held or b""
            self._write(Phase.CONTENT, b"BDAT %d LAST\r\n" % len(last) + last, 1)
            for _ in range(unheard):
                reply = await self._hear(Phase.DOT, self._patience.final)
                if not reply.positive:
                    self.abort()
                    return Phase.DOT, reply
            return Phase.DOT, await self._conclude()

    async def _push(self, octets: bytes, replies: int) -> None:
        """Write a piece of content, and wait while the host takes it."""
        self._write(Phase.CONTENT, octets, replies)
        with _as_silence(Phase.CONTENT, self.peer):
            await self._stream.drain(self._until(self._patience.block))

    async def _early(self) -> Reply:
        """A host may refuse in the middle of the content. The session then ends, because the rest is not sent."""
        reply = await self._hear(Phase.CONTENT, 0.1)
        if reply.code < 400:
            raise NoReply(Phase.CONTENT, Reply(451, "5.0", f"{self.peer.host} answered before the end"))
        self.abort()
        return reply

    async def _conclude(self) -> Reply:
        """The reply to the end of the content."""
        reply = await self._hear(Phase.DOT, self._patience.final)
        self.transactions += 1
        self._clean = True
        return reply

    def _write(self, phase: Phase, octets: bytes, replies: int) -> None:
        with self._over_on_error(), _as_silence(phase, self.peer):
            self._stream.write(octets, replies)

    async def _hear(self, phase: Phase, seconds: float) -> Reply:
        with self._over_on_error(), _as_silence(phase, self.peer):
            try:
                code, text = await self._stream.read(seconds)
            except asyncio.CancelledError:
                if phase is not Phase.DOT or not self._stream.replied:
                    raise
                code, text = self._stream.take()  # the result of the message matters more than the end of the wait
        with self._over_on_error():
            reply = read_reply(phase, code, text, self.peer)
        self._last_used = _time()
        if reply.code == _CLOSING:
            self.close()
        return reply

    def _until(self, seconds: float) -> float:
        """So many seconds, limited by the time left for the attempt."""
        return max(min(seconds, self.deadline - _time()), 0.1)

    @contextmanager
    def _over_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.abort()
            raise

    def close(self) -> None:
        """Say goodbye without waiting for the answer."""
        if self.connected:
            self._stream.write(b"QUIT\r\n", replies=1)
        self._stream.close()

    def abort(self) -> None:
        """Drop the connection: written but unsent octets are discarded."""
        self._stream.abort()


@contextmanager
def _as_silence(phase: Phase, peer: Peer) -> Iterator[None]:
    """Any exception during the wait for a reply becomes NoReply."""
    try:
        yield
    except NotSmtp as error:
        raise NoReply(
            phase, Reply(451, "5.0", f"{peer.host} [{peer.address}]: no SMTP reply ({phase.value})")
        ) from error
    except OSError as error:
        raise silence(phase, peer, error) from error


def silence(phase: Phase, peer: Peer, error: BaseException) -> NoReply:
    """The host gave no reply: the reason, in our words."""
    detail = "4.1" if phase in (Phase.GREETING, Phase.HELLO) else "4.2"
    return NoReply(phase, Reply(451, detail, f"{peer.host} [{peer.address}]: {_explain(phase, error)}"))


def _explain(phase: Phase, error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in time ({phase.value})"
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError) and cause.errno:
        return f"{os.strerror(cause.errno)} ({phase.value})"
    return f"connection lost ({phase.value})"


def _time() -> float:
    return asyncio.get_running_loop().time()
