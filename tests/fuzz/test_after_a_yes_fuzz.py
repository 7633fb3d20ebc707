"""A recipient that a backend has accepted is in no further transaction.

That holds for any sender, recipients, header, DSN parameters and replies, and for any later command of an admin.
Delivery, settlement, spool, backends and sockets are real; the input from strangers and next hops is hostile.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway import app
from gateway.admin.queue import QueueDesk
from gateway.app.runtime_config import route_dsn
from gateway.config.backends import BackendSettings
from gateway.config.model import Config
from gateway.model.delivery import Intake
from gateway.model.envelope import Mailbox, Notify, Recipient, Ret
from gateway.model.event import Event
from gateway.model.value import replace
from gateway.net.smtp_backend import make_smtp_backend
from gateway.ports import Backend
from gateway.service.delivery import Delivery
from gateway.service.tally import SharedCounts
from gateway.service.traffic import Share, Traffic
from gateway.spool.sqlite import SqliteSpool
from tests.conftest import SOAK, SOAK_FACTOR
from tests.support.sending import FixedResolver
from tests.support.smtp_sink import Sink
from tests.support.spooling import HandClock, make_message, make_trace, make_transfer

KELVIN, DOTTED_I = "\u212a", "\u0130"
NASTY = [
    f"SRS0=AAAAAAAAAAAA=A{KELVIN}=evil.example=bob",
    f"SRS0=AAAAAAAAAAA{KELVIN}=AA=evil.example=bob",
    f"SRS0=AAAAAAAAAAAA={DOTTED_I}A=evil.example=bob",
    f"srs1=AAAAAAAAAAA{KELVIN}=evil.example==bob",
    f"SRS1=AAAAAAAAAAA{DOTTED_I}=evil.example=+x=AA=b=c",
    "SRS0=AAAAAAAAAAAA=AA=evil.example=\udcff",
    "\ud800\udfff",
    "a" * 5000,
    "{name}%s$(x)",
    "\x00\x01\x7f\x80\x85",
    "\u202e\u2028\ufeff",
    "a\r\nRCPT TO:<x@y.example>",
    '"',
    "",
]
texts = st.sampled_from(NASTY) | st.text(st.characters(), max_size=60)
octets = st.sampled_from([one.encode("utf-8", "surrogatepass") for one in NASTY]) | st.binary(max_size=200)
lines = octets.map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
parameters = st.tuples(
    st.lists(st.sampled_from(sorted(Notify)), unique=True, max_size=3).map(tuple),
    texts,
    texts,
    st.sampled_from([None, *Ret]),
)
refusals = st.sampled_from([b"550 5.1.1 ", b"550-", b"451 4.3.0 ", b"550 5.\xd9\xa1.1 ", b"554 "])
CONFIG = Config.model_validate(
    {
        "server": {"hostname": "mx.gate.example"},
        "listener": [{"address": "127.0.0.1:0"}],
        "domain": [{"name": "corp.example", "backend": "corp"}],
        "backend": {"corp": {"hosts": ["127.0.0.1:9"]}, "dsn": {"hosts": ["127.0.0.1:9"]}},
        "delivery": {"dsn_backend": "dsn", "schedule": [60]},
        "srs": {"domain": "corp.example", "secret": "0123456789abcdef0123"},
    }
)
RUNTIME = app.make_runtime(CONFIG)


class Scene:
    """One message, its gateway and its next hops."""

    def __init__(self, directory: Path, sink: Sink, other: Sink) -> None:
        self.directory, self.sink, self.other = directory, sink, other
        self.clock = HandClock()
        self.events: list[Event] = []

    async def run(self, intake: Intake, waits: bool) -> None:
        spool = await SqliteSpool.open(self.directory, self.clock)
        tally = SharedCounts().tally()
        backends: dict[str, Backend] = {}
        for name, sink in (("corp", self.sink), ("dsn", self.other), ("direct", self.other)):
            given = BackendSettings(hosts=(sink.address,), tls="off", command_seconds=5.0, final_seconds=5.0)
            backends[name] = make_smtp_backend(name, given, FixedResolver(), self.clock, "gw.example", tally)
        traffic = Traffic(dict.fromkeys(backends, Share(5)), self.clock, self.events.append)
        self.delivery = Delivery(spool, backends, self.clock, self.events.append, CONFIG, self.route, traffic)
        try:
            await spool.commit(intake)
            if waits:
                claims = await spool.claim((), 1, self.clock.now(), 900)
                await self.delivery.attempt(claims[0], self.clock.monotonic() + 20)
            self.delivery.start()
            await self.rest()
            await self.press_on(spool)
        finally:
            await self.delivery.drain()
            for backend in backends.values():
                await backend.close()
            await spool.close()

    def route(self, return_path: Mailbox) -> str:
        return route_dsn(RUNTIME, return_path)

    async def press_on(self, spool: SqliteSpool) -> None:
        """Time passes, and an admin tries every command on the rest."""
        desk = QueueDesk(
            spool,
            self.clock,
            self.events.append,
            lambda: RUNTIME.config,
            lambda: RUNTIME,
            {"corp"},
            self.route,
            self.delivery.wake,
        )
        for command in (None, desk.retry, None, desk.release, desk.bounce):
            self.clock.time += 7200
            if command is not None:
                await command({"ids": ["m1"]})
            self.delivery.wake()
            await self.rest()
        assert not [entry for entry in await spool.reader.queue(9) if entry.message_id == "m1"], (
            "bounce has ended all of it"
        )

    async def rest(self) -> None:
        for _ in range(1000):
            await asyncio.sleep(0.002)
            if not self.delivery._jobs:
                return
        raise AssertionError("attempts do not end")


@settings(
    max_examples=25 * (SOAK_FACTOR if SOAK else 1),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    sender=st.one_of(st.none(), texts),
    ours=st.booleans(),
    rcpts=st.lists(st.tuples(texts, parameters), max_size=2),
    header=lines,
    yes=st.lists(lines, min_size=1, max_size=3),
    no=st.tuples(refusals, lines),
    verified=st.booleans(),
    waits=st.booleans(),
)
@example(NASTY[0], True, [("x", ((), "", "", None))], b"Subject: x", [b"ok"], (b"550 5.1.1 ", b"no"), True, True)
@example(NASTY[0], True, [("x", ((), "", "", None))], b"Subject: x", [b"ok"], (b"550 5.1.1 ", b"no"), True, False)
def test_nobody_who_has_the_message_is_asked_for_again(
    sender: str | None,
    ours: bool,
    rcpts: list[tuple[str, tuple[tuple[Notify, ...], str, str, Ret | None]]],
    header: bytes,
    yes: list[bytes],
    no: tuple[bytes, bytes],
    verified: bool,
    waits: bool,
) -> None:
    domain = "corp.example" if ours else "sender.example"
    mail_from = None if sender is None else Mailbox(sender, domain, domain)
    recipients = [Recipient(Mailbox("taken", "corp.example", "corp.example"), (Notify.SUCCESS,))]
    envid, ret = "", None
    for at, (local, (notify, orcpt, said, asked)) in enumerate(rcpts):
        recipients.append(Recipient(Mailbox(f"{at}{local}", "corp.example", "corp.example"), notify, orcpt))
        envid, ret = said, asked
    message = make_message(header + b"\r\n\r\nHello.\r\n")
    message = replace(message, dropped=())
    transfer = replace(
        make_transfer("m1", tuple(recipients), "corp", due=HandClock().now()),
        mail_from=mail_from,
        envid=envid,
        ret=ret,
        return_path_verified=verified,
    )
    intake = Intake(make_trace("m1", message, tuple(recipients)), message, (transfer,), claimed=False)
    asyncio.run(_play(intake, yes, b"".join(no) + b"\r\n", waits))


async def _play(intake: Intake, yes: list[bytes], no: bytes, waits: bool) -> None:
    said = [b"250%s%s\r\n" % (b"-" if at < len(yes) - 1 else b" ", line) for at, line in enumerate(yes)]
    no = no if no[3:4] != b"-" else no + no.replace(b"-", b" ", 1)

    def answer(argument: str) -> bytes:
        return b"250 2.1.5 ok\r\n" if argument.startswith("TO:<taken@") else no

    async with Sink() as sink, Sink() as other:
        sink.answers("RCPT", answer)
        sink.answers("DOT", b"".join(said))
        with tempfile.TemporaryDirectory() as directory:
            await Scene(Path(directory), sink, other).run(intake, waits)
        asked = Counter(command for command in sink.commands if command.startswith("RCPT TO:<taken@"))
        assert list(asked.values()) in ([], [1]), sink.commands
        assert len(sink.mails) == len(asked), "it was taken once, and said so"
