"""A backend for the chaos run: it records the messages that it takes, and misbehaves at a given rate."""

from __future__ import annotations

import asyncio
import itertools
import random
import re

from tests.chaos.ledger import Copy, Ledger

_TOKEN = re.compile(rb"^X-Token: (\w+)\r$", re.MULTILINE)
_ID = re.compile(rb"^Received: (?:.*\r\n[ \t])*.*\bid (\w+)", re.MULTILINE)
"""A line of the field that the gateway puts on top."""
_LARGEST = 4_194_304
_PATH = re.compile(r"<([^>]*)>")


class ChaosBackend:
    """An SMTP server without TLS. Each misbehaviour comes with the probability `trouble`."""

    def __init__(self, ledger: Ledger, seed: int, trouble: float) -> None:
        self.trouble = trouble
        self.port = 0
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._transactions = itertools.count(seed * 1_000_000)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_LARGEST)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, asyncio.LimitOverrunError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rcpts: list[str] = []
        await self._say(writer, "220 chaos.example ESMTP")
        while line := (await reader.readuntil(b"\r\n")).decode("utf-8", "replace"):
            verb = line.split()[0].upper() if line.strip() else ""
            if verb == "EHLO":
                await self._say(writer, "250-chaos.example\r\n250-PIPELINING\r\n250 8BITMIME")
            elif verb == "RCPT":
                await self._answer_rcpt(writer, line, rcpts)
            elif verb == "DATA":
                await self._take(reader, writer, rcpts)
                rcpts = []
            elif verb == "QUIT":
                await self._say(writer, "221 2.0.0 Bye")
                return
            else:
                rcpts = []
                await self._say(writer, "250 2.0.0 OK")

    async def _answer_rcpt(self, writer: asyncio.StreamWriter, line: str, rcpts: list[str]) -> None:
        found = _PATH.search(line)
        rcpt = found[1] if found else ""
        if self._happens():
            await self._say(writer, "451 4.2.0 Try again later")
        elif rcpt.startswith("gone"):
            await self._say(writer, "550 5.1.1 No such mailbox")
        else:
            rcpts.append(rcpt)
            await self._say(writer, "250 2.1.5 OK")

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rcpts: list[str]) -> None:
        if not rcpts:
            await self._say(writer, "554 5.5.1 Nobody")
            return
        # The dot comes after this: a kill that is counted later came later, whenever its octets are read.
        kills = self._ledger.kills
        await self._say(writer, "354 Go")
        if self._happens():
            raise ConnectionResetError  # before the dot
        content = await reader.readuntil(b"\r\n.\r\n")
        if self._happens():
            await self._say(writer, "451 4.3.0 Not now")
            return
        unanswered = self._happens()
        self._book(content, rcpts, kills, unanswered)
        if unanswered:
            raise ConnectionResetError  # it has the message, and nobody knows
        await asyncio.sleep(self._chance.random() * 0.1)
        await self._say(writer, "250 2.0.0 OK")

    def _book(self, content: bytes, rcpts: list[str], kills: int, unanswered: bool) -> None:
        found = _TOKEN.search(content)
        token = found[1].decode() if found else "none"
        if b"multipart/report" in content:
            self._ledger.notices[token] += 1
            return
        known = _ID.search(content)
        id = known[1].decode() if known else ""
        transaction = next(self._transactions)
        for rcpt in rcpts:
            self._ledger.copies[token, rcpt].append(Copy(transaction, kills, unanswered, id))

    def _happens(self) -> bool:
        return self._chance.random() < self.trouble

    async def _say(self, writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(text.encode() + b"\r\n")
        await writer.drain()
