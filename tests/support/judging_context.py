"""A reception with its own configuration, DNS from a zone and a clock that the test moves: no socket, and no disk
except for rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from gateway.app.runtime_config import make_runtime
from gateway.config.model import Config
from gateway.model.delivery import Trace
from gateway.model.envelope import Envelope, Recipient, ip_text
from gateway.model.event import Event
from gateway.model.ingress import ClientSource
from gateway.model.reply import Reply
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.ports import Connection, Conversation
from gateway.service.reception import MxReception
from gateway.service.runtime import RuntimeConfig
from gateway.tools.rehearsal import make_services
from tests.support.fake_spool import FakeSpool
from tests.unit.policy.scenes import mailbox

START = 1_800_000_000.0


class MovedClock(SystemClock):
    """The wall clock stands still until the test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.time = START

    def now(self) -> float:
        return self.time


def make_config(**sections: Any) -> Config:
    """A configuration with corp.example on one backend, and the given sections."""
    return Config.model_validate(
        {
            "server": {"hostname": "mx.gw.example"},
            "listener": [{"address": "127.0.0.1:25"}],
            "domain": [{"name": "corp.example", "backend": "one"}],
            "backend": {"one": {"hosts": "mx"}},
            **sections,
        }
    )


@dataclass
class House:
    """The reception, and its results."""

    runtime: RuntimeConfig = field(default_factory=lambda: make_runtime(make_config()))
    zone: dict[str, Any] = field(default_factory=dict)
    client: str = "198.51.100.7"
    clock: MovedClock = field(default_factory=MovedClock)
    spool: FakeSpool = field(default_factory=lambda: FakeSpool(MovedClock()))

    def __post_init__(self) -> None:
        self.events: list[Event] = []
        resolver = ZoneResolver(build_zone(self.zone))
        services = make_services(resolver, self.clock, self.spool, self.events.append, 5.0)
        self.reception = MxReception(services, lambda: self.runtime)

    async def connect(self) -> Conversation | Reply:
        client = ip_text(self.client)
        return await self.reception.connect(Connection("mx", client, client, ClientSource.PEER))

    async def enter(self) -> Conversation:
        conversation = await self.connect()
        assert not isinstance(conversation, Reply)
        conversation.hello("client.example", True, None)
        return conversation

    async def begin(self, sender: str = "a@plain.example") -> Conversation:
        conversation = await self.enter()
        path = mailbox(sender) if sender else None
        assert (await conversation.mail(Envelope(path, ()), None)).code == 250
        return conversation

    async def send(self, octets: bytes, sender: str = "a@plain.example", rcpt: str = "alice@corp.example") -> Trace:
        """Send one message to one recipient; returns its trace."""
        conversation = await self.begin(sender)
        assert (await name(conversation, rcpt)).code == 250
        return await self.trace(await finish(conversation, octets))

    async def trace(self, reply: Reply) -> Trace:
        """The trace behind this answer."""
        id = re.search(r"\((\w+)\)$", reply.text)
        assert id, reply
        story = await self.spool.reader.story(id[1])
        assert story is not None
        return story.trace


async def name(conversation: Conversation, address: str) -> Reply:
    """RCPT."""
    return await conversation.rcpt(Recipient(mailbox(address)))


async def finish(conversation: Conversation, octets: bytes) -> Reply:
    """DATA and its answer."""
    assert (await conversation.begin()).code == 354
    await conversation.take(octets)
    return await conversation.finish()
