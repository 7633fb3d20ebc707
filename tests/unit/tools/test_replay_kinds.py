"""`replay --policy enforce` shows each kind of sender, of our domains and of others, before anything is refused."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence

from rich.console import Console

from gateway.app.runtime_config import make_runtime
from gateway.model.delivery import Trace
from gateway.tools.replay import render_replay, replay_all
from tests.support.judging_context import START, House, make_config
from tests.support.samples import plain, sign, signing_key

CLIENT = "198.51.100.7"
KEY = {"TXT": [signing_key()[1]]}
ZONE = {
    "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.partner.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.partner.example": KEY,
    "mailer.example": {"TXT": [f"v=spf1 ip4:{CLIENT} -all"], "MX": ["10 mx.mailer.example"]},
    "sel1._domainkey.mailer.example": KEY,
}
HOP = b"Received: from mx.partner.example (mx.partner.example [192.0.2.20]) by mx.alumni.example; today\r\n"
OTHERS = plain("ann@partner.example")
SENT = {
    (True, "device"): (plain("scan@corp.example"), "scan@corp.example"),
    (True, "service"): (sign(plain("news@corp.example"), "mailer.example"), "b@mailer.example"),
    (False, "service"): (sign(OTHERS, "mailer.example"), "b@mailer.example"),
    (False, "another domain (a service or a forger)"): (OTHERS, "b@mailer.example"),
    (False, "stranger"): (OTHERS, "ann@partner.example"),
    (False, "forwarder"): (HOP + OTHERS, "ann@partner.example"),
    (False, "list"): (sign(b"List-Id: <a.mailer.example>\r\n" + OTHERS, "mailer.example"), "b@mailer.example"),
    (False, "notification"): (b"Auto-Submitted: auto-replied\r\n" + OTHERS, ""),
}


async def test_each_kind_is_counted_before_it_is_refused() -> None:
    learn = make_runtime(make_config(policy={"set": "learn"}))
    enforce = make_runtime(make_config(policy={"set": "enforce"}))
    house = House(learn, zone=ZONE, client=CLIENT)
    traces = [await house.send(octets, sender) for octets, sender in SENT.values()]

    async def batches() -> AsyncIterator[Sequence[Trace]]:
        yield traces

    replay = await replay_all(batches(), enforce.context)
    found = {(ours, kind): (str(then), str(now)) for then, now, ours, kind in replay.senders}
    assert found == {
        (True, "device"): ("quarantine", "reject"),
        (True, "service"): ("quarantine", "reject"),
        (False, "service"): ("accept", "reject"),
        (False, "another domain (a service or a forger)"): ("accept", "reject"),
        (False, "stranger"): ("accept", "reject"),
        (False, "forwarder"): ("accept", "quarantine"),
        (False, "list"): ("accept", "quarantine"),
        (False, "notification"): ("accept", "quarantine"),
    }
    page = io.StringIO()
    Console(width=200, file=page).print(render_replay(replay, "enforce", START - 1))
    for _, kind in SENT:
        assert f": {kind}, writing" in page.getvalue()
