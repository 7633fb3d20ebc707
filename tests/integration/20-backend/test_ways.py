"""How a backend's hosts are reached: from which address, with which certificate, in which order, for how long."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from gateway.config.backends import BackendSettings as Settings
from gateway.model.address import IPText
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.net.health import Health
from gateway.net.host_backend import HostBackend
from gateway.net.mx import Host
from gateway.net.smtp_backend import make_smtp_backend
from gateway.service.tally import SharedCounts
from tests.support.sending import PREFIX, TEXT, FixedResolver, StillClock, make_claim, reader
from tests.support.smtp_sink import HANG_UP, Sink


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
    """A connector that knows us by our certificate sees the new one on the next connection, without a restart."""
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
