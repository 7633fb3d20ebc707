"""A stand-in backend: speaks SMTP as Google or Microsoft do, requires TLS, and writes each message to a file.

Run as `python -m gateway.demo.standin --kind google --port 2626 --directory D --certificate C --key K`. Each
transaction becomes D/<id>.eml, exactly the octets received after dot-unstuffing, and D/<id>.json beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import uvloop

from gateway.config.edge import Limits
from gateway.model.envelope import Envelope, Mailbox, Recipient
from gateway.model.ingress import Tls
from gateway.model.reply import Reply
from gateway.model.value import Value, replace
from gateway.net.system import SystemClock
from gateway.ports import Clock, Connection
from gateway.service.listener import ListenerSettings, serve


class Manner(Value):
    """The behaviour of a provider's server."""

    hostname: str
    banner: str
    extensions: tuple[str, ...]
    one_domain: bool
    """All recipients of a transaction must be of one domain."""
    thanks: Reply
    """The answer to the final dot; `{id}` is the transaction's."""


MANNERS = {
    "google": Manner(
        "mx.google.com",
        "ESMTP stand-in - gsmtp",
        ("SIZE", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"),
        one_domain=True,
        thanks=Reply(250, "0.0", "OK {id} - gsmtp"),
    ),
    "microsoft": Manner(
        "demo-example.mail.protection.outlook.com",
        "Microsoft ESMTP MAIL Service stand-in ready",
        (
            *("SIZE", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS"),
            *("8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"),
        ),
        one_domain=False,
        thanks=Reply(250, "6.0", "<{id}@stand-in> [InternalId=1] Queued mail for delivery"),
    ),
}
_SIZE = 157_286_400
"""The size that both providers announce."""
_SEVERAL_DOMAINS = Reply(451, "3.0", "Multiple destination domains per transaction is unsupported. Please try again.")


class Mailroom:
    """A `Reception` that takes everything."""

    def __init__(self, manner: Manner, directory: Path, clock: Clock) -> None:
        self._manner = manner
        self._directory = directory
        self._clock = clock

    async def connect(self, connection: Connection) -> StoredTransaction | Reply:
        return StoredTransaction(self._manner, self._directory, self._clock)


class StoredTransaction:
    """One session."""

    def __init__(self, manner: Manner, directory: Path, clock: Clock) -> None:
        self._manner = manner
        self._directory = directory
        self._clock = clock
        self._tls: Tls | None = None
        self._envelope = Envelope(None, ())
        self._id = ""
        self._file: BinaryIO | None = None

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        self._tls = tls

    def login(self, name: str) -> None:
        pass

    def forced_sender(self) -> Mailbox | None:
        return None

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        return reply

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        self._envelope = envelope
        return Reply(250, "1.0", "OK")

    async def rcpt(self, recipient: Recipient) -> Reply:
        rcpts = self._envelope.rcpts
        if self._manner.one_domain and rcpts and rcpts[0].mailbox.ascii_domain != recipient.mailbox.ascii_domain:
            return _SEVERAL_DOMAINS
        self._envelope = replace(self._envelope, rcpts=(*rcpts, recipient))
        return Reply(250, "1.5", "OK")

    async def begin(self) -> Reply:
        self._id = self._clock.new_id()
        self._file = (self._directory / f"{self._id}.part").open("wb")
        return Reply(354, "", "Go ahead")

    async def take(self, chunk: bytes) -> None:
        if self._file is not None:
            self._file.write(chunk)

    async def finish(self) -> Reply:
        """Write the .json file first, so that a reader of the .eml finds it."""
        if self._file is None:
            raise RuntimeError("end of data without data")
        self._file.close()
        self._file = None
        content = self._directory / f"{self._id}.part"
        facts = self._directory / f"{self._id}.facts"
        facts.write_text(json.dumps(_describe(self._envelope, self._tls), indent=1) + "\n")
        facts.rename(facts.with_suffix(".json"))
        content.rename(content.with_suffix(".eml"))
        return self._manner.thanks.filled(id=self._id)

    def answered(self, heard: bool) -> None:
        pass

    def lost(self) -> None:
        pass

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            (self._directory / f"{self._id}.part").unlink(missing_ok=True)

    def close(self) -> None:
        self.abandon()


def _describe(envelope: Envelope, tls: Tls | None) -> dict[str, object]:
    """The content of the .json file."""
    return {
        "mail_from": str(envelope.mail_from or ""),
        "rcpts": [str(one.mailbox) for one in envelope.rcpts],
        "params": {
            "body": envelope.body.value,
            "smtputf8": envelope.smtputf8,
            "ret": envelope.ret.value if envelope.ret else None,
            "envid": envelope.envid or None,
            "notify": [[word.value for word in one.notify] for one in envelope.rcpts],
            "orcpt": [one.orcpt or None for one in envelope.rcpts],
        },
        "tls": {"version": tls.version, "cipher": tls.cipher} if tls else None,
    }


async def run(kind: str, port: int, directory: Path, certificate: Path, key: Path) -> None:
    """Serve on 127.0.0.1 until SIGTERM. Raises OSError when the port is unavailable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    manner = MANNERS[kind]
    settings = ListenerSettings(
        name=kind,
        hostname=manner.hostname,
        address=f"127.0.0.1:{port}",
        tls=context,
        limits=Limits(message_size=_SIZE),
        extensions=manner.extensions,
        require_tls=True,
        banner=manner.banner,
    )
    clock = SystemClock()
    listener = await serve(settings, Mailroom(manner, directory, clock), _report)
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    await done.wait()
    await listener.close()


def _prepare(directory: Path) -> None:
    """Make the directory, and remove half-written files of a killed process."""
    directory.mkdir(parents=True, exist_ok=True)
    for rest in (*directory.glob("*.part"), *directory.glob("*.facts")):
        rest.unlink()


def _report(error: BaseException) -> str:
    print(f"stand-in: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return "stand-in"


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.standin", description="A stand-in backend.")
    parser.add_argument("--kind", choices=sorted(MANNERS), required=True)
    parser.add_argument("--port", type=int, required=True)
    for name in ("--directory", "--certificate", "--key"):
        parser.add_argument(name, type=Path, required=True)
    chosen = parser.parse_args(arguments)
    _prepare(chosen.directory)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run(chosen.kind, chosen.port, chosen.directory, chosen.certificate, chosen.key))


if __name__ == "__main__":
    main()
