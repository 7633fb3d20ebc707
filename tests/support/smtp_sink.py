"""A scripted SMTP server on a real socket: it gives scripted answers, and keeps exactly the received octets."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

HANG_UP = b"\x00hang up"
"""Close the connection instead of answering."""
SILENCE = b"\x00silence"
"""Never answer."""

Answer = bytes | Callable[[str], bytes]

CHUNKING = ("8BITMIME", "SIZE 0", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING")
EXTENSIONS = ("8BITMIME", "SIZE 0", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES", "PIPELINING")


@dataclass
class Mail:
    """One message that was accepted."""

    mail: str
    rcpts: list[str]
    content: bytes
    tls: bool
    connection: int
    chunks: int = 0
    """Number of BDAT commands that brought it; 0 for DATA."""


@dataclass
class Sink:
    """`script` maps a verb to its answers: the last one repeats. Verbs besides commands: CONNECT (the greeting), DOT
    (after the content, or after the last chunk), MIDDLE (in the middle of the content, once 64 kB have come)."""

    extensions: tuple[str, ...] = EXTENSIONS
    script: dict[str, list[Answer]] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    delay: float = 0.0
    """Seconds before the answer to the final dot."""
    slow_reader: float = 0.0
    """Seconds of sleep after each chunk of content."""
    mails: list[Mail] = field(default_factory=list)
    partial: list[bytes] = field(default_factory=list)
    """Content of connections that ended without a final dot."""
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """One for each connection."""

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers = {verb: deque(answers) for verb, answers in self.script.items()}
        self.gate = asyncio.Event()
        """Answers to the final dot wait for it."""
        self.gate.set()
        self.dots = 0

    async def __aenter__(self) -> Sink:
        await self.listen()
        return self

    async def listen(self) -> None:
        """Open the port, the same one if it was open before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=65536)
        self.port = self._server.sockets[0].getsockname()[1]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shut()

    async def shut(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answers(self, verb: str, *answers: Answer) -> None:
        """Change the script while running."""
        self._answers[verb] = deque(answers)

    def verbs(self) -> list[str]:
        return [command.split(" ")[0].upper() for command in self.commands]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open_connections += 1
        self.writers.append(writer)
        try:
            await _Conversation(self, reader, writer, self.connections).run()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            writer.transport.abort()

    def answer(self, verb: str, argument: str, default: bytes) -> bytes:
        answers = self._answers.get(verb)
        if not answers:
            return default
        answer = answers[0] if len(answers) == 1 else answers.popleft()
        return answer(argument) if callable(answer) else answer


class _Conversation:
    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._connection = connection
        self._secured = False
        self._mail = ""
        self._rcpts: list[str] = []
        self._chunks: list[bytes] = []

    async def run(self) -> None:
        await self._say("CONNECT", "", b"220 sink.example ESMTP\r\n")
        while line := await self._reader.readline():
            command = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            self._sink.commands.append(command)
            verb, _, argument = command.partition(" ")
            if not await self._obey(verb.upper(), argument):
                return

    async def _obey(self, verb: str, argument: str) -> bool:
        if verb == "EHLO":
            offered = self._sink.extensions + (("STARTTLS",) if self._sink.tls and not self._secured else ())
            lines = ["sink.example", *offered]
            default = "".join(f"250{' ' if at == len(lines) - 1 else '-'}{line}\r\n" for at, line in enumerate(lines))
            await self._say(verb, argument, default.encode())
        elif verb == "STARTTLS":
            reply = await self._say(verb, argument, b"220 Go\r\n")
            if reply.startswith(b"220") and self._sink.tls is not None:
                await self._writer.start_tls(self._sink.tls)
                self._secured = True
        elif verb == "BDAT":
            await self._take_chunk(argument)
        elif verb == "DATA":
            reply = await self._say(verb, argument, b"354 Go\r\n" if self._rcpts else b"554 5.5.1 Nobody\r\n")
            if reply.startswith(b"354"):
                await self._take_content()
        elif verb == "QUIT":
            await self._say(verb, argument, b"221 Bye\r\n")
            return False
        else:
            known = verb != "RCPT" or bool(self._mail)
            reply = await self._say(
                verb if known else "", argument, b"250 2.0.0 OK\r\n" if known else b"503 5.5.1 MAIL first\r\n"
            )
            if verb in ("MAIL", "RSET"):
                self._mail, self._rcpts, self._chunks = argument if reply.startswith(b"2") else "", [], []
            elif verb == "RCPT" and reply.startswith(b"2"):
                self._rcpts.append(argument)
        return True

    async def _take_content(self) -> None:
        data = bytearray()
        while not (data.endswith(b"\r\n.\r\n") or data == b".\r\n"):
            chunk = await self._reader.read(65536)
            if not chunk:
                self._sink.partial.append(bytes(data))
                raise ConnectionResetError
            data += chunk
            if self._sink.slow_reader:
                await asyncio.sleep(self._sink.slow_reader)
            if "MIDDLE" in self._sink.script and len(data) >= 65536:
                await self._say("MIDDLE", "", b"")
                await asyncio.sleep(0.05)
                self._sink.partial.append(bytes(data))
                raise ConnectionResetError
        content = bytes(data[:-3])
        unstuffed = content[1:] if content.startswith(b".") else content
        await self._end(unstuffed.replace(b"\r\n..", b"\r\n."), 0)

    async def _take_chunk(self, argument: str) -> None:
        """RFC 3030 section 2."""
        size, _, last = argument.partition(" ")
        chunk = await self._reader.readexactly(int(size))
        self._chunks.append(chunk)
        if not self._rcpts:
            await self._say("BDAT", argument, b"503 5.5.1 Nobody\r\n")
        elif last.upper() != "LAST":
            if not (await self._say("BDAT", argument, b"250 2.0.0 More\r\n")).startswith(b"2"):
                self._rcpts = []
        else:
            await self._end(b"".join(self._chunks), len(self._chunks))

    async def _end(self, content: bytes, chunks: int) -> None:
        self._sink.dots += 1
        await self._sink.gate.wait()
        await asyncio.sleep(self._sink.delay)
        reply = await self._say("DOT", "", b"250 2.0.0 Queued\r\n")
        if reply.startswith(b"2"):
            mail = Mail(self._mail, self._rcpts, content, self._secured, self._connection, chunks)
            self._sink.mails.append(mail)
        self._mail, self._rcpts, self._chunks = "", [], []

    async def _say(self, verb: str, argument: str, default: bytes) -> bytes:
        reply = self._sink.answer(verb, argument, default)
        if reply == SILENCE:
            await asyncio.Event().wait()
        if reply.endswith(HANG_UP):
            self._writer.write(reply.removesuffix(HANG_UP))
            await self._writer.drain()
            raise ConnectionResetError
        self._writer.write(reply)
        await self._writer.drain()
        if reply.startswith(b"421"):
            raise ConnectionResetError
        return reply
