"""The SMTP backend against a scripted server on a real socket: every answer and every silence becomes an outcome."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.config.backends import BackendSettings as Settings
from gateway.model.delivery import Claim, Outcome, OutcomeKind, Scope
from gateway.model.envelope import Body, Notify, Recipient, Ret
from gateway.model.message import Span
from gateway.model.value import replace
from gateway.net.host_backend import HostBackend
from gateway.net.smtp_backend import make_smtp_backend
from gateway.ports import ContentAltered
from gateway.service.tally import SharedCounts
from tests.support.sending import (
    PREFIX,
    TEXT,
    FixedResolver,
    StillClock,
    changed,
    mailbox,
    make_claim,
    make_message,
    reader,
)
from tests.support.smtp_sink import HANG_UP, SILENCE, Sink


def backend_of(*sinks: Sink, hosts: tuple[str, ...] = (), **settings: object) -> HostBackend:
    given: dict[str, object] = {"hosts": hosts or tuple(sink.address for sink in sinks), "command_seconds": 5.0}
    return make_smtp_backend(
        "corp", Settings(**(given | settings)), FixedResolver(), StillClock(), "gw.example", SharedCounts().tally()
    )  # type: ignore[arg-type]


async def send(backend: HostBackend, claim: Claim, chunk: int = 65536) -> tuple[Outcome, ...]:
    return await backend.deliver(claim, reader(claim, chunk))


async def send_once(sink: Sink, claim: Claim | None = None, **settings: object) -> tuple[Outcome, ...]:
    backend = backend_of(sink, **settings)
    try:
        return await send(backend, claim or make_claim())
    finally:
        await backend.close()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


def kinds(outcomes: tuple[Outcome, ...]) -> list[tuple[OutcomeKind, Scope]]:
    return [(one.kind, one.scope) for one in outcomes]


# the octets sent


async def test_delivers(sink: Sink) -> None:
    (outcome,) = await send_once(sink)
    (mail,) = sink.mails
    assert mail.content == PREFIX + TEXT
    assert (mail.mail, mail.rcpts) == (
        f"FROM:<alice@sender.example> SIZE={len(PREFIX + TEXT)}",
        ["TO:<bob@corp.example>"],
    )
    assert outcome.kind is OutcomeKind.DELIVERED
    assert str(outcome.reply) == "250 2.0.0 Queued"
    assert (outcome.remote_mta, outcome.remote_address, outcome.tls) == ("127.0.0.1", "127.0.0.1", None)
    assert sink.commands[0] == "EHLO gw.example"


NASTY = [
    b"",
    b"\r\n",
    b".\r\n",
    b"..\r\n.\r\n...\r\n",
    b"a: b\r\n\r\n.\r\n.x\r\n\r\n.\r\n",
    b"a: b\r\n\r\nl1\nl2\r.l3\n.\nl4\r\n.l5\r\n\xff\x00\r\n",
    b"\r.\r\n\n.\n\r\r\n.\r\r\n",
    b"a: " + b"x" * 5000 + b"\r\n\r\n--inner--\r\n\r\n--outer\r\n",
    bytes(range(256)) * 40 + b"\r\n",
    (b"." + b"y" * 70 + b"\r\n") * 5000,
]


@pytest.mark.parametrize("octets", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("chunk", [1, 7, 65536])
async def test_every_octet_arrives(sink: Sink, octets: bytes, chunk: int) -> None:
    if len(octets) > 20_000 and chunk == 1:
        chunk = 3
    backend = backend_of(sink)
    (outcome,) = await send(backend, make_claim(octets), chunk)
    await backend.close()
    assert outcome.kind is OutcomeKind.DELIVERED
    assert sink.mails[0].content == PREFIX + octets


async def test_random_content_arrives_through_any_chunks(sink: Sink) -> None:
    chance = random.Random(7)
    backend = backend_of(sink)
    for _ in range(150):
        octets = b"".join(chance.choice([b"\r\n", b".", b"\r", b"\n", b"a", b"\r\n."]) for _ in range(60)) + b"\r\n"
        start = chance.randrange(len(octets))
        span = Span(start, chance.randrange(start, len(octets) - 1) if start < len(octets) - 1 else start)
        claim = make_claim(message=make_message(octets, (span,)))
        (outcome,) = await send(backend, claim, chance.randrange(1, 9))
        expected = PREFIX + octets[: span.start] + octets[span.end :]
        if outcome.kind is OutcomeKind.DELIVERED:
            assert sink.mails[-1].content == expected
        else:
            assert outcome.reply.enhanced == "5.6.1"
            assert not expected.endswith(b"\r\n")
    await backend.close()
    assert len(sink.mails) > 100


async def test_dropped_spans_are_left_out(sink: Sink) -> None:
    octets = b"A: 1\r\nB: forged\r\nC: 3\r\nD: forged\r\n\r\n.body\r\n"
    spans = (Span(6, 17), Span(23, 34))
    for chunk in (1, 5, 100):
        backend = backend_of(sink)
        await send(backend, make_claim(message=make_message(octets, spans)), chunk)
        await backend.close()
        assert sink.mails[-1].content == PREFIX + b"A: 1\r\nC: 3\r\n\r\n.body\r\n"
        assert f"SIZE={len(sink.mails[-1].content)}" in sink.mails[-1].mail


async def test_large_content_waits_for_a_slow_host(sink: Sink) -> None:
    sink.slow_reader = 0.005
    octets = (b"z" * 998 + b"\r\n") * 8000
    (outcome,) = await send_once(sink, make_claim(octets))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert sink.mails[0].content == PREFIX + octets


async def test_parameters_are_passed_on(sink: Sink) -> None:
    rcpts = (
        Recipient(mailbox("bob@corp.example"), (Notify.SUCCESS, Notify.DELAY), "rfc822;bob+2B@x.example"),
        Recipient(mailbox('"a b"@corp.example'), (Notify.NEVER,)),
    )
    claim = changed(make_claim(rcpts=rcpts), body=Body.EIGHT_BIT, ret=Ret.HDRS, envid="env+41", mail_from=None)
    await send_once(sink, claim)
    size = len(PREFIX + TEXT)
    assert sink.commands[1:4] == [
        f"MAIL FROM:<> BODY=8BITMIME SIZE={size} RET=HDRS ENVID=env+41",
        "RCPT TO:<bob@corp.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+2B@x.example",
        'RCPT TO:<"a b"@corp.example> NOTIFY=NEVER',
    ]


async def test_parameters_that_are_not_offered_are_not_sent() -> None:
    rcpts = (Recipient(mailbox("bob@corp.example"), (Notify.DELAY,), "rfc822;bob@x.example"),)
    claim = changed(make_claim(rcpts=rcpts), body=Body.EIGHT_BIT, ret=Ret.HDRS, envid="env", smtputf8=True)
    async with Sink(extensions=()) as sink:
        (outcome,) = await send_once(sink, claim)
        assert sink.commands[1:3] == ["MAIL FROM:<alice@sender.example>", "RCPT TO:<bob@corp.example>"]
        assert outcome.kind is OutcomeKind.DELIVERED


async def test_odd_addresses_are_written_as_received(sink: Sink) -> None:
    odd = ["a,b@x.example", "a:b@x.example", '"a@b"@c.example', "o'x@x.example", "a@[192.0.2.1]", "jörg@bücher.example"]
    claim = changed(make_claim(rcpts=tuple(odd)), smtputf8=True)
    await send_once(sink, claim)
    assert [command for command in sink.commands if command.startswith("RCPT")] == [f"RCPT TO:<{one}>" for one in odd]
    assert "SMTPUTF8" in sink.commands[1]


async def test_address_that_would_break_the_line_is_refused_here(sink: Sink) -> None:
    for bad in ("a b", "a\r\nQUIT", "a>", "a\x00", "\udcff"):
        evil = replace(mailbox("bob@corp.example"), local=bad)
        (bad_one, good) = await send_once(sink, make_claim(rcpts=(Recipient(evil), "ann@corp.example")))
        assert (bad_one.kind, bad_one.reply.code, good.kind) == (OutcomeKind.FAILED, 553, OutcomeKind.DELIVERED)
    assert not [command for command in sink.commands if "ann@" not in command and command.startswith("RCPT")]
    injected = Recipient(mailbox("bob@corp.example"), orcpt="rfc822;x NOTIFY=NEVER")
    (outcome,) = await send_once(sink, make_claim(rcpts=(injected,)))
    assert (outcome.kind, outcome.reply.enhanced) == (OutcomeKind.FAILED, "5.5.4")


# messages that a host cannot take


async def test_8bit_content_is_refused_not_converted() -> None:
    async with Sink(extensions=("SIZE",)) as sink:
        (outcome,) = await send_once(sink, make_claim("Subject: ä\r\n\r\nä\r\n".encode()))
        assert (outcome.kind, str(outcome.reply)[:9], outcome.remote_mta) == (OutcomeKind.FAILED, "554 5.6.3", "")
        assert "MAIL" not in sink.verbs()


async def test_8bit_content_says_so_even_if_the_client_did_not(sink: Sink) -> None:
    await send_once(sink, make_claim("Subject: ä\r\n\r\nä\r\n".encode()))
    assert "BODY=8BITMIME" in sink.commands[1]


async def test_smtputf8_that_is_needed_is_refused_per_address() -> None:
    async with Sink(extensions=("8BITMIME",)) as sink:
        claim = changed(make_claim(rcpts=("jörg@corp.example", "bob@corp.example")), smtputf8=True)
        wide, plain = await send_once(sink, claim)
        assert (wide.kind, str(wide.reply)[:9], wide.scope) == (OutcomeKind.FAILED, "553 5.6.7", Scope.RECIPIENT)
        assert plain.kind is OutcomeKind.DELIVERED
        (outcome,) = await send_once(sink, make_claim(mail_from="jörg@sender.example"))
        assert (outcome.kind, str(outcome.reply)[:9]) == (OutcomeKind.FAILED, "553 5.6.7")
        wide_header = changed(make_claim("Subject: ä\r\n\r\nx\r\n".encode()), smtputf8=True)
        (outcome,) = await send_once(sink, wide_header)
        assert (outcome.kind, outcome.reply.enhanced) == (OutcomeKind.FAILED, "5.6.9")
        assert len(sink.mails) == 1


async def test_size_limit() -> None:
    async with Sink(extensions=(f"SIZE {len(PREFIX + TEXT) - 1}",)) as sink:
        (outcome,) = await send_once(sink)
        assert (outcome.kind, str(outcome.reply)[:9]) == (OutcomeKind.FAILED, "552 5.3.4")
    async with Sink(extensions=(f"SIZE {len(PREFIX + TEXT)}",)) as sink:
        assert (await send_once(sink))[0].kind is OutcomeKind.DELIVERED


async def test_content_without_final_crlf_cannot_go_by_data(sink: Sink) -> None:
    (outcome,) = await send_once(sink, make_claim(b"a: b\r\n\r\nno end"))
    assert (outcome.kind, outcome.reply.enhanced) == (OutcomeKind.FAILED, "5.6.1")
    assert sink.mails == []


# promise P2


@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_altered_content_is_never_sent(sink: Sink, size: int) -> None:
    octets = b"x" * size + b"\r\n"
    altered = octets[: size // 2] + b"y" + octets[size // 2 + 1 :]
    backend = backend_of(sink)
    with pytest.raises(ContentAltered):
        await send(backend, make_claim(message=make_message(octets, data=altered)))
    await asyncio.sleep(0.05)
    assert (sink.dots, sink.mails) == (0, [])
    assert backend.has_room()
    assert (await send(backend, make_claim()))[0].kind is OutcomeKind.DELIVERED
    assert sink.connections == 2
    await backend.close()


async def test_shortened_content_is_never_sent(sink: Sink) -> None:
    backend = backend_of(sink)
    with pytest.raises(ContentAltered):
        await send(backend, make_claim(message=make_message(TEXT, data=TEXT[:-8])))
    await backend.close()
    assert sink.dots == 0


async def test_unreadable_content_is_our_fault(sink: Sink) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield TEXT[:5]
        raise OSError(5, "Input/output error")

    backend = backend_of(sink)
    outcomes = await backend.deliver(make_claim(), broken)
    await backend.close()
    assert kinds(outcomes) == [(OutcomeKind.DEFERRED, Scope.OURS)]
    assert sink.dots == 0


# answers


@pytest.mark.parametrize(
    ("verb", "reply", "kind", "scope"),
    [
        ("CONNECT", b"554 5.7.1 go away\r\n", OutcomeKind.DEFERRED, Scope.SITE),
        ("CONNECT", b"421 4.3.2 busy\r\n", OutcomeKind.DEFERRED, Scope.SITE),
        ("CONNECT", b"garbage\r\n", OutcomeKind.DEFERRED, Scope.SITE),
        ("EHLO", b"550 5.7.1 no\r\n", OutcomeKind.DEFERRED, Scope.SITE),
        ("MAIL", b"451 4.7.1 later\r\n", OutcomeKind.DEFERRED, Scope.MESSAGE),
        ("MAIL", b"452 4.3.1 disk full\r\n", OutcomeKind.DEFERRED, Scope.SESSION),
        ("MAIL", b"550 5.7.1 no\r\n", OutcomeKind.FAILED, Scope.MESSAGE),
        ("MAIL", b"530 5.7.0 STARTTLS first\r\n", OutcomeKind.DEFERRED, Scope.OURS),
        ("MAIL", b"350 what\r\n", OutcomeKind.DEFERRED, Scope.SESSION),
        ("RCPT", b"450 4.2.1 later\r\n", OutcomeKind.DEFERRED, Scope.RECIPIENT),
        ("RCPT", b"550 5.1.1 who\r\n", OutcomeKind.FAILED, Scope.RECIPIENT),
        ("RCPT", b"552 too many recipients\r\n", OutcomeKind.DEFERRED, Scope.RECIPIENT),
        ("RCPT", b"552 5.2.2 mailbox full\r\n", OutcomeKind.FAILED, Scope.RECIPIENT),
        ("RCPT", b"451 4.3.0 Multiple destination domains\r\n", OutcomeKind.DEFERRED, Scope.RECIPIENT),
        ("RCPT", b"421 4.7.0 TLS required\r\n", OutcomeKind.DEFERRED, Scope.OURS),
        ("RCPT", b"421 4.7.0 later\r\n", OutcomeKind.DEFERRED, Scope.SITE),
        ("DATA", b"451 4.7.1 later\r\n", OutcomeKind.DEFERRED, Scope.MESSAGE),
        ("DATA", b"554 5.5.1 no\r\n", OutcomeKind.DEFERRED, Scope.OURS),
        ("DATA", b"554 5.7.0 no\r\n", OutcomeKind.FAILED, Scope.MESSAGE),
        ("DATA", b"250 what\r\n", OutcomeKind.DEFERRED, Scope.SESSION),
        ("DOT", b"451 4.7.1 later\r\n", OutcomeKind.DEFERRED, Scope.MESSAGE),
        ("DOT", b"451 4.3.0 queue\r\n", OutcomeKind.DEFERRED, Scope.SESSION),
        ("DOT", b"550 5.7.23 spf\r\n", OutcomeKind.DEFERRED, Scope.OURS),
        ("DOT", b"550 5.7.25 no PTR\r\n", OutcomeKind.DEFERRED, Scope.OURS),
        ("DOT", b"451 4.7.500 Server busy (AS77712345)\r\n", OutcomeKind.DEFERRED, Scope.SITE),
        ("DOT", b"550 5.7.1 spam\r\n", OutcomeKind.FAILED, Scope.MESSAGE),
        ("DOT", b"421 4.7.28 rate\r\n", OutcomeKind.DEFERRED, Scope.SITE),
    ],
)
async def test_answers(verb: str, reply: bytes, kind: OutcomeKind, scope: Scope) -> None:
    async with Sink(script={verb: [reply]}) as sink:
        outcomes = await send_once(sink)
        assert kinds(outcomes) == [(kind, scope)]
        given = reply.strip().decode()
        if given[:3].isdecimal() and given[0] in "45":
            assert str(outcomes[0].reply) == given
            assert outcomes[0].remote_mta == "127.0.0.1"
        else:
            assert outcomes[0].remote_mta == ""
            assert outcomes[0].reply.transient
        assert not outcomes[0].ambiguous


async def test_multi_line_reply_is_kept_whole() -> None:
    lines = (b"550-5.7.26 This mail is unauthenticated", b"550-5.7.26 for p=reject\x1b[2J\xff", b"550 5.7.26 see help")
    reply = b"\r\n".join((*lines, b""))
    async with Sink(script={"DOT": [reply]}) as sink:
        (outcome,) = await send_once(sink)
    assert outcome.reply.enhanced == "5.7.26"
    assert outcome.reply.text == "This mail is unauthenticated\nfor p=reject\\x1b[2J\\xff\nsee help"


async def test_each_recipient_has_its_own_answer(sink: Sink) -> None:
    answers = {"ann": b"250 OK\r\n", "bob": b"550 5.1.1 who\r\n", "cat": b"451 4.2.1 later\r\n", "dan": b"251 fwd\r\n"}
    sink.answers("RCPT", lambda argument: answers[argument[4:7]])
    outcomes = await send_once(sink, make_claim(rcpts=tuple(f"{name}@corp.example" for name in answers)))
    assert [one.kind for one in outcomes] == [
        OutcomeKind.DELIVERED,
        OutcomeKind.FAILED,
        OutcomeKind.DEFERRED,
        OutcomeKind.DELIVERED,
    ]
    assert [one.rcpt.mailbox.local for one in outcomes] == list(answers)
    assert sink.mails[0].rcpts == ["TO:<ann@corp.example>", "TO:<dan@corp.example>"]


async def test_no_data_when_all_are_refused(sink: Sink) -> None:
    sink.answers("RCPT", b"550 5.1.1 who\r\n")
    outcomes = await send_once(sink, make_claim(rcpts=("a@corp.example", "b@corp.example")))
    assert {one.kind for one in outcomes} == {OutcomeKind.FAILED}
    assert {str(one.reply) for one in outcomes} == {"550 5.1.1 who"}
    assert sink.dots == 0


async def test_helo_for_a_server_that_knows_no_ehlo() -> None:
    async with Sink(script={"EHLO": [b"502 what\r\n"]}) as sink:
        assert (await send_once(sink))[0].kind is OutcomeKind.DELIVERED
        assert "HELO gw.example" in sink.commands


# silence


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("silence", [HANG_UP, SILENCE], ids=["lost", "mute"])
async def test_silence_is_deferred(verb: str, silence: bytes) -> None:
    async with Sink(script={verb: [silence]}) as sink:
        (outcome,) = await send_once(
            sink, greeting_seconds=0.2, command_seconds=0.2, data_seconds=0.2, final_seconds=0.2
        )
    early = verb in ("CONNECT", "EHLO")
    assert (outcome.kind, outcome.scope) == (OutcomeKind.DEFERRED, Scope.SITE if early else Scope.SESSION)
    assert outcome.ambiguous is (verb == "DOT")
    assert outcome.remote_mta == ""
    assert outcome.reply.enhanced == ("4.4.1" if early else "4.4.2")


async def test_nobody_listens(sink: Sink) -> None:
    await sink.shut()
    (outcome,) = await send_once(sink)
    assert (outcome.kind, outcome.scope) == (OutcomeKind.DEFERRED, Scope.SITE)
    assert "Connection refused" in outcome.reply.text


async def test_refusal_in_the_middle_of_content_is_heard() -> None:
    async with Sink(script={"MIDDLE": [b"552 5.3.4 too big\r\n"]}) as sink:
        (outcome,) = await send_once(sink, make_claim(b"x" * 5_000_000 + b"\r\n"))
    assert (outcome.kind, str(outcome.reply), outcome.ambiguous) == (OutcomeKind.FAILED, "552 5.3.4 too big", False)


async def test_loss_in_the_middle_of_content_is_not_ambiguous() -> None:
    async with Sink(script={"MIDDLE": [HANG_UP]}) as sink:
        (outcome,) = await send_once(sink, make_claim(b"x" * 5_000_000 + b"\r\n"))
    assert (outcome.kind, outcome.scope, outcome.ambiguous) == (OutcomeKind.DEFERRED, Scope.SESSION, False)


async def test_host_that_takes_no_more_octets() -> None:
    async with Sink(slow_reader=30) as sink:
        (outcome,) = await send_once(sink, make_claim(b"x" * 20_000_000 + b"\r\n"), block_seconds=0.3)
    assert (outcome.kind, outcome.scope, outcome.ambiguous) == (OutcomeKind.DEFERRED, Scope.SESSION, False)
    assert "no answer in time (content)" in outcome.reply.text


# hosts


@pytest.mark.parametrize(
    "script",
    [
        {"CONNECT": [HANG_UP]},
        {"CONNECT": [b"554 5.7.1 no\r\n"]},
        {"MAIL": [b"421 4.3.2 shutting down\r\n"]},
        {"RCPT": [HANG_UP]},
        {"DOT": [b"451 4.4.0 Message failed to be made redundant\r\n"]},
        {"DOT": [b"452 4.3.1 disk\r\n"]},
    ],
)
async def test_next_host_at_once(script: dict[str, list[bytes]], sink: Sink) -> None:
    async with Sink(script=dict(script)) as first:
        backend = backend_of(first, sink)
        (outcome,) = await send(backend, make_claim())
        await backend.close()
    assert outcome.kind is OutcomeKind.DELIVERED
    assert [mail.content for mail in sink.mails] == [PREFIX + TEXT]


@pytest.mark.parametrize("reply", [b"451 4.7.1 wait\r\n", b"550 5.7.1 no\r\n", b"421 4.7.0 rate\r\n", HANG_UP])
async def test_no_next_host(reply: bytes, sink: Sink) -> None:
    async with Sink(script={"DOT": [reply]}) as first:
        backend = backend_of(first, sink)
        (outcome,) = await send(backend, make_claim())
        await backend.close()
    assert outcome.kind is not OutcomeKind.DELIVERED
    assert sink.connections == 0


async def test_next_host_gets_only_those_that_it_may_take(sink: Sink) -> None:
    answers = {"ann": b"250 OK\r\n", "bob": b"550 5.1.1 who\r\n", "cat": b"451 4.2.1 later\r\n"}
    script = {"RCPT": [lambda argument: answers[argument[4:7]]], "DOT": [b"451 4.3.0 disk\r\n"]}
    async with Sink(script=script) as first:  # type: ignore[arg-type]
        backend = backend_of(first, sink)
        outcomes = await send(backend, make_claim(rcpts=tuple(f"{name}@corp.example" for name in answers)))
        await backend.close()
    assert [one.kind for one in outcomes] == [OutcomeKind.DELIVERED, OutcomeKind.FAILED, OutcomeKind.DEFERRED]
    assert sink.mails[0].rcpts == ["TO:<ann@corp.example>"]


async def test_an_answer_tells_more_than_a_later_silence(sink: Sink) -> None:
    await sink.shut()
    async with Sink(script={"DOT": [b"451 4.3.0 disk\r\n"]}) as first:
        backend = backend_of(first, sink)
        (outcome,) = await send(backend, make_claim())
        await backend.close()
    assert str(outcome.reply) == "451 4.3.0 disk"


async def test_one_recipient_domain_for_each_transaction(sink: Sink) -> None:
    claim = make_claim(rcpts=("a@one.example", "b@two.example", "c@one.example"))
    outcomes = await send_once(sink, claim, one_domain_per_transaction=True)
    assert [mail.rcpts for mail in sink.mails] == [["TO:<a@one.example>", "TO:<c@one.example>"], ["TO:<b@two.example>"]]
    assert [one.rcpt.mailbox.local for one in outcomes] == ["a", "b", "c"]


# sessions


async def test_session_is_used_again(sink: Sink) -> None:
    backend = backend_of(sink)
    for _ in range(5):
        assert (await send(backend, make_claim()))[0].kind is OutcomeKind.DELIVERED
    assert (sink.connections, sink.verbs().count("EHLO")) == (1, 1)
    await backend.close()
    await asyncio.sleep(0.05)
    assert (sink.verbs()[-1], sink.open_connections) == ("QUIT", 0)


async def test_rset_after_an_unfinished_transaction(sink: Sink) -> None:
    sink.answers("RCPT", b"550 5.1.1 who\r\n", b"250 OK\r\n")
    backend = backend_of(sink)
    await send(backend, make_claim())
    await send(backend, make_claim())
    await backend.close()
    assert sink.verbs()[:7] == ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT"]
    assert sink.connections == 1


async def test_rset_after_a_pause(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.net.smtp_session._TRUSTED_IDLE", 0.0)
    backend = backend_of(sink)
    await send(backend, make_claim())
    await send(backend, make_claim())
    await backend.close()
    assert sink.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("answer", [b"421 4.4.2 idle too long\r\n", HANG_UP])
async def test_dead_session_is_replaced_unnoticed(sink: Sink, answer: bytes) -> None:
    backend = backend_of(sink)
    await send(backend, make_claim())
    sink.answers("MAIL", answer, b"250 OK\r\n")
    assert (await send(backend, make_claim()))[0].kind is OutcomeKind.DELIVERED
    await backend.close()
    assert sink.connections == 2


async def test_session_closed_by_the_host_while_idle(sink: Sink) -> None:
    backend = backend_of(sink)
    await send(backend, make_claim())
    await sink.shut()
    await asyncio.sleep(0.05)
    await sink.listen()
    assert (await send(backend, make_claim()))[0].kind is OutcomeKind.DELIVERED
    await backend.close()


async def test_idle_session_is_closed(sink: Sink) -> None:
    backend = backend_of(sink, idle_seconds=0.1)
    await send(backend, make_claim())
    assert sink.open_connections == 1
    await asyncio.sleep(0.25)
    assert sink.open_connections == 0
    await backend.close()


async def test_window(sink: Sink) -> None:
    backend = backend_of(sink, connections=2)
    sink.gate.clear()
    running = [asyncio.create_task(send(backend, make_claim())) for _ in range(5)]
    assert (backend.room(), backend.has_room()) == (2, True)
    await asyncio.sleep(0.1)
    assert (sink.connections, backend.room(), backend.has_room()) == (2, 0, False)
    sink.gate.set()
    outcomes = await asyncio.gather(*running)
    assert {one.kind for (one,) in outcomes} == {OutcomeKind.DELIVERED}
    assert (sink.connections, backend.room()) == (2, 2)
    await backend.close()


async def test_cancelled_delivery_leaves_no_session_behind(sink: Sink) -> None:
    backend = backend_of(sink)
    sink.gate.clear()
    running = asyncio.create_task(send(backend, make_claim()))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    sink.gate.set()
    await asyncio.sleep(0.05)
    assert (sink.open_connections, backend.room()) == (0, 10)
    await backend.close()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def send_tls(sink: Sink, **settings: object) -> Outcome:
    (outcome,) = await send_once(sink, hosts=(f"localhost:{sink.port}",), address_family="ipv4", **settings)
    return outcome


@pytest.mark.parametrize("mode", ["required", "opportunistic"])
async def test_verified(authority: trustme.CA, ca_file: str, mode: str) -> None:
    async with Sink(tls=server_tls(authority, "localhost")) as sink:
        outcome = await send_tls(sink, tls=mode, ca_file=ca_file)
        assert (outcome.kind, outcome.certificate) == (OutcomeKind.DELIVERED, "verified")
        assert outcome.tls is not None
        assert outcome.tls.version == "TLSv1.3"
        assert (sink.mails[0].tls, sink.mails[0].content) == (True, PREFIX + TEXT)
        assert sink.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


USER, PASSWORD, BOTH = "YW5u", "csO8w58=", "AGFubgByw7zDnw=="
LOGINS = {
    "LOGIN that takes no initial response": (
        "LOGIN",
        {
            "AUTH": lambda said: b"334 VXNlcm5hbWU6\r\n" if said == "LOGIN" else b"501 5.5.2 no\r\n",
            USER.upper(): b"334 UGFzc3dvcmQ6\r\n",
            PASSWORD.upper(): b"235 2.7.0 OK\r\n",
        },
        ["AUTH LOGIN", USER, PASSWORD],
    ),
    "PLAIN that asks again": (
        "PLAIN LOGIN",
        {"AUTH": b"334 \r\n", BOTH.upper(): b"235 2.7.0 OK\r\n"},
        [f"AUTH PLAIN {BOTH}", BOTH],
    ),
    "PLAIN": ("XOAUTH2 PLAIN", {"AUTH": b"235 2.7.0 OK\r\n"}, [f"AUTH PLAIN {BOTH}"]),
}


@pytest.mark.parametrize("case", LOGINS)
async def test_logs_in(authority: trustme.CA, ca_file: str, case: str) -> None:
    offered, script, said = LOGINS[case]
    answers = {verb: [answer] for verb, answer in script.items()}
    async with Sink(tls=server_tls(authority, "localhost"), extensions=(f"AUTH {offered}",), script=answers) as sink:
        outcome = await send_tls(sink, tls="required", ca_file=ca_file, login="ann", password="rüß")
    assert outcome.kind is OutcomeKind.DELIVERED, outcome.reply
    assert sink.commands[3 : 3 + len(said)] == said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("usage", [True, False])
async def test_a_certificate_for_servers_alone_is_named_when_a_host_hangs_up(
    authority: trustme.CA, ca_file: str, tmp_path: Path, version: ssl.TLSVersion, usage: bool
) -> None:
    ours = write_certificate(tmp_path, client_use=usage)
    context = server_tls(authority, "localhost")
    context.maximum_version = version
    context.load_verify_locations(ours)
    context.verify_mode = ssl.CERT_REQUIRED
    async with Sink(tls=context) as sink:
        outcome = await send_tls(sink, tls="required", ca_file=ca_file, certificate=ours)
    if usage:
        assert outcome.kind is OutcomeKind.DELIVERED, outcome.reply
        return
    assert (outcome.kind, outcome.scope) == (OutcomeKind.DEFERRED, Scope.SITE)
    assert "our certificate is for servers alone" in outcome.reply.text


def write_certificate(directory: Path, client_use: bool) -> Path:
    """Signed by itself, with its key in the same file."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw.example")]),
    )
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client_use else [])]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = directory / "ours.pem"
    file.write_bytes(made.public_bytes(Encoding.PEM) + pem)
    return file


async def test_a_host_that_asks_without_end_is_no_login(authority: trustme.CA, ca_file: str) -> None:
    async with Sink(
        tls=server_tls(authority, "localhost"),
        extensions=("AUTH LOGIN",),
        script={verb: [b"334 VXNlcm5hbWU6\r\n"] for verb in ("AUTH", USER.upper(), PASSWORD.upper())},
    ) as sink:
        outcome = await send_tls(sink, tls="required", ca_file=ca_file, login="ann", password="rüß")
    assert outcome.kind is OutcomeKind.DEFERRED
    assert sink.commands[3:6] == ["AUTH LOGIN", USER, PASSWORD]


async def test_expected_names_replace_the_host_name(authority: trustme.CA, ca_file: str) -> None:
    async with Sink(tls=server_tls(authority, "*.mail.protection.example")) as sink:
        for names in (("corp.mail.protection.example",), ("x.example", "*.mail.protection.example")):
            outcome = await send_tls(sink, tls="required", ca_file=ca_file, tls_names=names)
            assert (outcome.kind, outcome.certificate) == (OutcomeKind.DELIVERED, "verified")


async def test_wrong_name_under_required_is_deferred(authority: trustme.CA, ca_file: str) -> None:
    async with Sink(tls=server_tls(authority, "mx.example", "*.localhost")) as sink:
        outcome = await send_tls(sink, tls="required", ca_file=ca_file)
        assert (outcome.kind, outcome.scope) == (OutcomeKind.DEFERRED, Scope.SITE)
        assert outcome.reply.enhanced == "4.7.5"
        assert "certificate is for mx.example, *.localhost, expected localhost" in outcome.certificate
        assert "MAIL" not in sink.verbs()


async def test_wrong_name_under_opportunistic_delivers_and_is_recorded(authority: trustme.CA, ca_file: str) -> None:
    async with Sink(tls=server_tls(authority, "mx.example")) as sink:
        outcome = await send_tls(sink, tls="opportunistic", ca_file=ca_file)
        assert outcome.kind is OutcomeKind.DELIVERED
        assert outcome.certificate == "unverified (certificate is for mx.example, expected localhost)"
        assert sink.mails[0].tls


async def test_untrusted_authority_under_required_is_deferred(authority: trustme.CA) -> None:
    async with Sink(tls=server_tls(authority, "localhost")) as sink:
        outcome = await send_tls(sink, tls="required")
        assert (outcome.kind, outcome.scope, outcome.reply.enhanced) == (OutcomeKind.DEFERRED, Scope.SITE, "4.7.5")
        assert "unable to get local issuer certificate" in outcome.certificate
        assert "MAIL" not in sink.verbs()


async def test_untrusted_authority_under_opportunistic_delivers_encrypted(authority: trustme.CA) -> None:
    async with Sink(tls=server_tls(authority, "localhost")) as sink:
        outcome = await send_tls(sink, tls="opportunistic")
        assert outcome.kind is OutcomeKind.DELIVERED
        assert outcome.certificate == "unverified (unable to get local issuer certificate)"
        assert outcome.tls is not None
        assert sink.mails[0].tls


@pytest.mark.parametrize(
    "script", [{"STARTTLS": [b"454 4.7.0 not now\r\n"]}, {"STARTTLS": [b"220 Go\r\nnoise\r\n" + HANG_UP]}]
)
async def test_failed_handshake(authority: trustme.CA, script: dict[str, list[bytes]]) -> None:
    async with Sink(tls=server_tls(authority, "localhost"), script=dict(script)) as sink:
        outcome = await send_tls(sink, tls="required")
        assert (outcome.kind, outcome.scope, outcome.reply.enhanced) == (OutcomeKind.DEFERRED, Scope.SITE, "4.7.5")
        assert sink.mails == []
        outcome = await send_tls(sink, tls="opportunistic")
        assert (outcome.kind, outcome.tls) == (OutcomeKind.DELIVERED, None)
        assert "sent in plain text" in outcome.certificate
        assert not sink.mails[0].tls


async def test_no_starttls(sink: Sink) -> None:
    outcome = await send_tls(sink, tls="required")
    assert (outcome.kind, outcome.scope, outcome.reply.enhanced) == (OutcomeKind.DEFERRED, Scope.SITE, "4.7.5")
    assert "MAIL" not in sink.verbs()
    outcome = await send_tls(sink, tls="opportunistic")
    assert (outcome.kind, outcome.certificate, sink.connections) == (OutcomeKind.DELIVERED, "", 2)


async def test_tls_off_does_not_ask(authority: trustme.CA) -> None:
    async with Sink(tls=server_tls(authority, "localhost")) as sink:
        outcome = await send_tls(sink, tls="off")
        assert (outcome.kind, outcome.tls, sink.mails[0].tls) == (OutcomeKind.DELIVERED, None, False)


async def test_certificate_trouble_at_one_host_tries_the_next(authority: trustme.CA, ca_file: str) -> None:
    async with (
        Sink(tls=server_tls(authority, "mx.example")) as bad,
        Sink(tls=server_tls(authority, "localhost")) as good,
    ):
        hosts = (f"localhost:{bad.port}", f"localhost:{good.port}")
        (outcome,) = await send_once(good, hosts=hosts, tls="required", ca_file=ca_file, address_family="ipv4")
        assert (outcome.kind, len(good.mails), bad.mails) == (OutcomeKind.DELIVERED, 1, [])


async def test_large_content_under_tls(authority: trustme.CA, ca_file: str) -> None:
    octets = (b"." + b"z" * 900 + b"\r\n") * 6000
    async with Sink(tls=server_tls(authority, "localhost"), slow_reader=0.001) as sink:
        backend = backend_of(hosts=(f"localhost:{sink.port}",), tls="required", ca_file=ca_file)
        for _ in range(2):
            (outcome,) = await send(backend, make_claim(octets), 1_000_000)
            assert outcome.kind is OutcomeKind.DELIVERED
        await backend.close()
        assert [mail.content == PREFIX + octets for mail in sink.mails] == [True, True]
        assert sink.connections == 1


async def test_nothing_is_logged_as_an_error(authority: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    """No behaviour of a host leaves an exception in a task that nobody awaits."""
    caplog.set_level(logging.ERROR)
    for verb in ("CONNECT", "STARTTLS", "MAIL", "DATA", "DOT"):
        async with Sink(tls=server_tls(authority, "localhost"), script={verb: [HANG_UP]}) as sink:
            await send_tls(sink, tls="required")
    await asyncio.sleep(0.05)
    assert caplog.records == []


class QuickHost(threading.Thread):
    """A host in a thread of its own that answers within microseconds, before our loop turns."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def run(self) -> None:
        connection, _ = self._listening.accept()
        with self._listening, connection, suppress(ConnectionError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"220 quick\r\n")
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
                if received.endswith(b"DATA\r\n"):
                    connection.sendall(b"354 go\r\n")
                elif received.endswith(b"\r\n"):
                    connection.sendall(b"250 OK\r\n")


def test_reply_that_comes_at_once_is_not_lost() -> None:
    """uvloop runs a read callback before tasks that were started earlier; a reply that nobody awaits is dropped."""

    async def deliver() -> list[OutcomeKind]:
        host = QuickHost()
        host.start()
        backend = backend_of(hosts=(host.address,), final_seconds=2.0)
        found = [(await send(backend, make_claim()))[0].kind for _ in range(50)]
        await backend.close()
        return found

    assert uvloop.run(deliver()) == [OutcomeKind.DELIVERED] * 50
