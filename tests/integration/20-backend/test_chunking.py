"""BDAT: content that DATA cannot carry arrives unaltered, and every answer and silence becomes an outcome."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from gateway.config.backends import BackendSettings as Settings
from gateway.model.delivery import Claim, Outcome, OutcomeKind, Scope
from gateway.model.message import Message, Span
from gateway.model.value import replace
from gateway.net.host_backend import HostBackend
from gateway.net.smtp_backend import make_smtp_backend
from gateway.ports import ContentAltered
from gateway.service.tally import SharedCounts
from tests.support.sending import PREFIX, TEXT, FixedResolver, StillClock, make_claim, make_message, reader
from tests.support.smtp_sink import CHUNKING, EXTENSIONS, HANG_UP, SILENCE, Sink

SLOW = tuple(one for one in CHUNKING if one != "PIPELINING")
DOTTED = b"A: b\r\n\r\n.\r\n..x\r\n.\r\n"


def backend_of(*sinks: Sink) -> HostBackend:
    settings = Settings(hosts=tuple(sink.address for sink in sinks), command_seconds=0.5, final_seconds=0.5)
    return make_smtp_backend("corp", settings, FixedResolver(), StillClock(), "gw.example", SharedCounts().tally())


async def send(claim: Claim, *sinks: Sink, chunk: int = 65536) -> tuple[Outcome, ...]:
    backend = backend_of(*sinks)
    try:
        return await backend.deliver(claim, reader(claim, chunk))
    finally:
        await backend.close()


def carried(octets: bytes) -> Message:
    """A message whose content only BDAT can carry."""
    message = make_message(octets)
    return replace(message, content=replace(message.content, chunks_only=True))


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink(extensions=CHUNKING) as sink:
        yield sink


@pytest.mark.parametrize("extensions", [CHUNKING, SLOW], ids=["together", "one by one"])
@pytest.mark.parametrize("chunk", [1, 7, 65536])
@pytest.mark.parametrize(
    "octets", [b"a: b\r\n\r\nx\ny\rz\x00\xff", b"a: b\n\n.\n.\r.\r\n", b"\n", b"no end", bytes(range(256)) * 9]
)
async def test_what_data_cannot_carry_arrives(octets: bytes, chunk: int, extensions: tuple[str, ...]) -> None:
    async with Sink(extensions=extensions) as sink:
        (outcome,) = await send(make_claim(message=carried(octets)), sink, chunk=chunk)
        assert outcome.kind is OutcomeKind.DELIVERED
        (mail,) = sink.mails
        assert (mail.content, "DATA" in sink.verbs()) == (PREFIX + octets, False)
        assert mail.chunks > 0


async def test_what_data_cannot_carry_is_refused_where_there_is_no_bdat() -> None:
    async with Sink(extensions=EXTENSIONS) as sink:
        (outcome,) = await send(make_claim(message=carried(b"a: b\n\nx")), sink)
        assert (outcome.kind, str(outcome.reply)[:9], outcome.scope) == (OutcomeKind.FAILED, "554 5.6.1", Scope.MESSAGE)
        assert (outcome.remote_mta, sink.mails, "MAIL" in sink.verbs()) == ("", [], False)


async def test_no_dots_are_put_in_where_bdat_is_offered(sink: Sink) -> None:
    await send(make_claim(DOTTED), sink)
    assert (sink.mails[0].content, sink.mails[0].chunks > 0) == (PREFIX + DOTTED, True)
    await send(make_claim(TEXT), sink)
    assert (sink.mails[1].content, sink.mails[1].chunks) == (PREFIX + TEXT, 0)


async def test_random_content_arrives_through_any_chunks(sink: Sink) -> None:
    chance = random.Random(11)
    for _ in range(60):
        octets = b"".join(chance.choice([b"\r\n", b".", b"\r", b"\n", b"a", b"\0"]) for _ in range(50))
        start = chance.randrange(len(octets))
        span = Span(start, chance.randrange(start, len(octets)))
        message = replace(carried(octets), dropped=(span,))
        (outcome,) = await send(make_claim(message=message), sink, chunk=chance.randrange(1, 9))
        assert outcome.kind is OutcomeKind.DELIVERED
        assert sink.mails[-1].content == PREFIX + octets[: span.start] + octets[span.end :]


async def test_large_content(sink: Sink) -> None:
    octets = (b"." + b"z" * 900 + b"\r\n") * 9000
    (outcome,) = await send(make_claim(octets), sink, chunk=1_000_000)
    assert (outcome.kind, sink.mails[0].content == PREFIX + octets, sink.mails[0].chunks) == (
        OutcomeKind.DELIVERED,
        True,
        9,
    )


@pytest.mark.parametrize("chunk", [3, 65536])
async def test_altered_content_is_never_sent(sink: Sink, chunk: int) -> None:
    altered = make_claim(message=make_message(DOTTED, data=DOTTED.replace(b"x", b"y")))
    with pytest.raises(ContentAltered):
        await send(altered, sink, chunk=chunk)
    assert (sink.dots, sink.mails) == (0, [])


@pytest.mark.parametrize(
    ("verb", "reply", "kind", "ambiguous"),
    [
        ("BDAT", b"552 5.3.4 too big\r\n", OutcomeKind.FAILED, False),
        ("BDAT", b"452 4.3.1 disk\r\n", OutcomeKind.DEFERRED, False),
        ("BDAT", b"421 4.3.2 bye\r\n", OutcomeKind.DEFERRED, False),
        ("DOT", b"550 5.7.1 no\r\n", OutcomeKind.FAILED, False),
        ("DOT", b"451 4.7.1 later\r\n", OutcomeKind.DEFERRED, False),
        ("DOT", HANG_UP, OutcomeKind.DEFERRED, True),
        ("DOT", SILENCE, OutcomeKind.DEFERRED, True),
    ],
)
@pytest.mark.parametrize("extensions", [CHUNKING, SLOW], ids=["together", "one by one"])
async def test_answers(
    verb: str, reply: bytes, kind: OutcomeKind, ambiguous: bool, extensions: tuple[str, ...]
) -> None:
    async with Sink(extensions=extensions, script={verb: [reply]}) as sink:
        (outcome,) = await send(make_claim(DOTTED * 20), sink, chunk=40)
        assert (outcome.kind, outcome.ambiguous) == (kind, ambiguous)
        if reply[0:1] in b"45":
            assert str(outcome.reply) == reply.decode().strip()
        assert sink.mails == []


async def test_host_that_hangs_up_between_chunks() -> None:
    """Nothing is ambiguous before the last chunk, except that the host may hang up only after it was written."""
    async with Sink(extensions=SLOW, script={"BDAT": [HANG_UP]}) as sink:
        (outcome,) = await send(make_claim(DOTTED * 20), sink, chunk=40)
        assert (outcome.kind, outcome.ambiguous) == (OutcomeKind.DEFERRED, False)


async def test_next_host_gets_it_after_a_transient_refusal(sink: Sink) -> None:
    async with Sink(extensions=CHUNKING, script={"DOT": [b"451 4.3.0 disk\r\n"]}) as first:
        (outcome,) = await send(make_claim(DOTTED), first, sink)
        assert (outcome.kind, first.mails, sink.mails[0].content) == (OutcomeKind.DELIVERED, [], PREFIX + DOTTED)


async def test_session_is_used_again_after_chunks(sink: Sink) -> None:
    backend = backend_of(sink)
    for octets in (DOTTED, TEXT, DOTTED):
        claim = make_claim(octets)
        assert (await backend.deliver(claim, reader(claim)))[0].kind is OutcomeKind.DELIVERED
    await backend.close()
    assert (sink.connections, [mail.content for mail in sink.mails]) == (
        1,
        [PREFIX + one for one in (DOTTED, TEXT, DOTTED)],
    )
