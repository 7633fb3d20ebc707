"""`simulate` answers for recipients as the gateway does, and asks no backend."""

from __future__ import annotations

from gateway import app
from gateway.config.model import Config
from gateway.model.envelope import IPText
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.tools.rehearsal import Delivered, Rehearsed, rehearse
from tests.support.sending import TEXT, mailbox

CONFIG = Config.model_validate(
    {
        "server": {"hostname": "gw.example"},
        "listener": [{"address": "127.0.0.1:0"}],
        "domain": [{"name": "corp.example", "backend": "one", "mailboxes": "listed", "callout": True}],
        "backend": {"one": {"hosts": ["127.0.0.1:9"], "networks": ["198.51.100.0/24"]}},
        "routing": {"addresses": {"bob@corp.example": "one"}},
    }
)


async def run(*rcpts: str, ip: str = "192.0.2.1", octets: bytes = TEXT) -> Rehearsed:
    addresses = tuple(mailbox(rcpt) for rcpt in rcpts)
    delivered = Delivered(IPText(ip), "c.example", mailbox("a@sender.example"), addresses, octets, 1_800_000_000.0)
    return await rehearse(delivered, app.make_runtime(CONFIG), ZoneResolver(build_zone({})))


async def test_an_unknown_mailbox_is_refused_and_the_others_go_on() -> None:
    found = await run("bob@corp.example", "eve@corp.example")
    assert found.trace.decision.reply.positive
    assert [(rcpt, str(reply)[:9]) for rcpt, reply in found.refused] == [("eve@corp.example", "550 5.1.1")]


async def test_loops_are_refused() -> None:
    found = await run("bob@corp.example", ip="198.51.100.9")
    assert found.trace.decision.rule == "loop-to-origin"
    passed = b"Received: from x by gw.example (Waypost) with ESMTP id 1; date\r\n" * 5
    found = await run("bob@corp.example", octets=passed + TEXT)
    assert found.trace.decision.rule == "mail-loop"
