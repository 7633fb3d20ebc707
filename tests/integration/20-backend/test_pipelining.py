"""Commands that go out together: each reply is matched to its command in every case, and no reply is lost."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from gateway.config.backends import BackendSettings as Settings
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.net.host_backend import HostBackend
from gateway.net.smtp_backend import make_smtp_backend
from gateway.net.wire import NotSmtp, ReplyStream
from gateway.service.tally import SharedCounts
from tests.support.sending import PREFIX, TEXT, FixedResolver, StillClock, make_claim, reader
from tests.support.smtp_sink import HANG_UP, SILENCE, Sink

PLAIN = ("8BITMIME", "SIZE 0", "DSN", "SMTPUTF8")
BOTH = pytest.mark.parametrize("extensions", [PLAIN, (*PLAIN, "PIPELINING")], ids=["one by one", "together"])
MIXTURES = list(itertools.product(["250 2.1.5 ok", "451 4.2.1 later", "550 5.1.1 who"], repeat=3))
NAMES = ("ann", "bob", "cat", "dan")


def backend_of(sink: Sink, **settings: object) -> HostBackend:
    given: dict[str, object] = {"hosts": (sink.address,), "command_seconds": 0.3, "data_seconds": 0.3}
    given["final_seconds"] = 0.3
    return make_smtp_backend(
        "corp", Settings(**(given | settings)), FixedResolver(), StillClock(), "gw.example", SharedCounts().tally()
    )  # type: ignore[arg-type]


async def send(sink: Sink, rcpts: tuple[str, ...] = NAMES, times: int = 1) -> tuple[Outcome, ...]:
    claim = make_claim(rcpts=tuple(f"{name}@corp.example" for name in rcpts))
    backend = backend_of(sink)
    try:
        for _ in range(times):
            outcomes = await backend.deliver(claim, reader(claim))
        return outcomes
    finally:
        await backend.close()


class CountingHost:
    """Answers nothing until the whole envelope has arrived: a client that waits for each reply gets none."""

    def __init__(self) -> None:
        self.first = b""
        self.no_delay: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        while not self.first.endswith(b"DATA\r\n"):
            self.first += await reader.readline()
        writer.write(b"250 a\r\n250 b\r\n550 5.1.1 c\r\n354 d\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 2.0.0 Done\r\n")
        await reader.readline()
        writer.close()


async def test_envelope_goes_out_in_one_flight() -> None:
    host = CountingHost()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend = make_smtp_backend(
        "corp",
        Settings(hosts=(f"127.0.0.1:{port}",), command_seconds=2.0, tls="off"),
        FixedResolver(),
        StillClock(),
        "gw.example",
        SharedCounts().tally(),
    )
    claim = make_claim(rcpts=("ann@corp.example", "bob@corp.example"))
    outcomes = await backend.deliver(claim, reader(claim))
    await backend.close()
    await asyncio.sleep(0.05)
    server.close()
    assert [str(one.reply) for one in outcomes] == ["250 2.0.0 Done", "550 5.1.1 c"]
    assert host.first.count(b"RCPT") == 2


@BOTH
@pytest.mark.parametrize("answers", MIXTURES)
async def test_each_recipient_has_its_own_reply(extensions: tuple[str, ...], answers: tuple[str, ...]) -> None:
    said = dict(zip(NAMES, answers, strict=False))
    script = {"RCPT": [lambda argument: f"{said[argument[4:7]]}\r\n".encode()]}
    async with Sink(extensions=extensions, script=script) as sink:  # type: ignore[arg-type]
        outcomes = await send(sink, tuple(said), times=2)
    for one, answer in zip(outcomes, answers, strict=True):
        assert str(one.reply) == ("250 2.0.0 Queued" if answer.startswith("2") else answer)
        assert (one.kind is OutcomeKind.DELIVERED) is answer.startswith("2")
    taken = [f"TO:<{name}@corp.example>" for name, answer in said.items() if answer.startswith("2")]
    assert [mail.rcpts for mail in sink.mails] == ([taken] * 2 if taken else [])


@BOTH
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    "reply", [b"421 4.3.2 bye\r\n", b"550 5.7.1 no\r\n", b"451 4.7.1 later\r\n", HANG_UP, SILENCE, b"huh\r\n"]
)
async def test_trouble_before_the_content(extensions: tuple[str, ...], verb: str, reply: bytes) -> None:
    async with Sink(extensions=extensions, script={verb: [reply]}) as sink:
        outcomes = await send(sink)
        assert len({(one.kind, one.scope, str(one.reply)) for one in outcomes}) == 1
        given = reply.decode().strip()
        if given[0].isdecimal():
            assert str(outcomes[0].reply) == given
            assert outcomes[0].kind is (OutcomeKind.FAILED if given.startswith("5") else OutcomeKind.DEFERRED)
        else:
            assert (outcomes[0].kind, outcomes[0].scope, outcomes[0].remote_mta) == (
                OutcomeKind.DEFERRED,
                Scope.SESSION,
                "",
            )
        assert not any(one.ambiguous for one in outcomes)
        assert (sink.mails, sink.dots) == ([], 0)


async def test_no_content_for_nobody() -> None:
    """RFC 2920 section 3.1: a host may say 354 although it has taken no recipient."""
    async with Sink(script={"RCPT": [b"550 5.1.1 who\r\n"], "DATA": [b"354 Go\r\n"]}) as sink:
        outcomes = await send(sink)
        assert {str(one.reply) for one in outcomes} == {"550 5.1.1 who"}
        await asyncio.sleep(0.05)
        assert (sink.dots, sink.mails, sink.open_connections) == (0, [], 0)


async def test_next_transaction_starts_clean_after_a_refused_one() -> None:
    async with Sink(script={"MAIL": [b"550 5.7.1 no\r\n", b"250 OK\r\n"]}) as sink:
        outcomes = await send(sink, times=2)
        assert {one.kind for one in outcomes} == {OutcomeKind.DELIVERED}
        assert [mail.content for mail in sink.mails] == [PREFIX + TEXT]
        assert sink.connections == 1


async def test_what_a_host_says_unasked_ends_the_session() -> None:
    async with Sink(script={"DOT": [b"250 2.0.0 Queued\r\n250 2.0.0 And more\r\n"]}) as sink:
        outcomes = await send(sink, times=2)
        assert {str(one.reply) for one in outcomes} == {"250 2.0.0 Queued"}
        assert (sink.connections, len(sink.mails)) == (2, 2)


# the stream of replies


class Pipe(asyncio.Transport):
    """A transport that keeps the written octets."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = self.held_back = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.held_back = True

    def resume_reading(self) -> None:
        self.held_back = False


OCTETS = b"250-one\r\n250 two\r\n550-5.1.1 no\n550 \xff\r\n354\r\n221 bye \r\n"


def asked(replies: int) -> tuple[ReplyStream, Pipe]:
    """A stream on which so many replies are awaited."""
    pipe = Pipe()
    stream = ReplyStream(pipe)
    stream.write(b"", replies)
    return stream, pipe


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
async def test_replies_come_whole_however_they_are_cut(size: int) -> None:
    stream, _ = asked(4)
    for at in range(0, len(OCTETS), size):
        stream.data_received(OCTETS[at : at + size])
    found = [await stream.read(1) for _ in range(4)]
    assert found == [(250, "one\ntwo"), (550, "5.1.1 no\n\udcff"), (354, ""), (221, "bye")]
    assert not stream.answered


@pytest.mark.parametrize("odd", [b"\r\n", b"\n", b" \t\r\n\r\n", b""])
async def test_what_has_one_meaning_is_read(odd: bytes) -> None:
    """An empty line, a tab for the blank, LF alone."""
    stream, pipe = asked(2)
    stream.data_received(odd + b"250-one\n" + odd + b"250\ttwo\n" + odd + b"354\tgo\r\n" + odd)
    assert [await stream.read(1), await stream.read(1)] == [(250, "one\ntwo"), (354, "go")]
    assert stream.connected
    assert not pipe.closed


@pytest.mark.parametrize(
    "noise",
    [
        b"hello\r\n",
        b"25 x\r\n",
        b"2500\r\n",
        b"250x\r\n",
        b"250-" + b"x" * 9_000,
        b"250-" + b"x" * 9_000 + b"\r\n",
        (b"250-" + b"x" * 1000 + b"\r\n") * 70,
        b"250-\r\n" * 1001,
        b"\r\n" * 40_000,
    ],
)
async def test_what_is_no_reply(noise: bytes) -> None:
    stream, pipe = asked(9)
    stream.data_received(b"250 fine\r\n" + noise)
    stream.data_received(b"250 never read\r\n")
    assert await stream.read(1) == (250, "fine")
    with pytest.raises(NotSmtp):
        await stream.read(1)
    assert pipe.closed


@pytest.mark.parametrize("noise", [b"250 x\r\n", b"421 4.4.2 idle\r\n", b"250-x\r\n", b"250 x\r\n" * 40_000])
async def test_a_reply_that_nothing_asked_for_ends_the_connection(noise: bytes) -> None:
    stream, pipe = asked(1)
    stream.data_received(b"250 fine\r\n" + noise)
    assert await stream.read(1) == (250, "fine"), "the one before it stands"
    assert (stream.connected, pipe.closed) == (False, True)
    with pytest.raises(NotSmtp):
        await stream.read(1)


async def test_what_is_not_read_is_not_taken_in() -> None:
    stream, pipe = asked(100)
    reply = (b"250-" + b"x" * 900 + b"\r\n") * 20 + b"250 x\r\n"
    for at in range(5):
        stream.data_received(reply)
        assert pipe.held_back is (at >= 3)
    for left in range(4, -1, -1):
        await stream.read(1)
        assert pipe.held_back is (left > 1)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_reply_in_time_is_heard_after_a_stall(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The process stalled beyond the time-out: the reply is in the socket when the timer fires."""
    with socket.create_server(("127.0.0.1", 0)) as server, asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(_hear_after_a_stall(server)) == (250, "it came in time")


async def _hear_after_a_stall(server: socket.socket) -> tuple[int, str]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname())
    stream = ReplyStream(cast(asyncio.Transport, transport))
    stream.write(b"x", 1)
    host, _ = server.accept()
    reading = asyncio.create_task(stream.read(0.2))
    await asyncio.sleep(0.05)
    host.sendall(b"250 it came in time\r\n")
    time.sleep(0.4)  # noqa: ASYNC251 it is the loop that stands still
    try:
        return await reading
    finally:
        host.close()
        transport.abort()


async def test_a_time_out_without_a_reply() -> None:
    stream, _ = asked(1)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await stream.read(0.1)
    assert 0.09 < time.monotonic() - started < 1


async def test_end_of_the_connection_is_told_after_what_came_before() -> None:
    stream, _ = asked(2)
    stream.data_received(b"421 bye\r\n")
    stream.eof_received()
    assert (stream.connected, stream.answered) == (False, True)
    assert await stream.read(1) == (421, "bye")
    with pytest.raises(ConnectionResetError):
        await stream.read(1)
    with pytest.raises(ConnectionResetError):
        stream.write(b"QUIT\r\n")


async def test_drain_ends_when_the_host_speaks() -> None:
    stream, _ = asked(1)
    stream.pause_writing()
    draining = asyncio.create_task(stream.drain(1))
    await asyncio.sleep(0)
    assert not draining.done()
    stream.data_received(b"552 too big\r\n")
    await asyncio.wait_for(draining, 1)
    assert await stream.read(1) == (552, "too big")


async def test_small_packets_are_not_held_back() -> None:
    async with Sink() as sink:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", sink.port)
        ReplyStream(transport)
        held: socket.socket = transport.get_extra_info("socket")
        assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.abort()
