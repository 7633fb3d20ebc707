"""Certificates by name, renewed while sessions are open; tickets; clients' certificates."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from gateway.service.certificates import Certificates
from gateway.service.listener import SmtpListener
from tests.support.listening import Client, RecordedReception

Listen = Callable[..., Awaitable[SmtpListener]]
OPENSSL = shutil.which("openssl")
Pair = tuple[Path, Path]


def write(authority: trustme.CA, directory: Path, stem: str, *names: str, **options: str) -> Pair:
    issued = authority.issue_cert(*names, **options)
    pair = directory / f"{stem}.pem", directory / f"{stem}.key"
    for file, blobs in zip(pair, (issued.cert_chain_pems, [issued.private_key_pem]), strict=True):
        made = file.with_suffix(".new")
        made.write_bytes(b"".join(blob.bytes() for blob in blobs))
        os.replace(made, file)
    return pair


def names_shown(client: Client) -> set[str]:
    session = client.writer.get_extra_info("ssl_object")
    return {value for _, value in session.getpeercert()["subjectAltName"]}


async def open_session(listener: SmtpListener, trust: ssl.SSLContext, name: str) -> Client:
    client = await Client.connect(listener.address)
    assert await client.say("STARTTLS") == 220
    await client.writer.start_tls(trust, server_hostname=name)
    assert await client.say("EHLO c.example") == 250
    return client


@pytest.fixture
def trust(client_tls: ssl.SSLContext, authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    return context


async def test_the_name_chooses(listen: Listen, authority: trustme.CA, trust: ssl.SSLContext, tmp_path: Path) -> None:
    pairs = [
        write(authority, tmp_path, "first", "mx.one.example"),
        write(authority, tmp_path, "second", "mx.two.example", "also.two.example"),
        write(authority, tmp_path, "third", "*.three.example"),
    ]
    listener = await listen(RecordedReception(), tls=Certificates(pairs).context)
    for asked, shown in (
        ("mx.one.example", "mx.one.example"),
        ("MX.Two.example", "mx.two.example"),
        ("also.two.example", "also.two.example"),
        ("any.three.example", "*.three.example"),
        ("a.b.three.example", "mx.one.example"),
        ("unknown.example", "mx.one.example"),
        ("", "mx.one.example"),
    ):
        client = await open_session(listener, trust, asked)
        assert shown in names_shown(client), asked
        await client.close()


async def test_renewed_while_a_session_is_open(
    listen: Listen, authority: trustme.CA, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    certificates = Certificates([write(authority, tmp_path, "one", "old.example")])
    listener = await listen(RecordedReception(), tls=certificates.context)
    before = await open_session(listener, trust, "old.example")
    assert not certificates.refresh()
    write(authority, tmp_path, "one", "new.example")
    assert certificates.refresh()
    assert await before.say("NOOP") == 250
    assert names_shown(before) == {"old.example"}
    after = await open_session(listener, trust, "new.example")
    assert names_shown(after) == {"new.example"}
    for client in (before, after):
        await client.close()


async def test_a_half_written_renewal_changes_nothing(
    listen: Listen, authority: trustme.CA, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    certificate, key = write(authority, tmp_path, "one", "old.example")
    certificates = Certificates([(certificate, key)])
    listener = await listen(RecordedReception(), tls=certificates.context)
    renewed, renewed_key = write(authority, tmp_path, "other", "new.example")
    shutil.copy(renewed, certificate)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        certificates.refresh()
    assert not certificates.refresh()  # reported once
    client = await open_session(listener, trust, "")
    assert names_shown(client) == {"old.example"}
    await client.close()
    shutil.copy(renewed_key, key)
    assert certificates.refresh()
    client = await open_session(listener, trust, "")
    assert names_shown(client) == {"new.example"}
    await client.close()


async def count_tickets(address: tuple[str, int], version: str) -> int:
    """How many session tickets OpenSSL's client sees."""
    assert OPENSSL is not None
    command = [OPENSSL, "s_client", "-connect", f"127.0.0.1:{address[1]}", "-starttls", "smtp", "-msg", "-ign_eof"]
    process = await asyncio.create_subprocess_exec(
        *command, version, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    seen, _ = await asyncio.wait_for(process.communicate(b"NOOP\r\nQUIT\r\n"), 10)
    assert b"250 2.0.0 OK" in seen
    return seen.count(b"NewSessionTicket")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_tickets_can_be_switched_off(listen: Listen, authority: trustme.CA, tmp_path: Path, version: str) -> None:
    pair = write(authority, tmp_path, "one", "mx.example")
    found = []
    for tickets in (True, False):
        listener = await listen(RecordedReception(), tls=Certificates([pair], None, tickets).context)
        found.append(await count_tickets(listener.address, version))
    assert found[0] > 0
    assert found[1] == 0


async def test_a_clients_certificate_is_a_fact(
    listen: Listen, authority: trustme.CA, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    people = trustme.CA()
    people.cert_pem.write_to_path(str(tmp_path / "people.pem"))
    pair = write(authority, tmp_path, "one", "mx.example")
    reception = RecordedReception()
    certificates = Certificates([pair], client_ca=tmp_path / "people.pem")
    listener = await listen(reception, tls=certificates.context)
    without = await open_session(listener, trust, "mx.example")
    people.issue_cert("client.example", common_name="x,O=Bank").configure_cert(trust)
    shown = await open_session(listener, trust, "mx.example")
    for client in (without, shown):
        await client.close()
    subjects = [tls.peer_subject for one in reception.conversations for _, _, tls in one.names if tls is not None]
    assert subjects[0] == ""
    assert "commonName=x\\,O\\=Bank" in subjects[1]


async def test_a_strangers_certificate_is_refused(
    listen: Listen, authority: trustme.CA, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "people.pem"))
    pair = write(authority, tmp_path, "one", "mx.example")
    reception = RecordedReception()
    listener = await listen(reception, tls=Certificates([pair], client_ca=tmp_path / "people.pem").context)
    trustme.CA().issue_cert("client.example").configure_cert(trust)
    with pytest.raises((OSError, AssertionError)):
        await open_session(listener, trust, "mx.example")
    assert reception.only.names == []
