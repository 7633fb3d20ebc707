"""python -m bench.authentication: the cost of the checks of one message, compared with stock dkimpy and pyspf in one
run.

In: nothing. Out: a table in Markdown. Each side runs in processes of its own, in turns; the figure is the least CPU
time of all turns, as others on the machine only ever add to it. DNS is warm: every answer is in memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from bench.checks import (
    ALL,
    BASE64,
    BATCHES,
    CLIENT,
    DOMAIN,
    NOW,
    PROSE,
    REPEATS,
    SPF,
    SPF_LARGE,
    Costs,
    Zone,
    cost,
    make_base64,
    make_message,
    make_prose,
)
from gateway import app
from gateway.authentication import dkim as our_dkim
from gateway.authentication import dmarc, spf
from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.authentication.lookup import DnsView
from gateway.config.model import Config
from gateway.mail.author import find_author
from gateway.mail.header import parse_header, split_message
from gateway.model.envelope import Envelope, Mailbox, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Evidence
from gateway.model.result import SpfIdentity
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.plan.judgement import judge
from gateway.policy.weighing import Case

ROUNDS = 5
CHUNK = 65_536
BARS = {ALL: 1.0, BASE64: 60.0, PROSE: 300.0}
"""Milliseconds (docs/performance.md)."""


def measure(message: bytes, zone: Zone) -> Costs:
    known = ZoneResolver(build_zone({name: {"TXT": records} for name, records in zone.items()})).known
    client = ip_text(CLIENT)
    ingress = EdgeIngress(client, ClientSource.PEER, f"mail.{DOMAIN}", "mx", client)
    sender, large = Mailbox("ann", DOMAIN, DOMAIN), Mailbox("ann", f"large.{DOMAIN}", f"large.{DOMAIN}")
    envelope = Envelope(sender, (Recipient(Mailbox("bob", "dst.example", "dst.example")),))
    tree = {"server": {"hostname": "mx.dst.example"}, "listener": [{"address": "127.0.0.1:25"}]}
    tree |= {"domain": [{"name": "dst.example", "backend": "in"}], "backend": {"in": {"hosts": ["127.0.0.1"]}}}
    bench = app.make_runtime(Config.model_validate(tree)).context

    def collect() -> Evidence:
        block, start = split_message(message)
        hasher = BodyHasher(wanted_digests(parse_header(block)))
        hasher.update(message[start:])
        return Evidence(block, hasher.digests(), len(message))

    def check() -> object:
        evidence, window = collect(), DnsView(known)
        header = parse_header(evidence.header)
        found = spf.evaluate(ingress, sender, SpfIdentity.MAILFROM, window, "mx.dst.example")
        signatures = our_dkim.verify(evidence, header, window, NOW)
        result = dmarc.evaluate(find_author(header), found, signatures, window)
        assert (found.result, signatures[0].result, result.result) == ("pass",) * 3, (found, signatures, result)
        return result

    def check_spf(mail_from: Mailbox) -> object:
        found = spf.evaluate(ingress, mail_from, SpfIdentity.MAILFROM, DnsView(known), "mx.dst.example")
        assert found.result == "pass", found
        return found

    def judge_all() -> object:
        return judge(Case.of(ingress, envelope, collect(), NOW), DnsView(known), bench)

    prose, encoded = make_prose(10_000_000), make_base64(10_000_000)
    return {
        ALL: cost(check, REPEATS),
        SPF: cost(lambda: check_spf(sender), REPEATS),
        SPF_LARGE: cost(lambda: check_spf(large), REPEATS),
        "all of a judgement: HELO's SPF, ARC and the rules too": cost(judge_all, REPEATS),
        BASE64: cost(lambda: hash_body(encoded), 1),
        PROSE: cost(lambda: hash_body(prose), 1),
        "longest step of it": min(hash_body(prose) for _ in range(BATCHES)),
    }


def hash_body(body: bytes) -> float:
    """The longest step too, because it blocks the loop."""
    hasher, worst = BodyHasher([("relaxed", None)]), 0.0
    for start in range(0, len(body), CHUNK):
        began = time.process_time()
        hasher.update(body[start : start + CHUNK])
        worst = max(worst, time.process_time() - began)
    hasher.digests()
    return worst * 1000


def run_side(module: str) -> Costs:
    """One turn of one side."""
    done = subprocess.run([sys.executable, "-m", *module.split()], capture_output=True, text=True, check=True)
    costs: Costs = json.loads(done.stdout)
    return costs


def main() -> int:
    if sys.argv[1:] == ["ours"]:
        print(json.dumps(measure(*make_message())))
        return 0
    turns = [(run_side("bench.authentication ours"), run_side("bench.stock_checks")) for _ in range(ROUNDS)]
    ours, stock = ({name: min(turn[side][name] for turn in turns) for name in turns[0][side]} for side in (0, 1))
    print(f"Milliseconds of CPU, the least of {ROUNDS} turns.\n")
    print("| what | waypost | stock | at most |\n|---|---|---|---|")
    for name, value in ours.items():
        other = f"{stock[name]:.2f}" if name in stock else ""
        print(f"| {name} | {value:.2f} | {other} | {BARS.get(name, '')} |")
    return int(any(ours[name] > bar for name, bar in BARS.items()))


if __name__ == "__main__":
    sys.exit(main())
