"""python -m tests.architecture.walk: how many modules and functions one small message passes through.

A real gateway and a scripted backend run in this process. The second session is counted, from its connection to the
reply to its final dot, so that nothing counts that happens once in a process. The loop's thread is counted; the
writer's thread, which only commits, is not.
A switch is a call into another module than the call before it.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from gateway.app.gateway import Gateway
from gateway.app.reading import read_config
from gateway.app.runtime_config import make_runtime
from gateway.app.supervisor import WorkerContext
from gateway.model.event import Level
from gateway.service.observer import Lines, Observer
from tests.support.gateway_process import free_port
from tests.support.smtp_sink import Sink

ROOT = str(Path(__file__).resolve().parent.parent.parent)
CONTENT = b"From: ann@sender.example\r\nTo: bob@corp.example\r\nSubject: a walk\r\n\r\nHello\r\n.\r\n"
DIALOGUE = (b"MAIL FROM:<ann@sender.example>\r\n", b"RCPT TO:<bob@corp.example>\r\n", b"DATA\r\n", CONTENT)


class Counter:
    """Counts calls between the gateway's modules while it is set as the profile function."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.functions: set[Any] = set()
        self.switches = 0
        self._names: dict[str, str] = {}
        self._before = ""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        here = self._module(frame)
        if not here:
            return
        self.modules.add(here)
        self.functions.add(frame.f_code)
        self.switches += here != self._before
        self._before = here

    def _module(self, frame: FrameType) -> str:
        file = frame.f_code.co_filename
        if file not in self._names:
            inside = file.startswith(f"{ROOT}/gateway/")
            self._names[file] = file.removeprefix(f"{ROOT}/") if inside else ""
        return self._names[file]

    def result(self) -> dict[str, Any]:
        return {"modules": len(self.modules), "functions": len(self.functions), "switches": self.switches}


def write_config(directory: Path, port: int, backend: int, in_session: bool) -> Path:
    zone = directory / "zone.json"
    zone.write_text(json.dumps({"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx"]}}))
    config = directory / "gateway.toml"
    config.write_text(
        f"""
[server]
hostname = "mx.gateway.example"
spool = "{directory / "spool"}"
workers = 1
[[listener]]
address = "127.0.0.1:{port}"
[[domain]]
name = "corp.example"
backend = "inside"
[backend.inside]
hosts = ["127.0.0.1:{backend}"]
[dns]
zone = "{zone}"
[delivery]
in_session = {str(in_session).lower()}
[admin]
address = "127.0.0.1:{free_port()}"
"""
    )
    return config


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One message, from MAIL to the reply to its final dot."""
    for octets in DIALOGUE:
        writer.write(octets)
        reply = await reader.readline()
        if reply[:1] not in b"23":
            raise RuntimeError(f"{octets!r}: {reply!r}")


async def count(in_session: bool) -> dict[str, Any]:
    """The figures of one message: until its 250, which in session comes after its delivery."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Sink() as sink:
            port = free_port()
            path = write_config(directory, port, sink.port, in_session)
            observer = Observer(Lines("json", Level.INFO), io.StringIO())
            try:
                runtime = make_runtime(read_config(path))
                async with Gateway.open(runtime, observer, path, WorkerContext()):
                    return await count_one(port)
            finally:
                observer.close()


async def count_one(port: int) -> dict[str, Any]:
    await deliver(port)
    await asyncio.sleep(1)
    counter = Counter()
    sys.setprofile(counter)
    try:
        await deliver(port)
    finally:
        sys.setprofile(None)
    return counter.result()


async def deliver(port: int) -> None:
    """One session with one message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO client.sender.example\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    await send(reader, writer)
    writer.close()


def main() -> int:
    for what, in_session in (("socket to 250, delivered later", False), ("delivered in session", True)):
        found = asyncio.run(count(in_session))
        print(f"{what}: {found['modules']} modules, {found['functions']} functions, {found['switches']} switches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
