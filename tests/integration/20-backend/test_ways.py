"""The ways to a backend's hosts: source address, certificate, order, and time limits."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from gateway.config.backends import BackendSettings as Settings
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.envelope import IPText
from gateway.net.host_backend import HostBackend
from gateway.net.mx import Host
from gateway.net.pool import Health
from gateway.net.smtp_backend import make_smtp_backend
from gateway.service.tally import SharedCounts
from tests.support.sending import PREFIX, TEXT, FixedResolver, StillClock, make_claim, reader
from tests.support.smtp_sink import HANG_UP, Answer, Sink


def backend_of(*sinks: Sink, **settings: object) -> HostBackend:
    given: dict[str, object] = {"hosts": tuple(sink.address for sink in sinks), "command_seconds": 2.0}
    tally = SharedCounts().tally()
    return make_smtp_backend("corp", Settings(**(given | settings)), FixedResolver(), StillClock(), "gw.example", tally)  # type: ignore[arg-type]


async def send(backend: HostBackend, octets: bytes = TEXT) -> Outcome:
    claim = make_claim(octets)
    (outcome,) = await backend.deliver(claim, reader(claim))
    return outcome


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


async def test_source_address() -> None:
    seen: list[str] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend = backend_of(hosts=(f"127.0.0.1:{port}",), source_addresses="127.0.0.9")
    assert (await send(backend)).kind is OutcomeKind.DEFERRED
    await backend.close()
    server.close()
    assert seen == ["127.0.0.9"]


async def test_only_hosts_of_the_source_s_family_are_connected_to(sink: Sink) -> None:
    backend = backend_of(hosts=(f"[::1]:{sink.port}", sink.address), source_addresses=("127.0.0.1",))
    outcome = await send(backend)
    await backend.close()
    assert (outcome.kind, outcome.remote_address) == (OutcomeKind.DELIVERED, "127.0.0.1")


async def test_source_address_that_is_not_ours_defers(sink: Sink) -> None:
    backend = backend_of(sink, source_addresses="192.0.2.1")
    outcome = await send(backend)
    await backend.close()
    assert (outcome.kind, outcome.scope, outcome.reply.transient) == (OutcomeKind.DEFERRED, Scope.SITE, True)


async def test_own_message_size(sink: Sink) -> None:
    size = len(PREFIX + TEXT)
    backend = backend_of(sink, message_size=size)
    assert (await send(backend)).kind is OutcomeKind.DELIVERED
    known = backend.capabilities()
    assert known is not None
    assert known.size == size
    outcome = await send(backend, TEXT + b"x\r\n")
    await backend.close()
    assert (outcome.kind, str(outcome.reply)[:9], outcome.remote_mta) == (OutcomeKind.FAILED, "552 5.3.4", "")
    assert len(sink.mails) == 1


async def test_worn_connections_are_closed(sink: Sink) -> None:
    backend = backend_of(sink, connection_messages=2)
    for _ in range(5):
        await send(backend)
    await backend.close()
    assert (sink.connections, len(sink.mails)) == (3, 5)
    backend = backend_of(sink, connection_seconds=0.1)
    await send(backend)
    await asyncio.sleep(0.15)
    await send(backend)
    assert sink.connections == 4, "it was young when it came back"
    await send(backend)
    assert sink.connections == 5
    await backend.close()


async def test_host_that_fails_is_tried_last_for_a_while(sink: Sink) -> None:
    async with Sink(script={"CONNECT": [HANG_UP]}) as first:
        backend = backend_of(first, sink, connection_messages=1)
        for _ in range(4):
            assert (await send(backend)).kind is OutcomeKind.DELIVERED
        assert (first.connections, len(sink.mails)) == (1, 4)
        await sink.shut()
        first.answers("CONNECT", b"220 here again\r\n")
        assert (await send(backend)).kind is OutcomeKind.DELIVERED, "with all of them sick, all are tried"
        assert len(first.mails) == 1
        await backend.close()


async def test_order_of_the_healthy_stays() -> None:
    candidates = [(Host(f"mx{number}"), IPText("192.0.2.1")) for number in range(4)]

    async def give() -> AsyncIterator[tuple[Host, IPText]]:
        for candidate in candidates:
            yield candidate

    health = Health()
    health.fail(candidates[0])
    health.fail(candidates[2])
    health.recover(candidates[2])
    found = [host.name async for host, _ in health.order(give())]  # type: ignore[arg-type]
    assert found == ["mx1", "mx2", "mx3", "mx0"]


async def test_certificate_that_is_shown_and_renewed(tmp_path: Path) -> None:
    """A connector that identifies us by our certificate gets the new one on the next connection, without a restart."""
    theirs, ours = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.issue_cert("localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours.configure_trust(context)
    ca_file, file = tmp_path / "ca.pem", tmp_path / "client.pem"
    theirs.cert_pem.write_to_path(str(ca_file))

    def renew(name: str) -> None:
        issued = ours.issue_cert(name, common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))

    renew("gw.example")
    async with Sink(tls=context) as sink:
        hosts = (f"localhost:{sink.port}",)
        backend = backend_of(
            hosts=hosts, tls="required", ca_file=ca_file, certificate=file, address_family="ipv4", connection_messages=1
        )
        first = await send(backend)
        assert (first.kind, first.certificate) == (OutcomeKind.DELIVERED, "verified")
        stranger = trustme.CA().issue_cert("x.example")
        stranger.private_key_and_cert_chain_pem.write_to_path(str(file))
        assert (await send(backend)).kind is OutcomeKind.DEFERRED, "the new file counts at once"
        renew("gw.example")
        assert (await send(backend)).kind is OutcomeKind.DELIVERED
        file.write_text("half written")
        assert (await send(backend)).kind is OutcomeKind.DELIVERED, "what cannot be read changes nothing"
        await backend.close()


# how many recipients


def crowd(number: int) -> tuple[str, ...]:
    return tuple(f"r{at}@corp.example" for at in range(number))


async def send_to(backend: HostBackend, rcpts: tuple[str, ...]) -> list[OutcomeKind]:
    claim = make_claim(rcpts=rcpts)
    outcomes = await backend.deliver(claim, reader(claim))
    assert [str(one.rcpt.mailbox) for one in outcomes] == list(rcpts)
    return [one.kind for one in outcomes]


def taken(*sinks: Sink) -> list[str]:
    """Each recipient as often as it was accepted."""
    return sorted(
        rcpt.removeprefix("TO:<").partition(">")[0] for sink in sinks for mail in sink.mails for rcpt in mail.rcpts
    )


async def test_our_own_limit_of_recipients(sink: Sink) -> None:
    backend = backend_of(sink)
    assert await send_to(backend, crowd(250)) == [OutcomeKind.DELIVERED] * 250
    await backend.close()
    assert [len(mail.rcpts) for mail in sink.mails] == [100, 100, 50]
    assert (taken(sink), sink.connections) == (sorted(crowd(250)), 1)


@pytest.mark.parametrize("reply", [b"452 4.5.3 Too many\r\n", b"452 too many recipients\r\n", b"552 too many\r\n"])
async def test_the_host_s_limit_of_recipients(reply: bytes) -> None:
    """RFC 5321 section 4.5.3.1.10: the rest goes at once, and no recipient twice."""
    async with Sink() as sink:
        counted = 0

        def answer(_: str) -> bytes:
            nonlocal counted
            counted = counted + 1 if sink.verbs()[-2] == "RCPT" else 1
            return reply if counted > 30 else b"250 2.1.5 OK\r\n"

        sink.answers("RCPT", answer)
        backend = backend_of(sink, transaction_recipients=1000)
        assert await send_to(backend, crowd(100)) == [OutcomeKind.DELIVERED] * 100
        await backend.close()
        assert [len(mail.rcpts) for mail in sink.mails] == [30, 30, 30, 10]
        assert taken(sink) == sorted(crowd(100))


async def test_a_host_that_finds_everybody_too_many_is_asked_once(sink: Sink) -> None:
    sink.answers("RCPT", b"452 4.5.3 Too many\r\n")
    backend = backend_of(sink)
    assert await send_to(backend, crowd(3)) == [OutcomeKind.DEFERRED] * 3
    await backend.close()
    assert sink.verbs().count("MAIL") == 1


async def test_what_the_host_says_of_the_message_holds_for_those_who_were_not_named(sink: Sink) -> None:
    sink.answers("DOT", b"250 2.0.0 OK\r\n", b"554 5.7.1 spam\r\n")
    backend = backend_of(sink, transaction_recipients=10)
    kinds = await send_to(backend, crowd(50))
    await backend.close()
    assert kinds == [OutcomeKind.DELIVERED] * 10 + [OutcomeKind.FAILED] * 40
    assert (taken(sink), sink.verbs().count("RCPT")) == (sorted(crowd(10)), 20)


async def test_the_next_host_takes_those_whom_the_first_did_not() -> None:
    async with Sink() as first, Sink() as second:
        first.answers("DOT", b"250 2.0.0 OK\r\n", b"451 4.3.0 trouble\r\n")
        backend = backend_of(first, second, transaction_recipients=10)
        assert await send_to(backend, crowd(35)) == [OutcomeKind.DELIVERED] * 35
        await backend.close()
        assert taken(first, second) == sorted(crowd(35))
        assert [len(sink.mails) for sink in (first, second)] == [1, 3]


async def test_who_was_named_in_a_lost_transaction_is_doubtful_and_nobody_else() -> None:
    async with Sink() as sink:
        sink.answers("DOT", b"250 2.0.0 OK\r\n", HANG_UP)
        backend = backend_of(sink, transaction_recipients=10)
        claim = make_claim(rcpts=crowd(30))
        outcomes = await backend.deliver(claim, reader(claim))
        await backend.close()
    assert [one.ambiguous for one in outcomes] == [False] * 10 + [True] * 10 + [False] * 10
    assert {one.kind for one in outcomes[10:]} == {OutcomeKind.DEFERRED}


# replies that are odd, or beyond all limits


@pytest.mark.parametrize(
    ("verb", "odd"),
    [
        ("CONNECT", b"220 sink.example\r\n\r\n"),
        ("CONNECT", b"220-one\r\n220\ttwo\r\n"),
        ("MAIL", b"250 2.1.0 OK\r\n\r\n"),
        ("RCPT", b"250\t2.1.5 OK\n"),
        ("DATA", b"354\tgo\n"),
        ("DOT", b"250 2.0.0 taken\r\n421 4.4.2 and good night\r\n"),
    ],
)
async def test_odd_replies_that_have_one_meaning(sink: Sink, verb: str, odd: bytes) -> None:
    sink.answers(verb, odd)
    backend = backend_of(sink, tls="off")
    for _ in range(2):
        assert (await send(backend)).kind is OutcomeKind.DELIVERED
    await backend.close()
    assert len(sink.mails) == 2


@pytest.mark.parametrize("flood", [b"250-\r\n", b"250 x\r\n", b"250-" + b"y" * 1000, b"\r\n"])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
async def test_a_flood_of_replies_ends_the_session(verb: str, flood: bytes) -> None:
    """No caller waits long for it, and its memory is bounded."""
    async with Sink(script={verb: [flood * (5_000_000 // len(flood))]}) as sink:
        backend = backend_of(sink, tls="off", greeting_seconds=2.0, data_seconds=2.0, final_seconds=2.0)
        slowest, busy = 0.0, asyncio.create_task(send(backend))
        while not busy.done():
            before = asyncio.get_running_loop().time()
            await asyncio.sleep(0.001)
            slowest = max(slowest, asyncio.get_running_loop().time() - before)
        outcome = await busy
        await backend.close()
    assert slowest < 0.25
    assert outcome.kind is (OutcomeKind.DELIVERED if (verb, flood[3:4]) == ("DOT", b" ") else OutcomeKind.DEFERRED)


async def test_a_session_that_speaks_unasked_while_idle_is_closed(sink: Sink) -> None:
    backend = backend_of(sink, tls="off")
    sink.answers("DOT", lambda _: b"250 2.0.0 OK\r\n")
    assert (await send(backend)).kind is OutcomeKind.DELIVERED
    assert sink.open_connections == 1
    for writer in sink.writers:
        writer.write(b"250 x\r\n" * 10_000)
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not sink.open_connections:
            break
    assert sink.open_connections == 0
    assert (await send(backend)).kind is OutcomeKind.DELIVERED
    await backend.close()
    assert sink.connections == 2


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"AUTH": [b"334 VXNlcm5hbWU6\r\n"], "YW5U": [b"334 UGFzc3dvcmQ6\r\n"], "CHC=": [b"235 ok\r\n"]}, "delivered"),
        ({"AUTH": [b"334 x\r\n"], "YW5U": [b"334 x\r\n"], "CHC=": [b"535 5.7.8 no\r\n"]}, "deferred"),
        ({"AUTH": [b"504 5.5.4 no\r\n"]}, "deferred"),
    ],
)
async def test_login_word_by_word(tmp_path: Path, script: dict[str, list[Answer]], kind: str) -> None:
    """Some servers take no name together with AUTH LOGIN."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Sink(tls=context, script=script, extensions=("AUTH LOGIN",)) as sink:
        backend = backend_of(
            hosts=(f"localhost:{sink.port}",),
            tls="required",
            ca_file=tmp_path / "ca.pem",
            address_family="ipv4",
            login="ann",
            password="pw",
        )
        assert (await send(backend)).kind == kind
        await backend.close()
        assert "AUTH LOGIN" in sink.commands
