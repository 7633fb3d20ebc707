"""Hostile clients, run in a process of their own: `python -m tests.support.attackers KIND PORT COUNT`.

Each kind attacks and leaves; it does not check the gateway's answers.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

HELLO = b"EHLO evil.example\r\n"
MAIL = b"MAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<alice@corp.example>\r\n"
OPEN = HELLO + MAIL + RCPT
CONTENT = b"From: a@b.example\r\nSubject: x\r\n\r\nhello\r\n.\r\n"
MEGABYTE = b"x" * 1_048_576
PATIENCE = 20.0
REST = 11.0
"""Seconds after which a client within a transaction has had its time (docs/limits.md)."""


async def open_connection(port: int, source: str = "127.0.0.2") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    await asyncio.wait_for(reader.readline(), PATIENCE)
    return reader, writer


async def drink(reader: asyncio.StreamReader) -> None:
    """Read until the server closes."""
    with suppress(ConnectionError):
        while await reader.read(65_536):
            pass


async def pour(port: int, head: bytes, octets: list[bytes], tail: bytes) -> None:
    reader, writer = await open_connection(port)
    drinking = asyncio.create_task(drink(reader))
    with suppress(ConnectionError):
        writer.write(head)
        for part in octets:
            writer.write(part)
            await writer.drain()
        writer.write(tail + b"QUIT\r\n")
        await asyncio.wait_for(drinking, PATIENCE)
    drinking.cancel()
    writer.close()


async def endless_line(port: int, count: int) -> None:
    """`count` megabytes of content without a CRLF."""
    await pour(port, OPEN + b"DATA\r\n", [MEGABYTE] * count, b"\r\n.\r\n")


async def endless_command(port: int, count: int) -> None:
    """`count` megabytes of one command line."""
    await pour(port, b"NOOP ", [MEGABYTE] * count, b"\r\n")


async def drip(port: int, count: int) -> None:
    """An octet a second for `count` seconds, on forty connections, half of them inside DATA."""

    async def one(number: int) -> None:
        _, writer = await open_connection(port)
        writer.write(OPEN + b"DATA\r\n" if number % 2 else b"")
        with suppress(ConnectionError):
            for _ in range(count):
                writer.write(b"x")
                await asyncio.sleep(1)
        writer.transport.abort()

    await asyncio.gather(*(one(number) for number in range(40)))


async def recipients(port: int, count: int) -> None:
    """`count` RCPT, over as many sessions as it takes."""
    for start in range(0, count, 2000):
        many = b"".join(b"RCPT TO:<r%d@corp.example>\r\n" % number for number in range(start, start + 2000))
        await pour(port, HELLO + MAIL, [many], b"")


async def commands(port: int, count: int) -> None:
    """`count` commands, pipelined, over as many sessions as it takes."""
    for _ in range(0, count, 5000):
        await pour(port, HELLO, [b"NOOP\r\n" * 5000], b"")


async def idle(port: int, count: int) -> None:
    """`count` connections that send nothing, from many networks, for three seconds."""
    writers = []
    for number in range(count):
        _, writer = await open_connection(port, f"127.0.{1 + number // 40}.1")
        writers.append(writer)
    await asyncio.sleep(3)
    for writer in writers:
        writer.transport.abort()


async def long_headers(port: int, count: int) -> None:
    """`count` messages with seven header lines of 64 KiB, ten at once."""
    line = b"X-Long: " + b"a " * 32_764 + b"\r\n"

    async def one() -> None:
        await pour(port, OPEN + b"DATA\r\n", [b"From: a@b.example\r\n", *([line] * 7)], b"\r\nx\r\n.\r\n")

    for _ in range(0, count, 10):
        await asyncio.gather(*(one() for _ in range(10)))


async def half_close(port: int, count: int) -> None:
    """`count` messages whose sender closes its half right after the dot."""
    for _ in range(count):
        reader, writer = await open_connection(port)
        writer.write(OPEN + b"DATA\r\n" + CONTENT)
        writer.write_eof()
        await asyncio.wait_for(drink(reader), PATIENCE)
        writer.close()


async def vanish(port: int, count: int) -> None:
    """A dialogue cut off after each of its octets, `count` of them; every second one by a reset."""
    stream = OPEN + b"DATA\r\n" + CONTENT + b"QUIT\r\n"
    for at in range(0, len(stream), max(1, len(stream) // count)):
        _, writer = await open_connection(port)
        writer.write(stream[:at])
        with suppress(ConnectionError):
            await writer.drain()
        if at % 2:
            writer.transport.abort()
        writer.close()


async def tls_flood(port: int, count: int) -> None:
    """`count` sessions from many networks that do STARTTLS, all their handshakes at once, pipeline 200 kB of commands
    each, and read nothing for five seconds."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(b"STARTTLS\r\n")
            await reader.readline()
            await writer.start_tls(context, ssl_handshake_timeout=PATIENCE)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(HELLO * 10_000)
            await asyncio.sleep(5)
        writer.transport.abort()

    opened = [await open_connection(port, f"127.0.{1 + number // 40}.1") for number in range(count)]
    await asyncio.gather(*(one(reader, writer) for reader, writer in opened))


async def hold(port: int, count: int, head: bytes, again: bytes, replies: int = 1) -> None:
    """Take `count` places from twenty networks: say the head, then the other words every two seconds."""
    taken = []
    for number in range(count):
        reader, writer = await open_connection(port, f"127.0.{1 + number % 20}.1")
        writer.write(head)
        taken.append((reader, writer))
    for reader, _ in taken if head else ():
        for _ in range(replies):
            await asyncio.wait_for(reader.readline(), PATIENCE)
    await asyncio.sleep(REST)
    print("ready", flush=True)
    for _ in range(60):
        for _, writer in taken:
            writer.write(again)
        await asyncio.sleep(2)


async def hold_silent(port: int, count: int) -> None:
    """Connections that say nothing after the greeting."""
    await hold(port, count, b"", b"")


async def hold_no_handshake(port: int, count: int) -> None:
    """Connections that ask for TLS, and do not say hello in it."""
    await hold(port, count, b"STARTTLS\r\n", b"")


async def hold_chatty(port: int, count: int) -> None:
    """Sessions that go on with NOOP, and bring no mail."""
    await hold(port, count, b"HELO evil.example\r\n" + b"NOOP\r\n" * 16, b"NOOP\r\n", 17)


async def hold_in_mail(port: int, count: int) -> None:
    """Transactions without a recipient, kept open with NOOP."""
    await hold(port, count, b"HELO evil.example\r\n" + MAIL, b"NOOP\r\n", 2)


async def hold_in_rcpt(port: int, count: int) -> None:
    """Transactions with a recipient, kept open with NOOP."""
    await hold(port, count, b"HELO evil.example\r\n" + MAIL + RCPT, b"NOOP\r\n", 3)


async def hold_octets(port: int, count: int) -> None:
    """`count` messages from five addresses, of which a megabyte comes at once, and then an octet a second."""

    async def one(number: int) -> asyncio.StreamWriter:
        _, writer = await open_connection(port, f"127.0.{1 + number % 5}.1")
        with suppress(ConnectionError):
            writer.write(OPEN + b"DATA\r\n" + b"x\r\n" * 349_525)
            await asyncio.wait_for(writer.drain(), PATIENCE)
        return writer

    writers = [await one(number) for number in range(count)]
    print("ready", flush=True)
    for _ in range(60):
        for writer in writers:
            writer.write(b"x")
        await asyncio.sleep(1)


KINDS: dict[str, Callable[[int, int], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (
        endless_line,
        endless_command,
        drip,
        recipients,
        commands,
        idle,
        long_headers,
        half_close,
        vanish,
        tls_flood,
        hold_silent,
        hold_no_handshake,
        hold_chatty,
        hold_in_mail,
        hold_in_rcpt,
        hold_octets,
    )
}

if __name__ == "__main__":
    asyncio.run(KINDS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3])))
