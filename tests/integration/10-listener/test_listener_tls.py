"""STARTTLS: the offer, the state that survives it, and the state that must not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from gateway.model.reply import Reply
from gateway.service.listener import ListenerSettings, SmtpListener, serve
from tests.support.listening import OK, Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]

MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<r@d.example>"


async def ehlo(client: Client) -> list[str]:
    await client.send(b"EHLO c.example\r\n")
    return (await client.read_reply())[1]


async def test_a_message_under_tls(listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls)
    client = await Client.connect(listener.address)
    assert "STARTTLS" in await ehlo(client)
    assert await client.ask("STARTTLS now") == "501 5.5.4 Syntax: STARTTLS"
    await client.starttls(client_tls)
    assert await client.ask(MAIL) == "503 5.5.1 Send EHLO or HELO first"
    assert "STARTTLS" not in await ehlo(client)
    assert await client.ask("STARTTLS") == "503 5.5.1 TLS is up already"
    octets = b"x" * 500_000 + b"\r\n"
    assert await client.say(MAIL, RCPT, "DATA") == 354
    await client.send(octets + b".\r\n")
    assert await client.reply() == 250
    assert reception.taken[0].content == octets
    first, second = reception.only.names
    assert first == ("c.example", True, None)
    assert second[2] is not None
    assert second[2].version == "TLSv1.3"
    assert second[2].cipher.startswith("TLS_")
    assert second[2].peer_subject == ""
    assert await client.say("QUIT") == 221
    assert await client.rest() == b""


async def test_a_verified_client_certificate_is_told(
    listen: Listen, authority: trustme.CA, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_OPTIONAL
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    authority.issue_cert("client.example", common_name="client.example").configure_cert(client_context)
    reception = RecordedReception()
    listener = await listen(reception, tls=server)
    client = await Client.connect(listener.address)
    await client.starttls(client_context)
    await ehlo(client)
    tls = reception.only.names[0][2]
    assert tls is not None
    assert "commonName=client.example" in tls.peer_subject
    await client.close()


async def test_starttls_ends_a_transaction(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.starttls(client_tls)
    assert await client.ask("DATA") == "503 5.5.1 Send MAIL first"
    assert reception.only.count("abandon") == 1
    assert await client.say("EHLO c.example") == 250
    assert await client.ask("DATA") == "503 5.5.1 Send MAIL first"
    await client.close()


@pytest.mark.parametrize("injected", [b"NOOP\r\n", b"MAIL FROM:<inj@x.example>\r\n", b"E"])
async def test_nothing_is_carried_over_into_tls(listen: Listen, server_tls: ssl.SSLContext, injected: bytes) -> None:
    """CVE-2011-0411: commands injected in plain text behind STARTTLS."""
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls)
    client = await Client.connect(listener.address)
    await client.send(b"EHLO c.example\r\n")
    await client.read_reply()
    await client.send(b"STARTTLS\r\n" + injected)
    assert await client.rest() in (b"554 5.5.1 Nothing may follow STARTTLS before TLS is up\r\n", b"")
    await until(lambda: listener.sessions == 0)
    assert "mail" not in reception.only.calls


async def test_plain_text_in_place_of_a_handshake_ends_the_session(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", "STARTTLS") == 220
    await client.send(b"MAIL FROM:<inj@x.example>\r\nRCPT TO:<r@d.example>\r\n")
    await client.rest()
    await until(lambda: listener.sessions == 0)
    assert reception.only.calls[-1] == "close"
    assert "mail" not in reception.only.calls
    again = await Client.connect(listener.address)
    await again.starttls(client_tls)
    assert await again.say("EHLO c.example") == 250
    await again.close()


async def test_a_client_that_leaves_in_the_handshake_is_forgotten(listen: Listen, server_tls: ssl.SSLContext) -> None:
    listener = await listen(RecordedReception(), tls=server_tls)
    client = await Client.connect(listener.address)
    assert await client.say("STARTTLS") == 220
    await client.close()
    await until(lambda: listener.sessions == 0)


async def test_mail_is_refused_before_tls_where_it_is_required(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    reception = RecordedReception()
    listener = await listen(reception, tls=server_tls, require_tls=True)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", "NOOP", "RSET") == 250
    for command in (MAIL, RCPT, "DATA"):
        assert await client.ask(command) == "530 5.7.0 Must issue a STARTTLS command first"
    await client.send(b"BDAT 6 LAST\r\nNOOP\r\n")
    assert await client.text() == "530 5.7.0 Must issue a STARTTLS command first"
    await client.starttls(client_tls)
    await client.open_data()
    await client.send(b"x\r\n.\r\n")
    assert await client.reply() == 250
    assert reception.only.count("mail") == 1
    await client.close()


async def test_errors_and_commands_are_counted_through_starttls(
    listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    listener = await listen(RecordedReception(), tls=server_tls, limits={"errors": 3})
    client = await Client.connect(listener.address)
    assert await client.say("FOO", "FOO") == 500
    await client.starttls(client_tls)
    await client.send(b"FOO\r\n")
    assert await client.rest() == b"500 5.5.1 Command not recognised\r\n421 4.7.0 Too many errors\r\n"


async def test_a_client_lost_under_tls(listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """After the dot it is stored, before it is abandoned."""

    async def finish() -> Reply:
        await asyncio.sleep(0.05)
        return OK

    reception = RecordedReception(finish=finish)
    listener = await listen(reception, tls=server_tls)
    for octets in (b"x\r\n.\r\n", b"x\r\n"):
        client = await Client.connect(listener.address)
        await client.starttls(client_tls)
        await client.open_data()
        await client.send(octets)
        await asyncio.sleep(0.02)
        client.writer.transport.abort()
        await client.close()
        await until(lambda: listener.sessions == 0)
    stored, lost = reception.conversations
    assert len(reception.taken) == 1
    assert stored.calls[-2:] == ["finish", "close"]
    assert lost.calls[-2:] == ["abandon", "close"]


async def test_oversize_data_under_tls(listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    listener = await listen(RecordedReception(), tls=server_tls, limits={"message_size": 1000})
    client = await Client.connect(listener.address)
    await client.starttls(client_tls)
    await client.open_data()
    for _ in range(20):
        await client.send(b"x" * 100_000)
    await client.send(b"\r\n.\r\n")
    assert await client.reply() == 552
    assert await client.say("NOOP") == 250
    await client.close()


async def test_settings_that_contradict_themselves_are_refused() -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    reception = RecordedReception()
    with pytest.raises(ValueError, match="TLS below"):
        await serve(ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0", tls=old), reception, str)
    with pytest.raises(ValueError, match="no certificate"):
        await serve(ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0", require_tls=True), reception, str)
