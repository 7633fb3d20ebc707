"""python -m bench.sealing: the cost of an ARC seal on a message of 10 kB, compared with two signatures of stock dkimpy.

In: nothing. Out: a table in Markdown. The same message is collected, judged and turned into its writes with a backend
that wants a seal and with one that does not, in turns of one run; the figure is the least CPU time of all turns. DNS
is warm, the key has 2048 bits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.checks import CLIENT, DOMAIN, NOW, cost, make_message
from gateway import app
from gateway.authentication.lookup import DnsView, Memory
from gateway.authentication.signing import DIGEST
from gateway.config.model import Config
from gateway.mail.path import mailbox
from gateway.model.envelope import Envelope, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.net.resolver import ZoneResolver
from gateway.net.system import load_signer
from gateway.net.zone import build_zone
from gateway.plan.intake import Arrival, take_in
from gateway.plan.judgement import Judged, judge
from gateway.policy.weighing import Case
from gateway.ports import ContentWriter, IntakeReader, IntakeStore
from gateway.service.collector import Collector
from gateway.service.runtime import RuntimeConfig

ROUNDS, REPEATS = 12, 20
BAR = 1.0
"""Milliseconds (docs/performance.md)."""


class _NoSpool:
    """A message of 10 kB stays in memory."""

    async def commit(self, intake: object) -> None:
        raise AssertionError("a collector commits nothing")

    def note_answer(self, id: str, heard: bool) -> None:
        pass

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        return None

    def open_content(self) -> ContentWriter:
        raise AssertionError("10 kB go to no file")

    @property
    def reader(self) -> IntakeReader:
        raise AssertionError("a collector recalls nothing")


def make_key(directory: Path) -> Path:
    """A new key for seals."""
    private = generate_private_key(65537, 2048)
    key = directory / "arc.pem"
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return key


def make_runtime(key: Path, seal: bool) -> RuntimeConfig:
    tree: dict[str, Any] = {"server": {"hostname": "mx.dst.example"}, "listener": [{"address": "127.0.0.1:25"}]}
    tree |= {"domain": [{"name": "dst.example", "backend": "in"}], "backend": {"in": {"hosts": "mx", "seal": seal}}}
    tree |= {"seal": {"domain": "dst.example", "selector": "arc", "key": key}}
    return app.make_runtime(Config.model_validate(tree))


def make_run(law: RuntimeConfig, message: bytes, known: Callable[..., Any], recipients: int = 1) -> Callable[[], bytes]:
    """Everything between the first octet and the writes; returns the fields above the message."""
    client = ip_text(CLIENT)
    ingress = EdgeIngress(client, ClientSource.PEER, f"mail.{DOMAIN}", "mx", client)
    sender = mailbox(f"ann@{DOMAIN}")
    assert sender is not None
    found = (mailbox(f"bob{number}@dst.example") for number in range(recipients))
    envelope = Envelope(sender, tuple(Recipient(one) for one in found if one is not None))
    spool: IntakeStore = _NoSpool()
    memory = Memory()

    def run() -> bytes:
        collector = Collector(spool, 100_000, {DIGEST} if law.context.sealing else ())
        _finish(collector.take(message))
        received = _finish(collector.finish())
        window = DnsView(known, memory)
        case = Case.of(ingress, envelope, received.evidence, NOW, header=collector.header)
        judged = Judged(case, judge(case, window, law.context), window)
        arrival = Arrival("id", NOW, ingress, envelope, received, collector.header)
        intake = take_in(arrival, judged, law.routing.group(envelope.rcpts), law.context, claimed=False)
        return intake.transfers[0].prefix

    return run


def _finish(steps: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits")


def main() -> int:
    message, zone = make_message()
    known = ZoneResolver(build_zone({name: {"TXT": records} for name, records in zone.items()})).known
    with tempfile.TemporaryDirectory() as directory:
        key = make_key(Path(directory))
        pem = key.read_bytes()
        laws, signer = (make_runtime(key, False), make_runtime(key, True)), load_signer(key)
    plain, sealed = (make_run(law, message, known) for law in laws)
    assert b"ARC-Seal: " in sealed()
    assert b"ARC-Seal: " not in plain()
    actions: dict[str, tuple[Callable[[], object], int]] = {
        "without a seal": (plain, REPEATS),
        "with a seal": (sealed, REPEATS),
        "one RSA signature": (lambda: signer.sign(bytes(32)), REPEATS),
        "two by stock dkimpy": (lambda: [dkim.sign(message, b"arc", b"dst.example", pem) for _ in range(2)], 2),
    }
    turns = [{name: cost(action, repeats) for name, (action, repeats) in actions.items()} for _ in range(ROUNDS)]
    least = {name: min(turn[name] for turn in turns) for name in actions}
    least["the seal"] = least["with a seal"] - least["without a seal"]
    print(f"Milliseconds of CPU, the least of {ROUNDS} turns.\n\n| what | ms | at most |\n|---|---|---|")
    for name, value in least.items():
        print(f"| {name} | {value:.2f} | {BAR if name == 'the seal' else ''} |")
    return int(least["the seal"] > BAR)


if __name__ == "__main__":
    sys.exit(main())
