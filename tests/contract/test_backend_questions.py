"""Questions to a backend before a message is sent to it: its capabilities, and whether it has a mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.config.backends import BackendSettings as Settings
from gateway.model.delivery import OutcomeKind
from gateway.model.message import Capabilities, Unanswered
from gateway.model.reply import Reply
from gateway.net.host_backend import HostBackend
from gateway.net.smtp_backend import make_smtp_backend
from gateway.service.tally import SharedCounts
from tests.support.sending import FixedResolver, StillClock, mailbox, make_claim, reader
from tests.support.smtp_sink import HANG_UP, SILENCE, Sink


def backend_of(*hosts: str, **settings: object) -> HostBackend:
    given: dict[str, object] = {"hosts": hosts, "command_seconds": 2.0, "tls": "off"} | settings
    return make_smtp_backend(
        "corp", Settings(**given), FixedResolver(), StillClock(), "gw.example", SharedCounts().tally()
    )  # type: ignore[arg-type]


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


async def test_nothing_is_known_before_the_first_session(sink: Sink) -> None:
    backend = backend_of(sink.address)
    assert backend.capabilities() is None
    await backend.close()


@pytest.mark.parametrize(
    ("extensions", "known"),
    [
        (("SIZE 1000", "SMTPUTF8"), Capabilities(1000, True)),
        (("CHUNKING",), Capabilities(0, False, chunking=True)),
        (("SIZE", "8BITMIME"), Capabilities(0, False)),
        (("SIZE 0",), Capabilities(0, False)),
        (("SIZE lots",), Capabilities(0, False)),
        ((), Capabilities(0, False)),
    ],
)
async def test_what_the_last_session_said_is_remembered(extensions: tuple[str, ...], known: Capabilities) -> None:
    async with Sink(extensions=extensions) as sink:
        backend = backend_of(sink.address)
        claim = make_claim()
        await backend.deliver(claim, reader(claim))
        assert backend.capabilities() == known
        await backend.close()


async def test_of_several_hosts_the_most_that_any_takes_counts() -> None:
    small = Sink(extensions=("SIZE 1000",), script={"DOT": [b"451 4.3.0 not now\r\n"]})
    async with small, Sink(extensions=("SIZE 5000", "SMTPUTF8")) as large:
        backend = backend_of(small.address, large.address)
        claim = make_claim()
        (outcome,) = await backend.deliver(claim, reader(claim))
        assert outcome.kind is OutcomeKind.DELIVERED
        assert backend.capabilities() == Capabilities(5000, True)
        await backend.close()


@pytest.mark.parametrize(("second", "known"), [(("CHUNKING",), True), ((), False)])
async def test_chunking_is_known_only_when_every_host_offers_it(second: tuple[str, ...], known: bool) -> None:
    first = Sink(extensions=("CHUNKING",), script={"DOT": [b"451 4.3.0 not now\r\n"]})
    async with first, Sink(extensions=second) as other:
        backend = backend_of(first.address, other.address)
        claim = make_claim()
        await backend.deliver(claim, reader(claim))
        assert backend.capabilities() == Capabilities(0, False, chunking=known)
        await backend.close()


async def test_verify_asks_with_the_null_sender_and_sends_nothing(sink: Sink) -> None:
    backend = backend_of(sink.address)
    reply = await backend.verify(mailbox("bob@corp.example"))
    assert isinstance(reply, Reply)
    assert reply.code == 250
    assert sink.commands[1:] == ["MAIL FROM:<>", "RCPT TO:<bob@corp.example>", "RSET"]
    assert not sink.mails
    assert backend.room() == 10
    await backend.close()


async def test_a_refusal_comes_back_as_it_was_said(sink: Sink) -> None:
    sink.answers("RCPT", b"550-5.1.1 No such user\r\n550 5.1.1 see the manual\r\n")
    backend = backend_of(sink.address)
    reply = await backend.verify(mailbox("nobody@corp.example"))
    assert isinstance(reply, Reply)
    assert (reply.code, reply.detail, reply.text) == (550, "1.1", "No such user\nsee the manual")
    await backend.close()


async def test_question_and_delivery_share_a_session(sink: Sink) -> None:
    backend = backend_of(sink.address)
    await backend.verify(mailbox("bob@corp.example"))
    claim = make_claim()
    (outcome,) = await backend.deliver(claim, reader(claim))
    assert outcome.kind is OutcomeKind.DELIVERED
    await backend.verify(mailbox("eve@corp.example"))
    assert sink.connections == 1
    assert len(sink.mails) == 1
    assert "DATA" not in sink.verbs()[sink.verbs().index("DATA") + 1 :]
    await backend.close()


async def test_a_session_that_died_meanwhile_costs_no_delivery(sink: Sink) -> None:
    backend = backend_of(sink.address)
    await backend.verify(mailbox("bob@corp.example"))
    sink.answers("MAIL", b"421 4.4.2 idle too long\r\n", b"250 2.1.0 OK\r\n")
    claim = make_claim()
    (outcome,) = await backend.deliver(claim, reader(claim))
    assert outcome.kind is OutcomeKind.DELIVERED
    await backend.close()


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT"])
@pytest.mark.parametrize("answer", [HANG_UP, SILENCE])
async def test_silence_is_no_answer(sink: Sink, verb: str, answer: bytes) -> None:
    sink.answers(verb, answer)
    backend = backend_of(sink.address, greeting_seconds=0.3, command_seconds=0.3)
    assert await backend.verify(mailbox("bob@corp.example")) is Unanswered.SILENT
    assert backend.room() == 10
    await backend.close()


@pytest.mark.parametrize("verb", ["CONNECT", "MAIL"])
async def test_a_refusal_that_is_not_about_the_mailbox_is_no_answer(sink: Sink, verb: str) -> None:
    sink.answers(verb, b"554 5.7.1 You are on a list\r\n")
    backend = backend_of(sink.address)
    assert await backend.verify(mailbox("bob@corp.example")) is Unanswered.SILENT
    await backend.close()


async def test_the_next_host_is_asked_when_one_is_silent(sink: Sink) -> None:
    async with Sink(script={"CONNECT": [HANG_UP]}) as dead:
        backend = backend_of(dead.address, sink.address)
        reply = await backend.verify(mailbox("bob@corp.example"))
        assert isinstance(reply, Reply)
        assert reply.positive
        await backend.close()


async def test_nobody_listens() -> None:
    async with Sink() as gone:
        address = gone.address
    backend = backend_of(address)
    assert await backend.verify(mailbox("bob@corp.example")) is Unanswered.SILENT
    await backend.close()


async def test_a_question_never_takes_the_place_of_mail(sink: Sink) -> None:
    sink.gate.clear()
    backend = backend_of(sink.address, connections=1)
    claim = make_claim()
    delivery = asyncio.create_task(backend.deliver(claim, reader(claim)))
    while not sink.dots:  # noqa: ASYNC110 the sink tells nobody
        await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        assert await backend.verify(mailbox("bob@corp.example")) is Unanswered.NO_ROOM
    assert sink.connections == 1
    sink.gate.set()
    (outcome,) = await delivery
    assert outcome.kind is OutcomeKind.DELIVERED
    await backend.close()


async def test_a_session_that_cannot_be_reset_is_not_kept(sink: Sink) -> None:
    sink.answers("RSET", b"500 5.5.1 What\r\n")
    backend = backend_of(sink.address)
    reply = await backend.verify(mailbox("bob@corp.example"))
    assert isinstance(reply, Reply)
    async with asyncio.timeout(2):
        while sink.open_connections:  # noqa: ASYNC110 the sink tells nobody
            await asyncio.sleep(0.01)
    await backend.close()


async def test_an_address_outside_ascii_is_asked_about_only_where_it_can_be() -> None:
    for extensions, asked in ((("SMTPUTF8",), True), ((), False)):
        async with Sink(extensions=extensions) as sink:
            backend = backend_of(sink.address)
            reply = await backend.verify(mailbox("jürgen@corp.example"))
            assert isinstance(reply, Reply) if asked else reply is Unanswered.ADDRESS
            assert ("MAIL FROM:<> SMTPUTF8" in sink.commands) is asked
            await backend.close()


@pytest.mark.parametrize(("connections", "questions"), [(1, 1), (2, 1), (5, 2)])
async def test_questions_take_at_most_half_of_the_window(sink: Sink, connections: int, questions: int) -> None:
    sink.answers("RCPT", SILENCE)
    backend = backend_of(sink.address, connections=connections, command_seconds=0.3)
    asked = (backend.verify(mailbox(f"u{number}@corp.example")) for number in range(5))
    answers = await asyncio.gather(*asked)
    assert answers.count(Unanswered.NO_ROOM) == 5 - questions
    assert await backend.verify(mailbox("bob@corp.example")) is Unanswered.SILENT, "the room is given back"
    await backend.close()
