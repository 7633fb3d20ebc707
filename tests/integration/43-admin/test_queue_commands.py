"""`waypost queue ...` by the running gateway, and the same on its spool while it is down."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.commands import type_command
from tests.support.gateway_process import Gateway, send
from tests.support.smtp_sink import Sink

pytestmark = pytest.mark.slow

OCTETS = b"From: a@sender.example\r\nSubject: one\r\n\r\nHello.\r\n"


class Admin:
    """Types `waypost queue ...`."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        return type_command("queue", *words, config=self.gateway.config_path)

    def __call__(self, *words: str, status: int = 0) -> Any:
        ended, out, err = self.run(*words, "--json")
        assert ended == status, out + err
        return json.loads(out)

    def text(self, *words: str) -> str:
        _, out, err = self.run(*words)
        return out + err

    def states(self, id: str) -> dict[str, str]:
        shown = self("show", id)
        assert max(Counter(one["rcpt"] for one in shown).values()) == 1, "each recipient once"
        return {one["rcpt"]: one["state"] for one in shown}

    def wait(self, id: str, **states: str) -> None:
        wanted = {f"{name}@corp.example": state for name, state in states.items()}
        end = time.monotonic() + 15
        while (found := self.states(id)) != wanted:
            assert time.monotonic() < end, found
            time.sleep(0.1)


def queue_three(gateway: Gateway) -> list[str]:
    """Three messages to alice (Google) and bob (Microsoft), both down."""
    with gateway.smtp() as client:
        replies = [
            send(client, "a@sender.example", ["alice@corp.example", "bob@corp.example"], OCTETS) for _ in range(3)
        ]
    assert [code for code, _ in replies] == [250] * 3
    return [text.rpartition("(")[2].rstrip(")") for _, text in replies]


@pytest.mark.parametrize("running", [True, False])
def test_every_command_running_and_down(gateway: Gateway, running: bool) -> None:
    gateway.delivery = "schedule = [3600]"
    gateway.start(backends=False)
    admin = Admin(gateway)
    one, two, three = queue_three(gateway)
    if not running:
        gateway.terminate()

    assert Counter(entry["backend"] for entry in admin("list")) == {"google": 3, "microsoft": 3}
    assert admin("hold", one, "--reason", "look at it")[0]["done"] == [
        f"{one}-google/corp.example",
        f"{one}-microsoft/corp.example",
    ]
    assert admin.states(one) == {"alice@corp.example": "held", "bob@corp.example": "held"}
    assert {entry["last_reply"] for entry in admin("list", "--held")} == {"look at it"}
    assert "held, release it instead" in admin("retry", one, status=1)[0]["refused"][0]
    assert admin("hold", "nothing", status=1) == [{"id": "nothing", "done": [], "refused": []}]
    assert "nothing of it waits here" in admin.text("release", "nothing")
    assert "Say which" in admin.text("bounce")
    assert "no backend 'gogle'; there are: direct, google, microsoft" in admin.text("reroute", "--to", "gogle", two)
    nobody = ("--sender", "nobody@nowhere.example")
    assert "no backend 'gogle'" in admin.text("reroute", "--to", "gogle", *nobody), "also when nothing is chosen"
    assert "one line of at most 400" in admin.text("bounce", two, "--reason", "a\nb")

    admin("reroute", "--to", "microsoft", "--backend", "google", "--rcpt", "@corp.example")
    assert {entry["backend"] for entry in admin("list")} == {"microsoft"}
    assert admin.states(one) == {"alice@corp.example": "held", "bob@corp.example": "held"}
    admin("delete", f"{two}-microsoft/corp.example")
    assert admin.states(two) == {"alice@corp.example": "waiting", "bob@corp.example": "deleted"}
    admin("bounce", "--sender", "a@sender.example", "--rcpt", "bob@corp.example", "--reason", "Bob has left")
    assert admin.states(three) == {"alice@corp.example": "waiting", "bob@corp.example": "failed"}
    assert admin.states(one) == {"alice@corp.example": "held", "bob@corp.example": "failed"}
    assert Counter(entry["backend"] for entry in admin("list", "--sender", "<>")) == {"direct": 2}, "DSNs"

    assert admin.text("show", three, "--raw").encode() == OCTETS.replace(b"\r\n", b"\n")
    if not running:
        gateway.start_gateway()
    gateway.microsoft.start()
    admin("release", one)
    admin.text("retry", "--all")  # some may be on their way already, which is an answer of its own
    admin.wait(one, alice="delivered", bob="failed")
    admin.wait(two, alice="delivered", bob="deleted")
    admin.wait(three, alice="delivered", bob="failed")
    assert len(gateway.microsoft.wait(3)) == 3
    story = json.loads(gateway.run("explain", one, "--json", "--config", str(gateway.config_path)).stdout)
    words = [act["what"].partition(",")[0] for act in story["acts"]]
    assert words == ["held", "rerouted to microsoft", "bounced", "released"]
    assert all(act["by"] for act in story["acts"])
    assert gateway.google.received() == []


async def test_what_is_being_sent_is_left_alone_and_a_loop_is_refused(gateway: Gateway) -> None:
    async with Sink() as sink:
        sink.gate.clear()
        gateway.delivery = "schedule = [3600]\nsession_budget = 0.5"
        gateway.settings = f'[backend.slow]\nhosts = "{sink.address}"\ntls = "off"\nnetworks = "127.0.0.1"\n'
        await asyncio.to_thread(gateway.start, False)
        admin = Admin(gateway)
        (id, *_) = await asyncio.to_thread(queue_three, gateway)
        (answer,) = await asyncio.to_thread(admin, "reroute", "--to", "slow", id, status=1)
        assert answer["refused"] == ["it came from slow, where it would go round for ever"]
        gateway.kill()
        config = gateway.config_path
        config.write_text(
            config.read_text()
            .replace("[backend.slow]", "[backend.slow]\nconnections = 1")
            .replace('networks = "127.0.0.1"', "")
        )
        await asyncio.to_thread(gateway.start_gateway)
        await asyncio.to_thread(admin, "reroute", "--to", "slow", id)
        for _ in range(300):
            if not sink.dots:
                await asyncio.sleep(0.05)
        sending = [one for one in await asyncio.to_thread(admin, "list") if one["state"] == "sending"]
        (answer,) = await asyncio.to_thread(admin, "bounce", sending[0]["transfer"], status=1)
        assert answer["refused"] == [
            f"{sending[0]['transfer']}: it is being sent at this moment, ask again when the attempt is over"
        ]
        sink.gate.set()
        await asyncio.to_thread(admin.wait, id, alice="delivered", bob="delivered")
        assert len(sink.mails) == 2


def test_retention_is_as_configured(gateway: Gateway) -> None:
    gateway.settings = "[retention]\ndelivered = 1\nfailed = 0\ntrace = 3600\n"
    gateway.start()
    admin = Admin(gateway)
    with gateway.smtp() as client:
        code, text = send(client, "a@sender.example", ["alice@corp.example"], OCTETS)
    assert code == 250
    id = text.rpartition("(")[2].rstrip(")")
    admin.wait(id, alice="delivered")
    assert "Hello." in admin.text("show", id, "--raw")
    time.sleep(1.1)
    gateway.terminate()
    gateway.start_gateway()  # expired mail is removed at the start, and every minute
    end = time.monotonic() + 15
    while "The content was deleted" not in admin.text("show", id):
        assert time.monotonic() < end
        time.sleep(0.2)
