"""10,000 stored decisions are judged again in under 10 s, and exactly those are printed whose verdict changes."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.app.reading import read_config
from gateway.app.runtime_config import make_runtime, make_trial
from gateway.mail.path import mailbox
from gateway.model.delivery import Intake, Trace
from gateway.model.envelope import ip_text
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.system import SystemClock
from gateway.net.zone import build_zone
from gateway.plan.replay import differ
from gateway.service.runtime import RuntimeConfig
from gateway.spool.sqlite import SqliteSpool
from gateway.tools.rehearsal import Delivered, rehearse
from tests.support.gateway_process import Gateway
from tests.support.samples import nested_multipart, plain, sign

pytestmark = pytest.mark.slow

COUNT = 10_000
SECONDS = 10.0
FAMILY = 20
"""Messages that are really judged; the others are copies with another id and time."""


async def judge_family(law: RuntimeConfig, gateway: Gateway) -> list[Trace]:
    alice = mailbox("alice@corp.example")
    assert alice is not None
    resolver = ZoneResolver(build_zone(gateway.zone))
    traces = []
    for number in range(FAMILY):
        author = ("author@sender.example", "ceo@bank.example", "x@other.example")[number % 3]
        octets = nested_multipart(author) if number % 2 else plain(author, subject=f"Number {number}")
        if number % 4 == 1:
            octets = b"Received: from x (unknown [192.0.2.9]) by mx.forwarder.example; today\r\n" + octets
        if number % 3 == 0:
            octets = sign(octets, "sender.example")
        sender = mailbox("x@other.example" if number % 3 else "author@sender.example")
        delivered = Delivered(ip_text("127.0.0.1"), "h.other.example", sender, (alice,), octets, 1795295400.0)
        traces.append((await rehearse(delivered, law, resolver)).trace)
    return traces


def ids(count: int) -> Iterator[str]:
    yield from (f"replayed{number:06d}" for number in range(count))


async def test_ten_thousand_decisions(gateway: Gateway, tmp_path: Path) -> None:
    gateway.write_config()
    config = read_config(gateway.config_path)
    live, strict = make_runtime(config), make_trial(config, "strict")
    family, others = await judge_family(live, gateway), await judge_family(strict, gateway)
    changes = [differ(one.decision, other.decision) for one, other in zip(family, others, strict=True)]
    assert 0 < sum(changes) < FAMILY
    spool = await SqliteSpool.open(tmp_path / "spool", SystemClock())
    expected, now = set(), time.time()
    for number, id in enumerate(ids(COUNT)):
        trace = replace(family[number % FAMILY], id=id, received=now - number)
        await spool.commit(Intake(trace, None, (), claimed=False, durable=False))
        expected |= {id} if changes[number % FAMILY] else set()
    await spool.close()

    def replay(*words: str) -> tuple[set[str], int, float]:
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = gateway.run("replay", "--json", *words, "--config", str(gateway.config_path))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # It waits only for the processor, so this is its time on an idle machine.
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        print(f"replay {' '.join(words)}: {seconds:.1f} s of CPU, {time.monotonic() - start:.1f} s in all")
        assert done.returncode == 0, done.stderr
        tree = json.loads(done.stdout)
        return {one["id"] for one in tree["changed"]}, tree["judged"], seconds

    for words, wanted in (((), set()), (("--policy", "strict"), expected)):
        found, judged, seconds = replay(*words)
        assert found == wanted
        assert judged == COUNT
        assert seconds < SECONDS
