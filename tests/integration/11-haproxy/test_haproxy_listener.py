"""A real HAProxy in front: its PROXY header, its health checks, and STARTTLS through it."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from gateway.model.envelope import ip_text
from gateway.model.ingress import ClientSource
from gateway.service.listener import ListenerSettings, SmtpListener, serve
from tests.support.listening import Client, RecordedReception, until

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

CONFIGURATION = """
global
    stats socket {directory}/stats level admin
defaults
    mode tcp
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend smtp
    bind 127.0.0.1:{port}
    default_backend gateway
backend gateway
    option smtpchk EHLO balancer.example
    server one 127.0.0.1:{gateway} {proxy} check inter 100ms
"""

Gateway = tuple[SmtpListener, RecordedReception, list[BaseException]]


@pytest.fixture
async def gateway(authority: trustme.CA) -> AsyncIterator[Gateway]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    errors: list[BaseException] = []
    reception = RecordedReception()
    listener = await serve(
        ListenerSettings(
            "mx", "mx.gate.example", "127.0.0.1:0", tls=context, proxy_from=(ipaddress.ip_network("127.0.0.1/32"),)
        ),
        reception,
        lambda error: str(errors.append(error)),
    )
    yield listener, reception, errors
    await listener.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def run_haproxy(directory: Path, gateway: int, proxy: str) -> AsyncIterator[int]:
    """HAProxy in front of a gateway's port; yields its own port."""
    port = free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port, gateway=gateway, proxy=proxy))
    assert HAPROXY is not None
    process = subprocess.Popen([HAPROXY, "-db", "-f", configuration], stderr=subprocess.PIPE)  # noqa: ASYNC220
    try:
        await until(lambda: (directory / "stats").exists() or process.poll() is not None)  # its ports are open by then
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=5)


def server_state(directory: Path) -> list[str]:
    """Status, and result of the last health check, as HAProxy sees its one server."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(directory / "stats"))
        control.sendall(b"show stat\n")
        answer = b""
        while part := control.recv(65_536):
            answer += part
    header, *rows = [line.split(",") for line in answer.decode().lstrip("# ").splitlines() if line]
    row = next(row for row in rows if row[1] == "one")
    return [row[header.index("status")], row[header.index("check_status")].removeprefix("* ")]  # *: another one runs


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
async def test_the_address_comes_through_and_survives_starttls(
    gateway: Gateway, authority: trustme.CA, tmp_path: Path, version: str
) -> None:
    listener, reception, errors = gateway
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with run_haproxy(tmp_path, listener.address[1], version) as port:
        client = await Client.connect(("127.0.0.1", port), local_addr=("127.0.0.2", 0))
        await client.starttls(trust)
        await client.open_data()
        octets = b"Subject: x\r\n\r\n" + b"x" * 300_000 + b"\r\n"
        await client.send(octets + b".\r\n")
        assert await client.reply() == 250
        assert await client.say("QUIT") == 221
        await client.close()
    clients = [conversation.connection.client for conversation in reception.conversations]
    assert clients.count(ip_text("127.0.0.2")) == 1
    conversation = reception.conversations[clients.index(ip_text("127.0.0.2"))]
    assert conversation.connection.peer == "127.0.0.1"
    assert conversation.connection.source is ClientSource.PROXY
    assert conversation.names[-1][2] is not None
    assert [taken.content for taken in reception.taken] == [octets]
    assert errors == []


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
async def test_health_checks_find_us_well(gateway: Gateway, tmp_path: Path, version: str) -> None:
    """HAProxy's checks are LOCAL in version 2; in version 1 they look like a client on its own address."""
    listener, reception, errors = gateway
    async with run_haproxy(tmp_path, listener.address[1], version):
        await until(lambda: server_state(tmp_path) == ["UP", "L7OK"])
        await asyncio.sleep(0.5)  # some five checks
        assert server_state(tmp_path) == ["UP", "L7OK"]
    if version == "send-proxy-v2":
        assert reception.conversations == []
    assert all(conversation.connection.client == "127.0.0.1" for conversation in reception.conversations)
    assert all("mail" not in conversation.calls for conversation in reception.conversations)
    assert errors == []


async def test_a_balancer_that_forgets_the_header_gets_nothing(gateway: Gateway, tmp_path: Path) -> None:
    listener, reception, errors = gateway
    async with run_haproxy(tmp_path, listener.address[1], "") as port:
        client = await Client.connect(("127.0.0.1", port), greeted=False)
        await client.send(b"EHLO c.example\r\n")
        assert await client.rest() == b""
    assert reception.conversations == []
    assert errors != []


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
async def test_implicit_tls_comes_after_the_header(authority: trustme.CA, tmp_path: Path, version: str) -> None:
    """TLS is between client and gateway: HAProxy passes it on. Its own checks do TLS too, and find us well."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    reception = RecordedReception()
    errors: list[BaseException] = []
    settings = ListenerSettings(
        "submissions",
        "mx.gate.example",
        "127.0.0.1:0",
        tls=context,
        implicit_tls=True,
        proxy_from=(ipaddress.ip_network("127.0.0.1/32"),),
    )
    listener = await serve(settings, reception, lambda error: str(errors.append(error)))
    octets = b"Subject: x\r\n\r\n" + b"x" * 300_000 + b"\r\n"
    async with run_haproxy(tmp_path, listener.address[1], f"{version} check-ssl verify none") as port:
        for _ in range(5):
            client = await Client.connect(
                ("127.0.0.1", port), local_addr=("127.0.0.2", 0), ssl=trust, server_hostname="localhost"
            )
            await client.open_data()
            await client.send(octets + b".\r\n")
            assert await client.reply() == 250
            assert await client.say("QUIT") == 221
            await client.close()
        await until(lambda: server_state(tmp_path) == ["UP", "L7OK"])
        await asyncio.sleep(0.5)
        assert server_state(tmp_path) == ["UP", "L7OK"]
    await listener.close()
    assert [taken.content for taken in reception.taken] == [octets] * 5
    theirs = [one for one in reception.conversations if one.connection.client == "127.0.0.2"]
    assert len(theirs) == 5
    assert all(one.connection.source is ClientSource.PROXY for one in theirs)
    assert all(one.names[0][2] is not None for one in theirs)
    assert errors == []
