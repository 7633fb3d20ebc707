"""The octets on their way in over all sessions are bounded (promise P7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from gateway.config.model import Config
from gateway.config.policies import fact_settings, load_rules
from gateway.mail.path import mailbox
from gateway.model.envelope import Envelope, Recipient, ip_text
from gateway.model.event import Event
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.plan.judgement import JudgementContext
from gateway.policy.routing import RoutingTable
from gateway.ports import Connection, Conversation
from gateway.service.authenticator import Authenticator
from gateway.service.reception import MxReception
from gateway.service.runtime import Deliverer, RuntimeConfig, Services
from gateway.tools.rehearsal import NoDelivery
from tests.support.fake_spool import FakeSpool
from tests.support.samples import plain

LIMIT = 100_000


class Open(NoDelivery):
    """A backend that counts its reservations."""

    def __init__(self) -> None:
        self.promised = 0

    def reserve(self, backends: Sequence[str]) -> bool:
        self.promised += len(backends)
        return True

    def forgo(self, backends: Sequence[str]) -> None:
        self.promised -= len(backends)


LIMITS = {"bytes_in_flight": LIMIT, "message_size": LIMIT}


def make_reception(
    spool: FakeSpool,
    events: list[Event],
    limits: Mapping[str, int] = LIMITS,
    deliverer: Deliverer | None = None,
    zone: Mapping[str, object] | None = None,
) -> MxReception:
    config = Config.model_validate(
        {
            "server": {"hostname": "mx.gw.example"},
            "listener": [{"address": "127.0.0.1:25"}],
            "domain": [{"name": "corp.example", "backend": "one"}],
            "backend": {"one": {"hosts": "mx"}},
            "limits": dict(limits),
        }
    )
    clock = SystemClock()
    bench = JudgementContext("mx.gw.example", "mx.gw.example", load_rules(config), fact_settings(config))
    law = RuntimeConfig(config, bench, RoutingTable({"corp.example": "one"}, {}))
    authenticator = Authenticator(ZoneResolver(build_zone(zone or {})), clock, 5.0)
    return MxReception(Services(clock, spool, authenticator, deliverer or NoDelivery(), events.append), lambda: law)


async def begin(reception: MxReception, address: str = "192.0.2.1") -> Conversation:
    client = ip_text(address)
    conversation = await reception.connect(Connection("mx", client, client, ClientSource.PEER))
    assert not isinstance(conversation, Reply)
    conversation.hello("client.example", True, None)
    assert (await conversation.mail(Envelope(mailbox("a@plain.example"), ()), None)).code == 250
    bob = mailbox("bob@corp.example")
    assert bob is not None
    assert (await conversation.rcpt(Recipient(bob))).code == 250
    return conversation


async def test_more_than_fits_is_told_to_come_back_and_kept_nowhere() -> None:
    spool, events = FakeSpool(SystemClock()), list[Event]()
    reception = make_reception(spool, events)
    first, second = await begin(reception), await begin(reception)
    assert (await first.begin()).code == 354
    assert (await second.begin()).code == 354
    await first.take(b"x" * 80_000)
    await second.take(b"x" * 80_000)
    reply = await second.finish()
    assert str(reply).startswith("452 4.3.1 ")
    third = await begin(reception)
    assert (await third.begin()).code == 354, "what was let go makes room"
    third.abandon()
    first.abandon()
    again = await begin(reception)
    assert (await again.begin()).code == 354
    await again.take(plain("a@plain.example"))
    assert (await again.finish()).code == 250
    id = str(reply).rpartition("(")[2].removesuffix(")")
    story = await spool.reader.story(id)
    assert story is not None
    assert story.trace.decision.rule == "no-storage"
    assert [event.name for event in events] == ["deferred-client", "accepted"]


async def test_a_bug_before_the_commit_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.service.reception.take_in", fail)
    deliverer = Open()
    conversation = await begin(make_reception(FakeSpool(SystemClock()), [], deliverer=deliverer))
    assert (await conversation.begin()).code == 354
    await conversation.take(plain("a@plain.example"))
    with pytest.raises(ZeroDivisionError):
        await conversation.finish()
    assert deliverer.promised == 0


@pytest.mark.parametrize("method", ["enqueue", "attempt"])
async def test_a_bug_after_the_commit_is_kept_from_the_client(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Some backend may have the message: a client with a 451 would send it again."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    events: list[Event] = []
    deliverer = NoDelivery() if method == "enqueue" else Open()
    monkeypatch.setattr(deliverer, method, fail)
    conversation = await begin(make_reception(FakeSpool(SystemClock()), events, deliverer=deliverer))
    assert (await conversation.begin()).code == 354
    await conversation.take(plain("a@plain.example"))
    assert (await conversation.finish()).code == 250
    (alarm,) = [event for event in events if event.name == "error"]
    assert dict(alarm.fields) == {"where": "after the commit", "error": "ZeroDivisionError()"}


async def test_a_full_house_takes_no_more() -> None:
    reception = make_reception(FakeSpool(SystemClock()), [])
    first = await begin(reception)
    assert (await first.begin()).code == 354
    await first.take(b"x" * LIMIT)
    assert str(await first.finish()).startswith("452 4.3.1 "), "it left no room for others"
    second = await begin(reception)
    assert (await second.begin()).code == 354


async def test_one_client_takes_only_its_share() -> None:
    spool, events = FakeSpool(SystemClock()), list[Event]()
    limits = {"bytes_in_flight": 3 * LIMIT, "message_size": 10_000, "bytes_in_flight_per_client": LIMIT}
    reception = make_reception(spool, events, limits)
    greedy, same, other = await begin(reception), await begin(reception), await begin(reception, "192.0.2.2")
    for conversation in (greedy, same, other):
        assert (await conversation.begin()).code == 354
    await greedy.take(b"x" * (LIMIT - 10))
    await same.take(b"x" * 1000)
    assert str(await same.finish()).startswith("452 4.3.1 ")
    await other.take(plain("a@plain.example"))
    assert (await other.finish()).code == 250
    late = await begin(reception)
    await greedy.take(b"x" * 10)
    assert str(await late.begin()).startswith("452 4.3.1 ")
    greedy.abandon()
    assert (await (await begin(reception)).begin()).code == 354


async def hand_in(reception: MxReception, address: str, heard: bool) -> str:
    """The id in the reply to the same message from this address."""
    conversation = await begin(reception, address)
    assert (await conversation.begin()).code == 354
    await conversation.take(plain("a@plain.example"))
    reply = await conversation.finish()
    assert reply.code == 250
    conversation.answered(heard)
    return str(reply).rpartition("(")[2].removesuffix(")")


@pytest.mark.parametrize(
    ("first", "swallows"), [("203.0.113.9", False), ("192.0.2.1", True)], ids=["marked", "accepted"]
)
async def test_a_marked_copy_swallows_none_from_elsewhere(first: str, swallows: bool) -> None:
    """A stranger who holds the octets of a message sends them first and hears no reply: his copy is marked, and the
    author's own is judged by itself. A retry from another machine of an accepted sender's pool is the same message."""
    spool = FakeSpool(SystemClock())
    zone = {
        "plain.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"], "MX": ["10 mx.plain.example"]},
        "_dmarc.plain.example": {"TXT": ["v=DMARC1; p=quarantine"]},
    }
    reception = make_reception(spool, [], zone=zone)
    id = await hand_in(reception, first, heard=False)
    assert await hand_in(reception, first, heard=False) == id, "the same client network tries again"
    assert (await hand_in(reception, "198.51.100.7", heard=False) == id) is swallows
