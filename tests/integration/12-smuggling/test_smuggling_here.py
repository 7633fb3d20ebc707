"""No sequence but CRLF.CRLF makes two messages of one: here, with a real reception behind the listener."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config.edge import Limits
from gateway.model.message import Route
from gateway.service.inquiry import NoInquiry
from gateway.service.listener import ListenerSettings, serve
from tests.support.listening import Client
from tests.support.receiving import Spool, make_reception
from tests.support.smuggling import by_chunks, by_data, sequences

AT_ONCE = 20


class Chunking(NoInquiry):
    """Every backend takes BDAT."""

    async def takes_chunks(self, route: Route, client: str) -> bool | None:
        return True


async def send_all(streams: list[list[bytes]], carry: bool) -> tuple[Spool, list[bytes]]:
    """Each stream on a connection of its own, its parts in turn; the replies of every session."""
    spool = Spool()
    limits = {"connections_per_address": 1000}
    settings = ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0", limits=Limits(**limits), carry=carry)
    errors: list[BaseException] = []
    reception = make_reception(spool, limits, inquiry=Chunking())
    listener = await serve(settings, reception, lambda error: str(errors.append(error)))
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(parts: list[bytes]) -> bytes:
        async with gate:
            client = await Client.connect(listener.address)
            for part in parts:
                await client.send(part)
                await asyncio.sleep(0.002 if len(parts) > 1 else 0)
            return await client.rest()

    replies = await asyncio.gather(*(send(parts) for parts in streams))
    await listener.close()
    assert errors == []
    return spool, replies


def check(spool: Spool, ending: set[str]) -> None:
    """One message at most for each case; the smuggled one only where the data truly ended."""
    senders = [str(intake.transfers[0].mail_from) for intake in spool.kept if intake.transfers]
    genuine = [sender for sender in senders if not sender.startswith("smuggled@")]
    assert len(set(genuine)) == len(genuine)
    assert senders.count("smuggled@b.example") == len(ending)
    assert {f"{case}@b.example" for case in ending} <= set(genuine)


@pytest.mark.parametrize("carry", [False, True])
async def test_by_data_cut_at_every_octet(carry: bool) -> None:
    streams, ending = [], set()
    for number, (eod, ends) in enumerate(sequences()):
        for cut in range(len(eod) + 1):
            case = f"c{number}-{cut}"
            stream = by_data(eod, "r@d.example", case)
            at = stream.index(b"body") + 4 + cut
            streams.append([stream[:at], stream[at:]])
            if ends:
                ending.add(case)
    spool, replies = await send_all(streams, carry)
    check(spool, ending)
    assert all(reply.endswith(b"221 2.0.0 Bye\r\n") for reply in replies)
    assert all(reply.count(b"\r\n354 ") == 1 for reply in replies if reply.count(b" 2.0.0 Queued") < 2)


@pytest.mark.parametrize("carry", [False, True])
async def test_by_chunks_cut_at_every_octet(carry: bool) -> None:
    streams = [
        [by_chunks(eod, "r@d.example", f"c{number}-{cut}", cut)]
        for number, (eod, _) in enumerate(sequences())
        for cut in range(len(eod) + 1)
    ]
    spool, replies = await send_all(streams, carry)
    check(spool, set())  # a chunk has no end of data
    assert all(reply.endswith(b"221 2.0.0 Bye\r\n") for reply in replies)
    assert not any(b"\r\n354 " in reply for reply in replies)
