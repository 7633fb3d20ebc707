"""The control socket: an admin's commands to the running gateway.

Each shard's directory contains a Unix socket that only its owner, and root, can use. Each request and each answer is
one line of JSON:

    {"command": "hold", "arguments": {"message": "0t5f..."}}
    {"answer": ...}  or  {"refused": "why, and what to do instead"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.ports import StoryUnreadable

SOCKET = "control"
"""The socket's name in the shard's directory."""
_LONGEST_LINE = 16_777_216
"""Octets of a request or an answer."""
_PATIENCE = 300.0
"""Seconds that the client of the socket waits for its answer."""

Arguments = Mapping[str, Any]
Handler = Callable[[Arguments], Awaitable[Any]]
"""Runs one command and returns its answer as plain JSON values. Raises CommandRefused."""
Commands = Mapping[str, Handler]


class CommandRefused(Exception):
    """A command is refused; the text gives the reason, for the admin."""


class NobodyThere(Exception):
    """No running gateway owns the shard."""


@contextlib.asynccontextmanager
async def serve_control(shard: Path, commands: Commands, report: Callable[[BaseException], str]) -> AsyncIterator[None]:
    """Answer in the shard's directory until the block ends. Only for the holder of the shard's lock, because an old
    socket is removed. `report` takes an unknown exception and gives the id under which the log has it."""
    asked: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            asked.add(task)
            task.add_done_callback(asked.discard)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError), contextlib.closing(writer):
            await _answer_all(reader, writer, commands, report)

    server = await asyncio.start_unix_server(serve, sock=_listen(shard), limit=_LONGEST_LINE)
    try:
        yield
    finally:
        (shard / SOCKET).unlink(missing_ok=True)
        server.close()
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await server.wait_closed()


async def ask(shard: Path, command: str, arguments: Arguments) -> Any:
    """The running gateway's answer. Raises NobodyThere, and CommandRefused when there is no answer for any other
    reason."""
    try:
        with _short_path(shard) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_LINE)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NobodyThere(f"no gateway runs on {shard}") from None
    except OSError as error:
        why = "only its owner and root may ask" if isinstance(error, PermissionError) else error.strerror
        raise CommandRefused(f"the gateway's control socket {shard / SOCKET}: {why}") from None
    with contextlib.closing(writer):
        try:
            writer.write(_line({"command": command, "arguments": arguments}))
            line = await asyncio.wait_for(reader.readline(), _PATIENCE)
        except TimeoutError:
            raise CommandRefused(f"the gateway has not answered for {_PATIENCE:.0f} s; it may still do it") from None
        except ConnectionError:
            line = b""
    if not line:
        raise CommandRefused("the gateway ended before it answered: look whether it was done")
    tree = json.loads(line)
    if "refused" in tree:
        raise CommandRefused(tree["refused"])
    return tree["answer"]


async def run_command(commands: Commands, command: str, arguments: Arguments) -> Any:
    """One command's answer. Raises CommandRefused, also for an unknown command."""
    handler = commands.get(command)
    if handler is None:
        raise CommandRefused(f"no command {command!r}; there are: {', '.join(sorted(commands)) or 'none'}")
    return await handler(arguments)


async def _answer_all(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    commands: Commands,
    report: Callable[[BaseException], str],
) -> None:
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            # The following octets in the stream are the rest of that line.
            writer.write(_line({"refused": f"a request has at most {_LONGEST_LINE} octets"}))
            await writer.drain()
            return
        if not line.endswith(b"\n"):
            return
        writer.write(_line(await _answer(line, commands, report)))
        await writer.drain()


async def _answer(line: bytes, commands: Commands, report: Callable[[BaseException], str]) -> dict[str, Any]:
    try:
        command, arguments = _read(line)
        return {"answer": await run_command(commands, command, arguments)}
    except (CommandRefused, StoryUnreadable) as refused:
        return {"refused": str(refused)}
    except Exception as error:
        # The admin reads the log, which has the fault and its place.
        return {"refused": f"a fault of the gateway: its log has the event {report(error)}"}


def _read(line: bytes) -> tuple[str, Arguments]:
    try:
        tree = json.loads(line)
    except ValueError:
        raise CommandRefused("a request is one line of JSON") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("command"), str):
        raise CommandRefused('a request is {"command": "...", "arguments": {...}}')
    arguments = tree.get("arguments", {})
    if not isinstance(arguments, dict):
        raise CommandRefused('"arguments" is an object')
    return tree["command"], arguments


def _line(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree).encode("ascii") + b"\n"


def _listen(shard: Path) -> socket.socket:
    """A socket that is bound, closed to all others, and only then listening: in between nobody can connect."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (shard / SOCKET).unlink(missing_ok=True)
        with _short_path(shard) as path:
            listening.bind(path)
        (shard / SOCKET).chmod(0o600)
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening


@contextlib.contextmanager
def _short_path(shard: Path) -> Iterator[str]:
    """A short path to the socket through its open directory: a socket's address holds 107 octets, and a spool's path
    may be longer."""
    directory = os.open(shard, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)
