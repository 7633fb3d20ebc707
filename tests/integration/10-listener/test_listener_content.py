"""Content on the wire: DATA and BDAT, their ends, smuggling, and size limits."""

from __future__ import annotations

import asyncio
import json
import os
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from gateway.model.reply import Reply
from gateway.service.listener import SmtpListener
from tests.support.corpora import corpus
from tests.support.listening import Client, RecordedConversation, RecordedReception, until

Listen = Callable[..., Awaitable[SmtpListener]]

MAIL = "MAIL FROM:<a@b.example>"
RCPT = "RCPT TO:<r@d.example>"


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".x\r\n...\r\n.\r\n", b"x\r\n..\r\n"),
        (
            b"S: x\r\n\r\nl1\n.\nl2\r\n.\r.\r\nl3\rl4\r\n\0\xff\r\n.\r\n",
            b"S: x\r\n\r\nl1\n.\nl2\r\n\r.\r\nl3\rl4\r\n\0\xff\r\n",
        ),
        (b"long: " + b"x" * 200_000 + b"\r\n.\r\n", b"long: " + b"x" * 200_000 + b"\r\n"),
    ],
)
async def test_only_the_transport_dots_are_taken_away(listen: Listen, wire: bytes, content: bytes) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    await client.send(wire)
    assert await client.reply() == 250
    assert reception.taken[0].content == content
    assert await client.say("NOOP") == 250
    await client.close()


SMUGGLED = b"MAIL FROM:<smuggled@b.example>\r\nRCPT TO:<smuggled@d.example>\r\nDATA\r\nsmuggled\r\n.\r\n"


def sequences() -> list[tuple[bytes, bool]]:
    found = json.loads(corpus("smtp/end-of-data-sequences.json").read_text())["sequences"]
    return [(case["eod"].encode(), case["must_end_data"]) for case in found]


async def send_cut(client: Client, octets: bytes, at: int, size: int) -> None:
    """In two parts that arrive one after the other."""
    await client.send(octets[:at])
    for _ in range(3):
        await asyncio.sleep(0)
    if at and at < size:
        await asyncio.sleep(0.002)
    await client.send(octets[at:])


async def test_no_sequence_but_one_ends_the_data(listen: Listen) -> None:
    """Each published sequence, cut at each octet: one message with all of it inside, or two for the true end."""
    reception = RecordedReception()
    listener = await listen(reception, limits={"connections_per_address": 1000})

    async def try_sequence(eod: bytes, ends: bool, cut: int) -> tuple[bytes, bool, list[bytes], list[str]]:
        client = await Client.connect(listener.address)
        conversation = reception.conversations[-1]
        assert await client.say("EHLO c.example", f"MAIL FROM:<{len(eod)}@b.example>", RCPT, "DATA") == 354
        mine = RecordedReception().taken
        conversation.taken = mine
        wire = b"Subject: x\r\n\r\nbody" + eod + SMUGGLED + b"QUIT\r\n"
        at = len(b"Subject: x\r\n\r\nbody") + cut
        await send_cut(client, wire, at, len(wire))
        assert (await client.rest()).endswith(b"221 2.0.0 Bye\r\n")
        senders = [str(taken.envelope.mail_from) for taken in mine]
        return eod, ends, [taken.content for taken in mine], senders

    tried = 0
    for eod, ends in sequences():
        for cut in range(len(eod) + 1):
            eod, ends, contents, senders = await try_sequence(eod, ends, cut)
            tried += 1
            if ends:
                assert contents == [b"Subject: x\r\n\r\nbody\r\n", b"smuggled\r\n"]
                continue
            assert len(contents) == 1, (eod, contents)
            assert "smuggled" not in senders[0]
            unstuffed = (eod + SMUGGLED).replace(b"\r\n.", b"\r\n").removesuffix(b"\r\n")
            assert contents[0] == b"Subject: x\r\n\r\nbody" + unstuffed, eod
    assert tried > 100


async def test_content_is_the_same_however_it_is_cut(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    for octet in b".\r\r\n..\r\n.a\r\n\r\n.\n\r\n.\r\n":
        await client.send(bytes([octet]))
        await asyncio.sleep(0.001)
    assert await client.reply() == 250
    assert reception.taken[0].content == b"\r\r\n.\r\na\r\n\r\n\n\r\n"
    await client.close()


async def test_a_refused_data_is_not_read(listen: Listen) -> None:
    reception = RecordedReception(begin=lambda: Reply(451, "7.1", "Not now"))
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    assert await client.ask("DATA") == "451 4.7.1 Not now"
    assert reception.only.count("abandon") == 1
    assert await client.say(MAIL) == 250
    await client.close()


async def test_chunks_are_one_message(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    octets = b"Subject: x\r\n\r\n.\r\n..\r\n\0bare\nbare\r\r\n.\r\nMAIL FROM:<x@y.example>\r\n"
    await client.send(b"BDAT %d\r\n" % 20 + octets[:20])
    assert await client.text() == "250 2.0.0 20 octets taken"
    await client.send(b"bdat 0\r\nBDAT %d  last\r\n" % len(octets[20:]) + octets[20:] + b"NOOP\r\n")
    assert [await client.reply() for _ in range(3)] == [250, 250, 250]
    assert [taken.content for taken in reception.taken] == [octets]
    assert reception.only.calls.count("begin") == 1
    assert await client.ask("BDAT 0 LAST") == "503 5.5.1 Send MAIL first"
    await client.close()


async def test_an_empty_last_chunk_ends_the_message(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.send(b"EHLO c.example\r\n" + f"{MAIL}\r\n{RCPT}\r\n".encode() + b"BDAT 3\r\nabcBDAT 0 LAST\r\n")
    assert [await client.reply() for _ in range(5)] == [250] * 5
    assert reception.taken[0].content == b"abc"
    await client.close()


async def test_a_refused_chunk_is_read_all_the_same(listen: Listen) -> None:
    """Otherwise its octets would be commands."""
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    chunk = b"MAIL FROM:<smuggled@b.example>\r\n"
    await client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
    assert await client.text() == "503 5.5.1 Send MAIL first"
    assert await client.say("EHLO c.example", MAIL) == 250
    await client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
    assert await client.text() == "503 5.5.1 No valid recipients"
    assert reception.only.count("mail") == 1
    assert reception.only.count("begin") == 0
    await client.close()


async def test_chunks_behind_a_refused_one_get_its_reply(listen: Listen) -> None:
    reception = RecordedReception(begin=lambda: Reply(452, "3.1", "Disk is full"))
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.send(b"BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nNOOP\r\nRSET\r\n")
    assert [await client.text() for _ in range(3)] == ["452 4.3.1 Disk is full"] * 2 + ["250 2.0.0 OK"]
    assert reception.only.count("abandon") == 1
    assert reception.only.count("take") == 0
    await client.close()


async def test_data_and_recipients_cannot_follow_a_chunk(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.send(b"BDAT 3\r\nabc")
    assert await client.reply() == 250
    assert await client.ask(RCPT) == "503 5.5.1 The content has begun already"
    assert await client.ask("DATA") == "503 5.5.1 DATA cannot follow BDAT in one transaction"
    await client.send(b"BDAT 3 LAST\r\nabc")
    assert await client.reply() == 503
    assert reception.taken == []
    assert reception.only.count("abandon") == 1
    assert await client.say("RSET", MAIL, RCPT, "DATA") == 354
    await client.send(b"x\r\n.\r\n")
    assert await client.reply() == 250
    await client.close()


@pytest.mark.parametrize("argument", ["", " ", " x", " -1", " 5 FIRST", " 5 LAST LAST", " 1234567890123456"])
async def test_a_malformed_chunk_ends_the_session(listen: Listen, argument: str) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.send(f"BDAT{argument}\r\nRSET\r\n".encode())
    assert await client.rest() in (b"501 5.5.4 Syntax: BDAT size [LAST]\r\n", b"")
    await until(lambda: "close" in reception.only.calls)
    assert reception.only.count("abandon") == 1


LIMIT = 100_000


def watch(conversation: RecordedConversation) -> int:
    return sum(len(chunk) for chunk in conversation.chunks)


@pytest.mark.parametrize("wire", [b"x" * 998 + b"\r\n", b"x" * 65_536, b"\r\n.."])
async def test_oversize_data_is_drained_in_bounded_memory(listen: Listen, wire: bytes) -> None:
    reception = RecordedReception()
    listener = await listen(reception, limits={"message_size": LIMIT})
    client = await Client.connect(listener.address)
    await client.open_data()
    total = 20_000_000
    tracemalloc.start()
    try:
        for _ in range(total // 1_000_000):
            await client.send(wire * (1_000_000 // len(wire)))
        await client.send(b"\r\n.\n\r\n.\r\n")
        assert await client.text() == "552 5.3.4 Message exceeds the size limit"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000, peak
    conversation = reception.only
    assert watch(conversation) <= LIMIT
    assert conversation.count("abandon") == 1
    assert conversation.count("finish") == 0
    assert await client.say(MAIL, RCPT, "DATA") == 354
    await client.send(b"x" * (LIMIT - 2) + b"\r\n.\r\n")
    assert await client.reply() == 250
    assert len(reception.taken[0].content) == LIMIT
    assert await client.say(MAIL, RCPT, "DATA") == 354
    await client.send(b"x" * (LIMIT - 1) + b"\r\n.\r\n")
    assert await client.reply() == 552
    await client.close()
    await until(lambda: conversation.calls[-1] == "close")
    assert conversation.count("abandon") == 2


async def test_oversize_chunks_are_drained(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception, limits={"message_size": LIMIT})
    client = await Client.connect(listener.address)
    assert await client.say("EHLO c.example", MAIL, RCPT) == 250
    await client.send(b"BDAT 60000\r\n" + b"x" * 60_000)
    assert await client.reply() == 250
    await client.send(b"BDAT 5000000\r\n" + b"x" * 5_000_000)
    assert await client.text() == "552 5.3.4 Message exceeds the size limit"
    await client.send(b"BDAT 6 LAST\r\nNOOP\r\n")
    assert await client.reply() == 552
    assert reception.only.count("abandon") == 1
    assert reception.taken == []
    assert await client.say("RSET", MAIL) == 250
    await client.close()


async def test_content_is_passed_on_in_chunks_while_it_comes(listen: Listen) -> None:
    reception = RecordedReception()
    listener = await listen(reception)
    client = await Client.connect(listener.address)
    await client.open_data()
    octets = b"x" + os.urandom(3_000_000).replace(b"\r", b"r").replace(b"\n", b"n")
    await client.send(octets[:1_000_000])
    await until(lambda: watch(reception.only) >= 999_000)
    assert max(len(chunk) for chunk in reception.only.chunks) <= 1_000_000
    await client.send(octets[1_000_000:] + b"\r\n.\r\n")
    assert await client.reply() == 250
    assert reception.taken[0].content == octets + b"\r\n"
    await client.close()


async def test_a_client_is_held_back_while_a_message_is_judged(listen: Listen) -> None:
    """Commands pipelined after the dot wait in the client's own buffers, not in ours."""
    done = asyncio.Event()

    async def finish() -> Reply:
        await done.wait()
        return Reply(250, "0.0", "OK")

    listener = await listen(RecordedReception(finish=finish), limits={"errors": 100_000, "commands": 10_000_000})
    client = await Client.connect(listener.address)
    await client.open_data()
    client.writer.write(b"x\r\n.\r\n" + b"NOOP " + b"x" * 30_000_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await client.writer.drain()
    assert client.writer.transport.get_write_buffer_size() > 10_000_000
    done.set()
    assert await client.reply() == 250
    await client.writer.drain()
    await client.send(b"\r\n")
    assert await client.reply() == 500
    await client.close()
