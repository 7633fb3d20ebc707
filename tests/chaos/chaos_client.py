"""A client for the chaos run: it sends by DATA and BDAT, and sends a message without a reply again, octet for octet."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import suppress

from tests.chaos.ledger import Ledger

RCPTS = (("alice",), ("bob",), ("alice", "bob"), ("alice", "gone-bob"), ("alice", "carol", "bob", "dave"))
_IMPATIENT = 0.03
"""The share of attempts that are abandoned before their reply."""


class ChaosClient:
    """Sends until it is stopped, one message after the other."""

    def __init__(self, number: int, port: int, ledger: Ledger, seed: int) -> None:
        self._number = number
        self._port = port
        self._ledger = ledger
        self._chance = random.Random(seed)
        self.stopping = False

    async def run(self) -> None:
        serial = 0
        while not self.stopping:
            serial += 1
            await self._send_until_told(f"t{self._number}x{serial}")

    async def _send_until_told(self, token: str) -> None:
        """One message, on as many connections as it takes. At the final stop, a missing reply stays missing."""
        rcpts = self._chance.choice(RCPTS)
        size = self._chance.choice((100, 5000)) if self._chance.random() < 0.97 else 1_200_000
        body = "".join(f"{'x' * 70}\r\n" for _ in range(size // 72))
        octets = f"From: author@sender.example\r\nX-Token: {token}\r\n\r\n{body}".encode()
        self._ledger.unanswered += 1
        attempts = 0
        while not self.stopping:
            attempts += 1
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                if await self._attempt(token, rcpts, octets):
                    self._ledger.unanswered -= 1
                    self._ledger.retried += attempts > 1
                    return
            await asyncio.sleep(self._chance.random() * 0.3)

    async def _attempt(self, token: str, rcpts: tuple[str, ...], octets: bytes) -> bool:
        """True when the client got a final reply."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await self._expect(reader)
            await self._ask(reader, writer, b"EHLO client.sender.example")
            await self._ask(reader, writer, b"MAIL FROM:<author@sender.example>")
            asked = [await self._ask(reader, writer, f"RCPT TO:<{rcpt}@own.example>".encode()) for rcpt in rcpts]
            codes = {code for code, _ in asked}
            if codes != {250}:
                return self._note_refusal(max(codes))
            if self._chance.random() < 0.3:
                code, text = await self._tell(reader, writer, b"BDAT %d LAST\r\n" % len(octets) + octets)
            elif (await self._ask(reader, writer, b"DATA"))[0] == 354:
                code, text = await self._tell(reader, writer, octets + b".\r\n")
            else:
                return False
            found = re.search(r"\((\w+)\)$", text)
            if code == 250 and found:
                self._ledger.acknowledged[token] = (found[1], tuple(f"{rcpt}@own.example" for rcpt in rcpts))
                return True
            return self._note_refusal(code)
        finally:
            writer.transport.abort()

    def _note_refusal(self, code: int) -> bool:
        self._ledger.refused[code] += 1
        return code >= 500

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes) -> tuple[int, str]:
        writer.write(octets)
        impatient = self._chance.random() < _IMPATIENT
        reply = asyncio.create_task(self._expect(reader))
        await asyncio.wait({reply}, timeout=self._chance.random() * 0.2 if impatient else 30.0)
        # A reply that has arrived by then counts as heard, by the rule that TCP's acknowledgement counts: the loop
        # reads what the system has before the client gives up.
        await asyncio.sleep(0.001)
        if not reply.done():
            reply.cancel()
            await asyncio.wait({reply})
            raise TimeoutError
        return reply.result()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> tuple[int, str]:
        writer.write(line + b"\r\n")
        return await asyncio.wait_for(self._expect(reader), 20.0)

    async def _expect(self, reader: asyncio.StreamReader) -> tuple[int, str]:
        while (line := (await reader.readuntil(b"\r\n")).decode())[3:4] == "-":
            pass
        if line.startswith("421"):
            raise ConnectionResetError
        return int(line[:3]), line[4:].rstrip()
