"""The dialogue: the reply to each command, and the calls to the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.model.envelope import Body, Mailbox, Notify, Ret
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.service.listener import SmtpListener
from tests.support.listening import Client, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]

MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<r@d.example>"


async def test_greeting_names_us_and_ehlo_names_what_we_speak(listen: Listen) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address, greeted=False)
    assert await client.text() == "220 mx.gate.example ESMTP Waypost"
    await client.send(b"EHLO c.example\r\n")
    code, lines = await client.read_reply()
    assert code == 250
    assert lines == [
        "mx.gate.example",
        "PIPELINING",
        "SIZE 52428800",
        "8BITMIME",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "SMTPUTF8",
        "CHUNKING",
    ]
    assert await client.ask("HELO c.example") == "250 mx.gate.example"
    await client.close()


async def test_a_stand_in_may_look_like_another_server(listen: Listen) -> None:
    listener = await listen(
        RecordedReception(), hostname="mx.google.com", banner="ESMTP 12si345 - gsmtp", extensions=("SIZE", "X-OTHER")
    )
    client = await Client.connect(listener.address, greeted=False)
    assert await client.text() == "220 mx.google.com ESMTP 12si345 - gsmtp"
    await client.send(b"EHLO c.example\r\n")
    assert (await client.read_reply())[1] == ["mx.google.com", "SIZE 52428800", "X-OTHER"]
    assert await client.ask(f"{MAIL} RET=HDRS") == "555 5.5.4 Parameter not recognised or not implemented"
    assert await client.ask(f"{MAIL} SMTPUTF8") == "555 5.5.4 Parameter not recognised or not implemented"
    assert await client.ask(MAIL) == "250 2.0.0 OK"
    assert await client.ask(RCPT) == "250 2.0.0 OK"
    assert await client.ask("BDAT 3 LAST") == "502 5.5.1 Command not implemented"
    assert await client.rest() == b""


async def test_a_transaction_is_told_in_full(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO client.example") == 250
    assert (
        await client.say('MAIL FROM:<"a b"@B.example> SIZE=2000 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=Qq+2B1 AUTH=<>')
        == 250
    )
    assert await client.say("RCPT TO:<R@d.example> NOTIFY=success,DELAY ORCPT=rfc822;Rr+2B@d.example") == 250
    assert await client.say("RCPT TO:<ü@bücher.example>", "RCPT TO:<postmaster>", "DATA") == 354
    await client.send(b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n")
    assert await client.reply() == 250
    await client.close()
    taken = reception.taken[0]
    envelope = taken.envelope
    assert envelope.mail_from == Mailbox('"a b"', "B.example", "b.example")
    assert (envelope.body, envelope.smtputf8, envelope.ret, envelope.envid) == (
        Body.EIGHT_BIT,
        True,
        Ret.HDRS,
        "Qq+2B1",
    )
    assert envelope.rcpts == ()
    assert reception.only.size == 2000
    assert taken.rcpts[0].notify == (Notify.SUCCESS, Notify.DELAY)
    assert taken.rcpts[0].orcpt == "rfc822;Rr+2B@d.example"
    assert [str(rcpt.mailbox) for rcpt in taken.rcpts] == ["R@d.example", "ü@bücher.example", "postmaster"]
    assert taken.rcpts[1].mailbox.ascii_domain == "xn--bcher-kva.example"
    assert taken.content == b"Subject: x\r\n\r\n.dot\r\nend\r\n"
    connection = reception.only.connection
    assert (connection.listener, connection.peer, connection.client) == ("mx", "127.0.0.1", "127.0.0.1")
    assert connection.source is ClientSource.PEER
    assert reception.only.names == [("client.example", True, None)]
    await until(lambda: reception.only.calls[-1] == "close")
    assert reception.only.count("abandon") == 0


async def test_the_null_reverse_path_is_none(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", "MAIL FROM:<>", RCPT) == 250
    assert reception.only.envelope is not None
    assert reception.only.envelope.mail_from is None
    await client.close()


DIALOGUES = {
    "order": [
        (MAIL, "503 5.5.1"),
        (RCPT, "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("HELO c.example", "250 mx"),
        (RCPT, "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        (MAIL, "250 2"),
        (MAIL, "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        (RCPT, "250 2"),
        ("DATA now", "501 5.5.4"),
        ("RSET", "250 2.0.0"),
        ("DATA", "503 5.5.1"),
        (MAIL, "250 2"),
        ("HELO again.example", "250 mx"),
        (RCPT, "503 5.5.1"),
    ],
    "hello": [
        ("EHLO", "501 5.5.4"),
        ("HELO", "501 5.5.4"),
        ("EHLO  ", "501 5.5.4"),
        ("HELO two words", "501 5.5.4"),
        ("HELO x(mail.google.com", "501 5.5.4"),
        ("HELO " + "x" * 256, "501 5.5.4"),
        ("HELO bücher.example", "501 5.5.4"),
        (MAIL, "503 5.5.1"),
        ("HELO [192.0.2.1]", "250 mx"),
        ("HELO [IPv6:2001:db8::1]", "250 mx"),
        ("helo " + "x" * 255, "250 mx"),
    ],
    "small": [
        ("NOOP", "250 2.0.0"),
        ("noop and more", "250 2.0.0"),
        ("VRFY postmaster", "252 2."),
        ("EXPN staff", "502 5.5.1"),
        ("AUTH PLAIN AGEAYg==", "502 5.5.1"),
        ("STARTTLS", "502 5.5.1"),
        ("HELP", "214 2.0.0"),
        ("XYZZY", "500 5.5.1"),
        ("", "500 5.5.1"),
        ("\u017ftarttls", "500 5.5.1"),
        ("QUIT", "221 2.0.0"),
    ],
    "sender": [
        ("HELO c.example", "250 mx"),
        ("MAIL", "501 5.1.7"),
        ("MAIL FROM", "501 5.1.7"),
        ("MAIL TO:<a@b.example>", "501 5.1.7"),
        ("MAIL FROM:a@b.example", "501 5.1.7"),
        ("MAIL FROM:<a@b.example", "501 5.1.7"),
        ("MAIL FROM:<postmaster>", "501 5.1.7"),
        ("MAIL FROM:<(c)a@b.example>", "501 5.1.7"),
        ("MAIL FROM:<a@b.example> =1", "501 5.1.7"),
        (f"{MAIL} SIZE=1 SIZE=1", "501 5.1.7"),
        (f"{MAIL} FOO", "555 5.5.4"),
        (f"{MAIL} NOTIFY=NEVER", "555 5.5.4"),
        (f"{MAIL} AUTH=someone", "555 5.5.4"),
        (f"{MAIL} SIZE", "501 5.5.4"),
        (f"{MAIL} SIZE=-1", "501 5.5.4"),
        (f"{MAIL} SIZE=52428801", "552 5.3.4"),
        (f"{MAIL} SIZE=99999999999999999999", "552 5.3.4"),
        (f"{MAIL} BODY=BINARYMIME", "501 5.5.4"),
    ],
    "sender's parameters": [
        ("HELO c.example", "250 mx"),
        (f"{MAIL} BODY", "501 5.5.4"),
        (f"{MAIL} SMTPUTF8=1", "501 5.5.4"),
        (f"{MAIL} RET=ALL", "501 5.5.4"),
        (f"{MAIL} ENVID=a+b", "250 2"),
        ("RSET", "250 2.0.0"),
        (f"{MAIL} ENVID", "501 5.5.4"),
        (f"{MAIL} ENVID={'x' * 101}", "501 5.5.4"),
        ("MAIL FROM:<ü@b.example>", "553 5.6.7"),
        ("MAIL FROM:<ü@b.example> SMTPUTF8", "250 2"),
        ("MAIL FROM:<a@b.example> SMTPUTF8", "503 5.5.1"),
        ("RSET", "250 2.0.0"),
        (f"mail from: <a@b.example> SIZE=52428800 BODY=7BIT ENVID={'x' * 100}  ", "250 2"),
    ],
    "recipient": [
        ("HELO c.example", "250 mx"),
        (MAIL, "250 2"),
        ("MAIL FROM:<x@b.example> SMTPUTF8", "503 5.5.1"),
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:r@d.example", "501 5.1.3"),
        ("RCPT TO:<@relay.example,@other.example:r@d.example>", "250 2"),
        ("RCPT TO:<r@[192.0.2.1]>", "250 2"),
        ("RCPT TO:<r@[192.0.2.999]>", "501 5.1.3"),
        ("RCPT TO:<ü@d.example>", "553 5.6.7"),
        (f"{RCPT} NOTIFY=NEVER,SUCCESS", "501 5.5.4"),
        (f"{RCPT} NOTIFY=SUCCESS,SUCCESS", "501 5.5.4"),
        (f"{RCPT} NOTIFY=", "501 5.1.3"),
        (f"{RCPT} NOTIFY", "501 5.5.4"),
        (f"{RCPT} ORCPT=r@d.example", "501 5.5.4"),
        (f"{RCPT} ORCPT=rfc822;{'x' * 500}", "501 5.5.4"),
        (f"{RCPT} RET=FULL", "555 5.5.4"),
        (f"{RCPT} NOTIFY=NEVER ORCPT=rfc822;{'x' * 490}", "250 2"),
    ],
}


@pytest.mark.parametrize("name", DIALOGUES)
async def test_scripted(listen: Listen, name: str) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    for command, expected in DIALOGUES[name]:
        assert (await client.ask(command)).startswith(expected), command
    await client.close()


async def test_a_refusal_of_the_conversation_is_sent_as_it_is(listen: Listen) -> None:
    unknown = Reply(550, "1.1", "No such mailbox here")
    reception = RecordedReception(
        rcpt=lambda recipient: unknown if recipient.mailbox.local == "no" else Reply(250, "1.5", "Yes")
    )
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL) == 250
    assert await client.ask("RCPT TO:<no@d.example>") == "550 5.1.1 No such mailbox here"
    assert await client.ask("DATA") == "503 5.5.1 No valid recipients"
    assert await client.ask("RCPT TO:<yes@d.example>") == "250 2.1.5 Yes"
    assert await client.say("DATA") == 354
    await client.close()


async def test_a_refused_connection_is_told_and_closed(listen: Listen) -> None:
    listener = await listen(RecordedReception(connect=lambda connection: Reply(554, "7.1", "Not you")))
    client = await Client.connect(listener.address, greeted=False)
    assert await client.rest() == b"554 5.7.1 Not you\r\n"


async def test_pipelined_commands_are_answered_in_order(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    one = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<r@d.example>\r\nRCPT TO:<>\r\nDATA\r\n"
    await client.send(b"EHLO c.example\r\n" + one)
    assert [await client.reply() for _ in range(5)] == [250, 250, 250, 501, 354]
    await client.send(b"one\r\n.\r\n" + one)
    assert [await client.reply() for _ in range(5)] == [250, 250, 250, 501, 354]
    await client.send(b"two\r\n.\r\nQUIT\r\n")
    assert [await client.reply() for _ in range(2)] == [250, 221]
    assert [taken.content for taken in reception.taken] == [b"one\r\n", b"two\r\n"]
    assert await client.rest() == b""


@pytest.mark.parametrize(
    "octets", [b"NOOP\nNOOP\r\n", b"NOOP\n", b"\n", b"NOOP\r\nNOOP\nRSET\r\n", b"EHLO x\n\r\nNOOP\r\n"]
)
async def test_a_bare_lf_ends_no_command(listen: Listen, octets: bytes) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    await client.send(octets)
    if octets.startswith(b"NOOP\r\n"):
        assert await client.reply() == 250
    assert await client.rest() == b"500 5.5.2 A command line ends in CRLF\r\n"


@pytest.mark.parametrize("octets", [b"NOOP\rNOOP\r\n", b"NOOP\0\r\n", b"NOOP\r\r\n", b"\x16\x03\x01\x02\r\n"])
async def test_a_control_character_ends_the_session(listen: Listen, octets: bytes) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    await client.send(octets + b"NOOP\r\n")
    assert await client.rest() == b"500 5.5.2 Command line has a control character\r\n"


@pytest.mark.parametrize("size", [2049, 5000, 300_000])
async def test_an_overlong_line_is_one_error(listen: Listen, size: int) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    await client.send(b"NOOP " + b"x" * (size - 5) + b"\r\nNOOP\r\n")
    assert await client.text() == "500 5.5.2 Command line too long"
    assert await client.reply() == 250
    await client.close()


async def test_an_overlong_line_may_be_cut_anywhere(listen: Listen) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    for part in (b"NOOP " + b"x" * 3000, b"x" * 3000 + b"\r", b"\nNOOP\r\n"):
        await client.send(part)
        await asyncio.sleep(0.02)
    assert await client.text() == "500 5.5.2 Command line too long"
    assert await client.reply() == 250
    await client.close()


async def test_a_line_of_2048_octets_is_read(listen: Listen) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    assert await client.say("NOOP " + "x" * 2043) == 250
    await client.close()


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\n", b"POST /evil HTTP/1.1\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"]
)
async def test_other_protocols_are_cut_off(listen: Listen, line: bytes) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.send(line + b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
    assert await client.rest() in (b"554 5.5.1 This is not SMTP\r\n", b"")
    await until(lambda: "close" in reception.only.calls)
    assert "mail" not in reception.only.calls


async def test_who_talks_before_the_greeting_is_cut_off(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception, greet_pause=0.3)
    client = await Client.connect(listener.address, greeted=False)
    await client.send(b"EHLO x\r\n")
    assert await client.rest() == b"554 5.5.1 You talk before you are greeted\r\n"
    assert reception.conversations == []
    patient = await Client.connect(listener.address)
    assert await patient.say("EHLO x") == 250
    await patient.close()


async def test_non_utf8_octets_are_no_address(listen: Listen) -> None:
    listener = await listen(RecordedReception())
    client = await Client.connect(listener.address)
    await client.say("EHLO c.example")
    await client.send(b"MAIL FROM:<\xff@b.example> SMTPUTF8\r\n")
    assert await client.text() == "501 5.1.7 Syntax: MAIL FROM:<address> [parameters]"
    await client.send(b"\xff\xfe\r\n")
    assert await client.reply() == 500
    await client.close()


async def test_commands_may_come_octet_by_octet(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    for octet in b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n":
        await client.send(bytes([octet]))
        await asyncio.sleep(0)
    assert [await client.reply(), await client.reply()] == [250, 250]
    await client.close()


@pytest.mark.parametrize(
    ("parameter", "said"), [("", "550 5.7.1 caf\\xe9 is closed"), (" SMTPUTF8", "550 5.7.1 caf\u00e9 is closed")]
)
async def test_a_reply_beyond_ascii_goes_to_those_who_asked_for_it(listen: Listen, parameter: str, said: str) -> None:
    """RFC 6531 section 3.7.4: a next hop's text is passed on in ASCII, unless MAIL had SMTPUTF8."""
    listener = await listen(RecordedReception(rcpt=lambda _: Reply(550, "7.1", "caf\u00e9 is closed")))
    client = await Client.connect(listener.address)
    assert await client.say("EHLO client.example", "MAIL FROM:<a@b.example>" + parameter) == 250
    assert await client.ask("RCPT TO:<r@d.example>") == said
    await client.close()
