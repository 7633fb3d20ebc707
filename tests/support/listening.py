"""A scripted SMTP client, and a Reception that records the listener's calls."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.model.envelope import Envelope, Mailbox, Recipient
from gateway.model.ingress import Tls
from gateway.model.reply import Reply
from gateway.ports import Connection, Conversation

OK = Reply(250, "0.0", "OK")
GO = Reply(354, "", "Go on")
PATIENCE = 5.0


class Client:
    """One connection, used line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: tuple[str, int], greeted: bool = True, **options: Any) -> Client:
        client = cls(*await asyncio.open_connection(*address, **options))
        if greeted:
            assert await client.reply() == 220
        return client

    async def read_reply(self) -> tuple[int, list[str]]:
        """Code and lines of the next reply."""
        lines: list[str] = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), PATIENCE)).decode()
            assert line.endswith("\r\n"), f"no whole line: {line!r}"
            assert "\r" not in line[:-2], f"bare CR: {line!r}"
            lines.append(line[4:-2])
            if line[3] == " ":
                return int(line[:3]), lines

    async def reply(self) -> int:
        return (await self.read_reply())[0]

    async def text(self) -> str:
        """The next reply, one line expected."""
        code, lines = await self.read_reply()
        assert len(lines) == 1
        return f"{code} {lines[0]}"

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def say(self, *commands: str) -> int:
        """Send each command and wait for its reply; returns the last reply's code."""
        code = 0
        for command in commands:
            await self.send(command.encode() + b"\r\n")
            code = await self.reply()
        return code

    async def ask(self, command: str) -> str:
        await self.send(command.encode() + b"\r\n")
        return await self.text()

    async def open_data(self, rcpts: int = 1) -> None:
        """EHLO to 354."""
        assert await self.say("EHLO c.example", "MAIL FROM:<a@b.example>") == 250
        for number in range(rcpts):
            assert await self.say(f"RCPT TO:<r{number}@d.example>") == 250
        assert await self.say("DATA") == 354

    async def rest(self) -> bytes:
        """Everything until the server closes; octets sent before a reset are lost."""
        try:
            return await asyncio.wait_for(self.reader.read(-1), PATIENCE)
        except ConnectionError:
            return b""
        finally:
            await self.close()

    async def starttls(self, context: ssl.SSLContext) -> None:
        assert await self.say("STARTTLS") == 220
        await self.writer.start_tls(context, server_hostname="localhost")

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), PATIENCE)


@dataclass
class Taken:
    """One message that was finished."""

    envelope: Envelope
    rcpts: list[Recipient]
    content: bytes


@dataclass
class RecordedConversation:
    """Accepts everything, unless a hook decides otherwise."""

    connection: Connection
    hooks: dict[str, Callable[..., Any]]
    taken: list[Taken]
    calls: list[str] = field(default_factory=list)
    names: list[tuple[str, bool, Tls | None]] = field(default_factory=list)
    envelope: Envelope | None = None
    size: int | None = None
    rcpts: list[Recipient] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    async def _answer(self, name: str, default: Reply, *arguments: Any) -> Reply:
        self.calls.append(name)
        if name not in self.hooks:
            return default
        answer = self.hooks[name](*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    def _note(self, name: str, *arguments: Any) -> None:
        self.calls.append(name)
        if name in self.hooks:
            self.hooks[name](*arguments)

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        self.names.append((name, esmtp, tls))
        self._note("hello", name)

    def login(self, name: str) -> None:
        self._note("login", name)

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        return await self._answer("refuse", reply, reply, path)

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        self.envelope, self.size, self.rcpts, self.chunks = envelope, size, [], []
        return await self._answer("mail", OK, envelope)

    async def rcpt(self, recipient: Recipient) -> Reply:
        reply = await self._answer("rcpt", OK, recipient)
        if reply.positive:
            self.rcpts.append(recipient)
        return reply

    async def begin(self) -> Reply:
        return await self._answer("begin", GO)

    async def take(self, chunk: bytes) -> None:
        assert chunk
        self.chunks.append(chunk)
        self._note("take", chunk)

    async def finish(self) -> Reply:
        reply = await self._answer("finish", OK)
        assert self.envelope is not None
        self.taken.append(Taken(self.envelope, self.rcpts, b"".join(self.chunks)))
        return reply

    def answered(self, heard: bool) -> None:
        pass

    def lost(self) -> None:
        pass

    def abandon(self) -> None:
        self._note("abandon")

    def close(self) -> None:
        self._note("close")

    def count(self, name: str) -> int:
        return self.calls.count(name)


class RecordedReception:
    """Hooks replace the default answer: `RecordedReception(rcpt=lambda recipient: ...)`."""

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        self.hooks = hooks
        self.conversations: list[RecordedConversation] = []
        self.taken: list[Taken] = []

    async def connect(self, connection: Connection) -> Conversation | Reply:
        if "connect" in self.hooks:
            refusal = self.hooks["connect"](connection)
            if refusal is not None:
                return refusal
        conversation = RecordedConversation(connection, self.hooks, self.taken)
        self.conversations.append(conversation)
        return conversation

    @property
    def only(self) -> RecordedConversation:
        assert len(self.conversations) == 1
        return self.conversations[0]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for an action of the other side."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 what is waited for is in no hurry to tell
            await asyncio.sleep(0.005)
