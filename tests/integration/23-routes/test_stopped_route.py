"""A backend that refuses because of us: no bounce, 451 to the client, a stop with an alarm that names the fix, and its
automatic end. Reception, delivery and the wire are real; the backend gives scripted answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.config.backends import BackendSettings as Settings
from gateway.config.backends import DeliverySettings
from gateway.config.model import Config, Server
from gateway.model.delivery import Final
from gateway.model.envelope import Envelope, IPText, Recipient
from gateway.model.event import Event, Level
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.net.smtp_backend import make_smtp_backend
from gateway.ports import Connection, Conversation
from gateway.service.delivery import Delivery
from gateway.service.tally import SharedCounts
from gateway.service.traffic import Share, Traffic
from tests.support.receiving import Spool, make_reception
from tests.support.sending import FixedResolver, mailbox
from tests.support.smtp_sink import Sink

PEER = Connection("mx", IPText("127.0.0.1"), IPText("127.0.0.1"), ClientSource.PEER)
TEXT = b"From: alice@b.example\r\nSubject: hello\r\n\r\nHello.\r\n"
"""b.example's mail may come from loopback, so it passes SPF and DMARC."""

UNAUTHENTICATED = "Unauthenticated email from b.example is not accepted due to domain's DMARC policy - gsmtp"
NESTED = f"550 5.7.23 rejected because of Sender Policy Framework violation -> 550 5.7.1 {UNAUTHENTICATED}"
BLAMES = [
    # verb, the provider's reply, cause, a word of the fix
    ("RCPT", "550 5.7.51 TenantInboundAttribution; There is a partner connector", "connector", "certificate"),
    ("DOT", "550 5.7.64 TenantAttribution; Relay Access Denied ATTR36", "relay-denied", "connector"),
    ("MAIL", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "address-listed", "removal"),
    ("DOT", "550 5.7.25 The IP address does not have a PTR record setup - gsmtp", "reverse-dns", "PTR"),
    ("RCPT", "421 4.7.0 IP not in whitelist for RCPT domain - gsmtp", "not-a-gateway", "Inbound gateway"),
    ("RCPT", "421 4.7.0 TLS required for RCPT domain - gsmtp", "tls", "STARTTLS"),
    ("RCPT", "550 5.7.68 TenantInboundAttribution; Direct Send not allowed", "direct-send", "connector"),
    ("DOT", f"550 5.7.26 {UNAUTHENTICATED}", "dmarc", "autopsy"),
    ("DOT", NESTED, "dmarc", "autopsy"),
]


class OffsetClock:
    """The real clock, which a test can put forward."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.serial = 0

    def now(self) -> float:
        return time.time() + self.offset

    def monotonic(self) -> float:
        return time.monotonic() + self.offset

    def jitter(self) -> float:
        return 0.5

    def new_id(self) -> str:
        self.serial += 1
        return f"n{self.serial}"


class House:
    """A gateway between the test's client and a scripted backend."""

    def __init__(self, sink: Sink) -> None:
        self.clock = OffsetClock()
        self.events: list[Event] = []
        self.spool = Spool()
        settings = Settings(hosts=(sink.address,), command_seconds=2.0, final_seconds=5.0)
        tally = SharedCounts().tally()
        self.backend = make_smtp_backend("one", settings, FixedResolver(), self.clock, "mx.gate.example", tally)
        config = Config.model_construct(server=Server(hostname="mx.gate.example"), delivery=DeliverySettings())
        emit = self.events.append
        traffic = Traffic({"one": Share(10)}, self.clock, emit)
        backends = {"one": self.backend}
        self.delivery = Delivery(self.spool, backends, self.clock, emit, config, lambda _: "one", traffic)
        self.reception = make_reception(self.spool, events=self.events, deliverer=self.delivery, clock=self.clock)

    async def begin(self, rcpt: str = "bob@d.example", sender: str = "alice@b.example") -> tuple[Conversation, Reply]:
        conversation = await self.reception.connect(PEER)
        assert not isinstance(conversation, Reply)
        conversation.hello("mail.b.example", esmtp=True, tls=None)
        assert (await conversation.mail(Envelope(mailbox(sender), ()), None)).code == 250
        return conversation, await conversation.rcpt(Recipient(mailbox(rcpt)))

    async def submit(self, text: bytes = TEXT, sender: str = "alice@b.example") -> Reply:
        """One message; the reply that ended it."""
        conversation, reply = await self.begin(sender=sender)
        if reply.code != 250:
            return reply
        assert (await conversation.begin()).code == 354
        await conversation.take(text)
        reply = await conversation.finish()
        conversation.answered(True)
        return reply

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    async def states(self) -> list[Final]:
        stories = [await self.spool.reader.story(intake.trace.id) for intake in self.spool.kept]
        return [ending.state for story in stories if story for ending in story.endings]


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


@pytest.fixture
async def house(sink: Sink) -> AsyncIterator[House]:
    house = House(sink)
    yield house
    await house.delivery.drain()
    await house.backend.close()


@pytest.mark.parametrize(
    ("verb", "answer", "cause", "word"), BLAMES, ids=[blame[1].split()[1] + blame[2] for blame in BLAMES]
)
async def test_whole_story(house: House, sink: Sink, verb: str, answer: str, cause: str, word: str) -> None:
    good = b"250 2.0.0 OK\r\n"
    sink.answers(verb, f"{answer}\r\n".encode())
    for _ in range(3):
        assert str(await house.submit()).startswith("451 4.3.5 ")
    assert house.named("dsn") + house.named("dsn-withheld") + house.named("failed") == []
    assert await house.states() == [Final.RETURNED] * 3
    (alarm,) = house.named("route-stopped")
    fields = dict(alarm.fields)
    assert (alarm.level, fields["backend"], fields["cause"]) == (Level.ALARM, "one", cause)
    assert word in str(fields["fix"])
    assert answer in str(fields["reply"])

    tried = len(sink.commands)
    _, refused = await house.begin()
    assert str(refused).startswith("451 4.3.5 ")
    assert refused.text.endswith(")"), "explain finds it"
    assert len(sink.commands) == tried, "the backend is left alone"

    house.clock.offset += 61
    assert str(await house.submit()).startswith("451 4.3.5 "), "the probe found nothing better"
    assert (await house.begin())[1].code == 451

    sink.answers(verb, good)
    house.clock.offset += 61
    assert (await house.submit()).code == 250
    assert [mail.content[-len(TEXT) :] for mail in sink.mails] == [TEXT]
    (restored,) = house.named("route-restored")
    assert restored.level is Level.ALARM
    assert (await house.submit()).code == 250
    assert len(sink.mails) == 2


async def test_queued_mail_is_the_probe_too(house: House, sink: Sink) -> None:
    """Mail from before the trouble waits in the queue, and is delivered when the route is restored."""
    sink.answers("DOT", b"451 4.7.1 later\r\n")
    assert (await house.submit()).code == 250
    sink.answers("DOT", b"550 5.7.25 no PTR record - gsmtp\r\n")
    for _ in range(3):
        assert (await house.submit()).code == 451
    sink.answers("DOT", b"250 OK\r\n")
    house.clock.offset += 70
    house.delivery.start()
    for _ in range(100):
        if house.named("route-restored"):
            break
        await asyncio.sleep(0.05)
    assert len(sink.mails) == 1
    assert (await house.submit()).code == 250


async def test_forgeries_that_a_backend_refuses_stop_no_route(house: House, sink: Sink) -> None:
    """They failed DMARC here too, and were accepted with a mark: the backend judges them, not us."""
    sink.answers("DOT", b"550 5.7.26 Unauthenticated email from x is not accepted due to DMARC policy - gsmtp\r\n")
    text = TEXT.replace(b"alice@b.example", b"ceo@nobody.example")
    for _ in range(6):
        assert (await house.submit(text, "x@elsewhere.example")).code == 451
    assert house.named("route-stopped") == []
    sink.answers("DOT", b"250 OK\r\n")
    assert (await house.submit()).code == 250


async def test_a_refused_mailbox_is_the_client_s_answer(house: House, sink: Sink) -> None:
    """A backend's reply about a recipient or about content is not counted as a fault of ours."""
    for verb, answer in (("RCPT", "550 5.1.1 No such user here"), ("DOT", "554 5.7.1 This message looks like spam")):
        sink.answers(verb, f"{answer}\r\n".encode())
        for _ in range(4):
            assert str(await house.submit()).startswith(answer)
        sink.answers(verb, b"250 OK\r\n")
    assert house.named("route-stopped") == []
