"""A new sender is deferred, and accepted when it comes again. The trace has the greylist's memory, so the decision can
be repeated."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from gateway.mail.path import mailbox
from gateway.model.decision import Action
from gateway.model.delivery import Trace
from gateway.model.envelope import Envelope, Mailbox, Recipient, ip_text
from gateway.model.history import Greylisting
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.plan.greylisting import GreylistTerms
from gateway.policy.grounds import Source
from gateway.ports import Connection
from gateway.service.authenticator import Authenticator
from gateway.service.reception import MxReception
from gateway.service.runtime import RuntimeConfig, Services
from gateway.tools.explain import Replayed, replay
from tests.support.receiving import ZONE, Nobody, Spool, make_config
from tests.support.receiving import _make_law as make_runtime

DAY = 86_400.0
TERMS = GreylistTerms(delay=300.0, retry=2 * DAY, keep=35 * DAY)
WAIT = "451 4.7.1 Greylisted"


class Clock(SystemClock):
    """The wall clock can be moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class House:
    def __init__(self, terms: GreylistTerms | None = TERMS) -> None:
        law = make_runtime(())
        self.runtime: RuntimeConfig = replace(law, context=replace(law.context, greylist=terms))
        self.clock = Clock()
        self.spool = Spool()
        authenticator = Authenticator(ZoneResolver(build_zone(ZONE)), self.clock, 18.0)
        self.reception = MxReception(
            Services(self.clock, self.spool, authenticator, Nobody(), lambda event: None), lambda: self.runtime
        )

    @property
    def trace(self) -> Trace:
        return self.spool.intakes[-1].trace

    async def send(
        self, sender: str = "a@b.example", rcpt: str = "r@d.example", client: str = "127.0.0.1", author: str = ""
    ) -> str:
        address = ip_text(client)
        conversation = await self.reception.connect(Connection("mx", address, address, ClientSource.PEER))
        assert not isinstance(conversation, Reply)
        conversation.hello("c.example", True, None)
        await conversation.mail(Envelope(mailbox(sender), ()), None)
        await conversation.rcpt(Recipient(mailbox(rcpt) or Mailbox(rcpt, "", "")))
        await conversation.begin()
        await conversation.take(f"From: {author or sender}\r\nSubject: x\r\n\r\nhello\r\n".encode())
        reply = await conversation.finish()
        conversation.answered(heard=True)
        return str(reply)


async def test_a_new_sender_comes_back_and_is_let_in_from_then_on() -> None:
    house = House()
    assert (await house.send()).startswith(WAIT)
    decision, known = house.trace.decision, house.trace.circumstances.greylisting
    assert (decision.action, decision.rule) == (Action.GREYLIST, "greylist")
    assert known == Greylisting("domain b.example", house.trace.received, wait=True)
    assert house.spool.kept == []
    house.clock.ahead = 200
    assert (await house.send()).startswith(WAIT), "too early"
    house.clock.ahead = 301
    assert (await house.send()).startswith("250 ")
    assert (await house.send(sender="other@b.example")).startswith("250 "), "its domain is known now"
    house.clock.ahead += 36 * DAY
    assert (await house.send()).startswith(WAIT), "not seen for too long"


async def test_who_comes_back_from_another_network_is_known_by_its_domain() -> None:
    house = House()
    assert (await house.send(client="127.0.0.1")).startswith(WAIT)
    house.clock.ahead = 301
    assert (await house.send(client="127.77.0.1")).startswith("250 ")


async def test_who_proves_nothing_is_known_by_network_and_sender() -> None:
    house = House()
    nobody = "x@unheard.example"
    assert (await house.send(nobody, client="192.0.2.1")).startswith(WAIT)
    house.clock.ahead = 301
    assert (await house.send(nobody, client="198.51.100.1")).startswith(WAIT), "another network"
    assert (await house.send("y@unheard.example", client="192.0.2.1")).startswith(WAIT), "another sender"
    assert (await house.send(nobody, client="192.0.2.99")).startswith("250 ")


@pytest.mark.parametrize("rcpt", ["abuse@d.example", "postmaster@e.example", "postmaster"])
async def test_role_addresses_are_exempt(rcpt: str) -> None:
    house = House()
    assert (await house.send(rcpt=rcpt)).startswith("250 ")
    assert house.trace.circumstances.greylisting is None


async def test_whom_the_admin_named_does_not_wait() -> None:
    house = House()
    bench = house.runtime.context
    named = Source("alumni", networks=(IPv4Network("192.0.2.0/24"),))
    house.runtime = replace(house.runtime, context=replace(bench, facts=replace(bench.facts, forwarders=(named,))))
    assert (await house.send("x@unheard.example", client="192.0.2.1")).startswith("250 ")
    assert (await house.send("x@unheard.example", client="198.51.100.1")).startswith(WAIT)


async def test_what_is_refused_anyhow_is_refused_at_once() -> None:
    house = House()
    assert (await house.send("a@strict.example", client="192.0.2.1")).startswith("550 5.7.1")
    assert house.spool.intakes[-1].acquaintance is None


async def test_off_by_default() -> None:
    assert not make_config().greylisting.enabled
    house = House(terms=None)
    assert (await house.send()).startswith("250 ")
    assert house.trace.circumstances.greylisting is None


async def test_the_decision_can_be_repeated() -> None:
    house = House()
    await house.send()
    house.clock.ahead = 301
    await house.send()
    later = replace(house.runtime.context, greylist=None)
    assert [replay(intake.trace, later) for intake in house.spool.intakes] == [Replayed.SAME] * 2
    known = house.trace.circumstances.greylisting
    assert known is not None
    waiting = replace(house.trace.circumstances, greylisting=replace(known, wait=True))
    assert replay(replace(house.trace, circumstances=waiting), later) is Replayed.DIFFERENT


async def test_role_mail_stays_role_mail_where_an_alias_leads_it() -> None:
    house = House(terms=None)
    routing = replace(house.runtime.routing, addresses={"abuse@d.example": "boss@e.example"})
    house.runtime = replace(house.runtime, routing=routing)
    await house.send(rcpt="abuse@d.example")
    await house.send(rcpt="boss@e.example")
    for intake, role in zip(house.spool.kept, (True, False), strict=True):
        (transfer,) = intake.transfers
        assert ([str(rcpt.mailbox) for rcpt in transfer.rcpts], transfer.role) == (["boss@e.example"], role)
