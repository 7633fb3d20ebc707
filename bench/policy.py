"""python -m bench.policy: the cost of the rules alone for a message, by rule set.

In: nothing. Out: a table in Markdown. The facts of three messages are built, and a set is asked about them: one that no
rule takes, so that all are asked; a spoof; and one whose DNS is silent, for which the rules are asked more than once.
The figure is the least CPU time of all turns, in microseconds; the checks (SPF, DKIM, DMARC) are not in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from gateway.config.policies import load_set
from gateway.mail.path import mailbox
from gateway.model.decision import Stage
from gateway.model.envelope import Envelope, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Evidence
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.policy.evaluate import decide, judge
from gateway.policy.facts import data_facts
from gateway.policy.rules import RuleSet
from gateway.policy.weighing import Case, FactSettings, weigh

ROUNDS, REPEATS = 40, 100
BAR = 100.0
"""Microseconds for the whole set `enforce` (docs/performance.md)."""
SETTINGS = FactSettings(own=frozenset({"dst.example"}), protected=frozenset({"bank.example"}))
HEADER = (
    b"Received: from mail.src.example (mail.src.example [198.18.0.1]) by mx.src.example with ESMTPS id 1; today\r\n"
    b"DKIM-Signature: v=1; d=src.example; s=s1\r\nFrom: Ann <ann@src.example>\r\nTo: bob@dst.example\r\n"
    b"Subject: Lunch\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@src.example>\r\n"
)
MESSAGES = {"no rule takes it": DmarcVerdict.PASS, "spoof": DmarcVerdict.FAIL, "DNS silent": DmarcVerdict.TEMPERROR}


def make_facts(result: DmarcVerdict) -> Callable[[], dict[str, object]]:
    """The building of the facts of one message."""
    client = ip_text("198.18.0.1")
    ingress = EdgeIngress(client, ClientSource.PEER, "mail.src.example", "mx", client, rdns="mail.src.example")
    sender, recipient = mailbox("ann@src.example"), mailbox("bob@dst.example")
    assert sender is not None
    assert recipient is not None
    envelope = Envelope(sender, (Recipient(recipient),))
    case = Case.of(ingress, envelope, Evidence(HEADER, (), 4000), 0.0)
    passed = result is DmarcVerdict.PASS
    spf = SpfResult(SpfVerdict.PASS if passed else SpfVerdict.FAIL, "src.example", SpfIdentity.MAILFROM)
    dkim = (DkimResult(DkimVerdict.PASS, "src.example", "s1", "rsa-sha256"),) if passed else ()
    reject = DmarcPolicy.REJECT
    dmarc = DmarcResult(result, "src.example", "src.example", "src.example", reject, reject, passed, (passed,))
    results = Authentication(spf, spf, dkim, ArcResult(ArcVerdict.NONE), dmarc)

    def build() -> dict[str, object]:
        return dict(data_facts(case, results, SETTINGS, weigh(case, results, SETTINGS)))

    return build


def cost(run: Callable[[], object]) -> float:
    """Microseconds of CPU for one run, the least of all rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(REPEATS):
            run()
        best = min(best, (time.process_time() - start) / REPEATS)
    return best * 1e6


def measure(rules: RuleSet) -> list[tuple[str, float, float, float]]:
    """For each message: building the facts, asking the rules, and both with all that makes the decision."""
    rows = []
    for name, result in MESSAGES.items():
        build = make_facts(result)
        facts = build()
        asking = cost(lambda facts=facts: decide(rules, Stage.DATA, facts))  # type: ignore[misc]
        whole = cost(lambda build=build: judge(rules, build()))  # type: ignore[misc]
        rows.append((name, cost(build), asking, whole))
    return rows


def main() -> int:
    print("| set | message | facts built | rules asked | decision in all |")
    print("|---|---|---|---|---|")
    over = False
    for name in ("enforce", "strict", "learn"):
        for message, facts, asked, whole in measure(load_set(name, None)):
            print(f"| {name} | {message} | {facts:.0f} µs | {asked:.0f} µs | {whole:.0f} µs |", flush=True)
            over = over or (name == "enforce" and asked > BAR)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
