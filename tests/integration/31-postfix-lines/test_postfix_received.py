"""The walk reads the lines of a real Postfix: with and without TLS, client certificates, hostile HELO names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import smtplib
import socket
import ssl
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from gateway.demo.authority import DemoAuthority
from gateway.mail.header import parse_header, split_message
from gateway.mail.received import Walked, walk
from gateway.mail.relay_formats import RelayFormat
from gateway.model.envelope import IPText
from tests.support.mtas import POSTFIX_MASTER

if shutil.which("postfix") is None or os.geteuid() != 0:
    pytest.skip("needs Postfix and root", allow_module_level=True)

PEER = IPText("192.0.2.10")
FORGED = b"Received: from x (y [198.51.100.66])\r\n\tby relay.corp.example (Postfix) with ESMTP id 1; now\r\n"

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.corp.example
mydestination =
mynetworks = 0.0.0.0/0 [::]/0
relayhost = [127.0.0.1]:{sink}
alias_maps =
smtpd_tls_cert_file = {root}/server.pem
smtpd_tls_key_file = {root}/server.key
smtpd_tls_CAfile = {root}/ca.pem
smtpd_tls_security_level = may
smtpd_tls_ask_ccert = yes
smtpd_tls_received_header = yes
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtp_tls_security_level = none
maillog_file = {root}/log
maillog_file_prefixes = {root}
"""


@dataclass(frozen=True, slots=True)
class Listed:
    name: str = "old"
    addresses: tuple[IPv4Network, ...] = (IPv4Network("192.0.2.10/32"),)
    by: tuple[str, ...] = ("relay.corp.example",)
    format: RelayFormat = "postfix"


@dataclass
class Relay:
    """A Postfix of its own, and the messages that it passed on."""

    root: Path
    port: int
    messages: asyncio.Queue[bytes]

    async def pass_on(self, helo: str, client: str, name: str, tls: str = "", rcpts: int = 1) -> bytes:
        """Send it a message as `client` would; returns the relayed message. `tls` is empty, `plain` or
        `certificate`."""
        await asyncio.to_thread(self._send, helo, client, name, tls, rcpts)
        return await asyncio.wait_for(self.messages.get(), 15)

    def _send(self, helo: str, client: str, name: str, tls: str, rcpts: int) -> None:
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname=helo, timeout=15) as smtp:
            smtp.ehlo()
            if tls:
                context = ssl.create_default_context(cafile=str(self.root / "ca.pem"))
                context.check_hostname = False
                if tls == "certificate":
                    context.load_cert_chain(self.root / "client.pem", self.root / "client.key")
                smtp.starttls(context=context)
                smtp.ehlo()
            assert smtp.docmd("XCLIENT", f"ADDR={client} NAME={name}")[0] == 220
            smtp.ehlo()
            smtp.sendmail(
                "a@b.example", [f"r{n}@d.example" for n in range(rcpts)], FORGED + b"Subject: x\r\n\r\nhi\r\n"
            )


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    # Not below pytest's own directory: Postfix's user must be able to enter.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for part in ("etc", "queue", "data"):
            (root / part).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(root / "data", owner.pw_uid, owner.pw_gid)
        authority = DemoAuthority()
        authority.write(root / "ca.pem")
        authority.issue(root / "server.pem", root / "server.key", "relay.corp.example")
        authority.issue(root / "client.pem", root / "client.key", "x) by evil ([198.51.100.66]) (y")
        yield root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def relay(directory: Path) -> AsyncIterator[Relay]:
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    sink = await asyncio.start_server(lambda reader, writer: swallow(reader, writer, messages), "127.0.0.1", 0)
    port = free_port()
    values = {"root": directory, "port": port, "sink": sink.sockets[0].getsockname()[1]}
    (directory / "etc" / "main.cf").write_text(MAIN.format(**values))
    (directory / "etc" / "master.cf").write_text(POSTFIX_MASTER.format(**values))
    command = ["postfix", "-c", str(directory / "etc")]
    process = await asyncio.create_subprocess_exec(*command, "start-fg", stdout=DEVNULL, stderr=DEVNULL)
    try:
        await asyncio.to_thread(wait_for, port)
        yield Relay(directory, port, messages)
    finally:
        stop = await asyncio.create_subprocess_exec(*command, "stop", stdout=DEVNULL, stderr=DEVNULL)
        await asyncio.wait_for(stop.wait(), 20)
        await asyncio.wait_for(process.wait(), 20)
        sink.close()


def wait_for(port: int) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: asyncio.Queue[bytes]) -> None:
    """As little SMTP as Postfix's client needs."""
    writer.write(b"220 sink\r\n")
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                messages.put_nowait(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
    writer.close()


def walked(octets: bytes) -> Walked:
    return walk(parse_header(split_message(octets)[0]), (Listed(),), PEER)


async def test_lines_of_a_real_postfix(relay: Relay) -> None:
    found = walked(await relay.pass_on("mail.sender.example", "203.0.113.7", "out.sender.example"))
    assert found == Walked(IPText("203.0.113.7"), "mail.sender.example", "out.sender.example", ("old",), "")
    found = walked(await relay.pass_on("h.example", "IPV6:2001:db8::7", "[UNAVAILABLE]", "plain", 2))
    assert (found.client, found.rdns) == ("2001:db8::7", "")
    line = await relay.pass_on("h.example", "203.0.113.8", "[UNAVAILABLE]", "certificate")
    assert b"Client CN" in line
    assert walked(line).client == "203.0.113.8"
    for helo in ("[198.51.100.66]", "x(y)[198.51.100.66])", '"a";(b)', "h\\(x", "a<b>@c"):
        found = walked(await relay.pass_on(helo, "203.0.113.9", "[UNAVAILABLE]"))
        assert found.client == "203.0.113.9", (helo, found)
    assert walked(await relay.pass_on("h", "127.0.0.1", "localhost")).client is None
