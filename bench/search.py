"""python -m bench.search: search among many traces. Makes a spool of them, builds the index, and measures searches.

Prints JSON: traces a second while the index is built, octets of the index for each message, and for each kind of search
the median and the 95th percentile in milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.model.decision import Action, Decision, RuleHit, Stage
from gateway.model.delivery import Attempt, Ending, Final, Outcome, OutcomeKind, Scope, Trace
from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Content, Evidence
from gateway.model.reply import Reply
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcResult,
    DmarcVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.search import DeliveryState, MessageQuery
from gateway.net.system import SystemClock
from gateway.spool import codec
from gateway.spool.disk import DATABASE, Disk, make_shard
from gateway.spool.index import IndexWriter
from gateway.spool.indexing import Indexer
from gateway.spool.queries import QUERIES
from gateway.spool.search import SpoolSearch
from gateway.spool.writer import open_database

DAYS = 30
NOW = 1_790_000_000.0
_WORDS = ("invoice", "order", "figures", "meeting", "report", "offer", "contract", "delivery", "project", "review")
_HEADER = (
    "Received: from mail.{domain} (mail.{domain} [{client}])\r\n\tby mx.corp.example with ESMTPS id {id}\r\n\t"
    "for <{rcpt}>; Mon, 1 Dec 2026 10:00:00 +0000\r\nDKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain};"
    "\r\n\ts=s1; h=from:to:subject:date; bh={hash};\r\n\tb={signature}\r\nFrom: {name} <{sender}>\r\nTo: {rcpt}\r\n"
    "Subject: {subject}\r\nMessage-ID: <{unique}@mail.{domain}>\r\nDate: Mon, 1 Dec 2026 10:00:00 +0000\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
)
_RULES = (
    (0.70, Action.ACCEPT, "default", Reply(250, "2.6.0", "Queued")),
    (0.25, Action.REJECT, "dmarc-reject", Reply(550, "7.1", "DMARC: the author domain asks to reject this")),
    (0.03, Action.GREYLIST, "greylist", Reply(451, "7.1", "Come back in a few minutes")),
    (0.02, Action.QUARANTINE, "dmarc-quarantine", Reply(250, "2.6.0", "Queued")),
)


class TraceMaker:
    """Makes traces as a company of 2,000 mailboxes gets them: some senders write often, many once."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._clock = SystemClock(0)

    def make(self, received: float) -> tuple[Trace, bytes | None]:
        """A trace, and its attempt's row when it was sent on."""
        pick = self._random
        often = pick.random() < 0.7
        domain = f"d{int(pick.paretovariate(0.6)) % 5000 if often else pick.randrange(2_000_000)}.example"
        local, rcpt = f"user{pick.randrange(40)}", f"person{pick.randrange(2000)}"
        client = IPText(f"198.{18 + pick.randrange(2)}.{pick.randrange(256)}.{pick.randrange(256)}")
        action, rule, reply = self._choose()
        id = self._clock.new_id()
        to = Recipient(Mailbox(rcpt, "corp.example", "corp.example"))
        header = _HEADER.format(
            domain=domain,
            client=client,
            id=id,
            rcpt=f"{rcpt}@corp.example",
            hash="a" * 44,
            signature=f"{pick.getrandbits(2048):0344x}"[:344],
            name=f"Person {local}",
            sender=f"{local}@{domain}",
            subject=" ".join(pick.choices(_WORDS, k=4)) + f" {pick.randrange(100_000)}",
            unique=f"{pick.getrandbits(128):032x}",
        ).encode()
        passes = action is Action.ACCEPT
        trace = Trace(
            id=id,
            received=received,
            edge=EdgeIngress(client, ClientSource.PEER, f"mail.{domain}", "mx", client),
            internal=None,
            envelope=Envelope(Mailbox(local, domain, domain), (to,)),
            evidence=Evidence(header, (), 4000),
            content=Content(4000, b"\0" * 32, False, False),
            dropped=(),
            authentication=_results(domain, passes),
            lookups=(),
            decision=Decision(action, rule, "enforce", reply, considered=(RuleHit(rule, Stage.DATA, True),)),
            routes=((f"{rcpt}@corp.example", "google"),) if action.delivers else (),
            added=(),
        )
        return trace, self._make_attempt(id, to, received) if action.delivers else None

    def _choose(self) -> tuple[Action, str, Reply]:
        point = self._random.random()
        for share, action, rule, reply in _RULES:
            point -= share
            if point < 0:
                return action, rule, reply
        return _RULES[0][1:]

    def _make_attempt(self, id: str, to: Recipient, received: float) -> bytes:
        failed = self._random.random() < 0.01
        reply = (
            Reply(550, "1.1", "No such user") if failed else Reply(250, "2.0.0", f"OK {self._random.getrandbits(64)}")
        )
        kind = OutcomeKind.FAILED if failed else OutcomeKind.DELIVERED
        outcome = Outcome(to, kind, reply, Scope.RECIPIENT, "aspmx.l.google.com", "192.0.2.9")
        attempt = Attempt(f"{id}-google/corp.example", "google", received, received + 1, (outcome,))
        ending = Ending(to, Final.FAILED if failed else Final.DELIVERED, reply)
        return codec.ATTEMPT.pack((attempt, (ending,)))


def _results(domain: str, passes: bool) -> Authentication:
    spf = SpfVerdict.PASS if passes else SpfVerdict.FAIL
    return Authentication(
        spf=SpfResult(spf, domain, SpfIdentity.MAILFROM),
        spf_helo=SpfResult(SpfVerdict.NONE, f"mail.{domain}", SpfIdentity.HELO),
        dkim=(DkimResult(DkimVerdict.PASS if passes else DkimVerdict.FAIL, domain, "s1", "rsa-sha256"),),
        arc=ArcResult(ArcVerdict.NONE),
        dmarc=DmarcResult(DmarcVerdict.PASS if passes else DmarcVerdict.FAIL, domain, dkim_aligned=(passes,)),
    )


def make_spool(directory: Path, count: int, seed: int = 1) -> None:
    """Write a spool of one shard with so many traces of the last 30 days. There is no content."""
    path = make_shard(directory, "0", Disk())
    connection, _ = open_database(path / DATABASE, NOW, Disk(), None)
    # Nothing of this has to survive a power cut.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 10000")
    maker, step = TraceMaker(seed), DAYS * 86_400 / count
    connection.execute("BEGIN")
    for at in range(count):
        trace, attempt = maker.make(NOW - DAYS * 86_400 + at * step)
        body = codec.pack_trace(trace)
        refused = 0 if trace.decision.action.keeps else len(body)
        n = connection.execute(QUERIES["insert_trace"], (trace.id, trace.received, body, refused)).lastrowid
        if attempt is not None:
            connection.execute(QUERIES["insert_attempt"], (n, f"{trace.id}-google", 1, attempt))
        if at % 20_000 == 19_999:
            connection.execute("COMMIT")
            connection.execute("BEGIN")
            print(f"{at + 1} traces", file=sys.stderr)
    connection.execute("COMMIT")
    connection.close()


def build_index(directory: Path, subjects: bool) -> dict[str, Any]:
    """Build the index anew; how fast, and how large it is."""
    # As in the control plane.
    gc.freeze()
    gc.set_threshold(50_000)
    writer = IndexWriter(directory, subjects, anew=True)
    indexer = Indexer(directory, writer)
    began, cpu = time.monotonic(), time.process_time()
    read = 0
    while (progress := indexer.step()).behind or progress.messages:
        read += progress.messages
    seconds, used = time.monotonic() - began, time.process_time() - cpu
    octets = writer.octets()
    indexer.close()
    return {
        "messages": read,
        "traces_per_s": round(read / seconds),
        "traces_per_cpu_s": round(read / used),
        "octets_per_message": round(octets / max(read, 1)),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _queries(messages: list[Any], pick: random.Random) -> Iterator[tuple[str, MessageQuery]]:
    one, other = pick.choice(messages), pick.choice(messages)
    day = 86_400.0
    yield "newest", MessageQuery()
    yield "id", MessageQuery(words=(one.id,))
    yield "sender", MessageQuery(sender=one.mail_from)
    yield "sender's domain", MessageQuery(sender="@" + one.mail_from.partition("@")[2])
    yield "recipient", MessageQuery(rcpt=one.rcpts[0].address)
    yield "our domain", MessageQuery(domain="corp.example")
    yield "Message-ID", MessageQuery(message_id=one.message_id)
    yield "client", MessageQuery(network=one.client)
    yield "network /16", MessageQuery(network=one.client + "/16")
    yield "subject", MessageQuery(subject=one.subject.rpartition(" ")[2])
    yield "subject, usual word", MessageQuery(subject="invoice order")
    yield "word, beginning", MessageQuery(words=(one.mail_from[:6],))
    yield (
        "recipient, one hour",
        MessageQuery(rcpt=one.rcpts[0].address, since=one.received - 1800, until=one.received + 1800),
    )
    yield "one day, refused", MessageQuery(state=DeliveryState.REFUSED, since=NOW - 20 * day, until=NOW - 19 * day)
    yield "state failed", MessageQuery(state=DeliveryState.FAILED)
    yield "state held, none", MessageQuery(state=DeliveryState.HELD)
    yield "rule", MessageQuery(rule="dmarc-reject")
    yield "dmarc and recipient", MessageQuery(dmarc="fail", rcpt=one.rcpts[0].address)
    yield "sender and recipient of others", MessageQuery(sender=one.mail_from, rcpt=other.rcpts[0].address)
    yield "two that exclude each other", MessageQuery(dmarc="pass", rule="dmarc-reject")
    yield "never seen", MessageQuery(sender="nobody@nowhere.example")


def measure_searches(directory: Path, subjects: bool, rounds: int, limit: int) -> dict[str, Any]:
    """Each kind of search in turn, opened anew each time as the command does it."""
    pick = random.Random(2)
    search = SpoolSearch(directory, subjects)
    some = [search.find(MessageQuery(until=NOW - day * 86_400.0), 200).messages for day in (1, 5, 12, 20, 28)]
    search.close()
    messages = [one for page in some for one in page]
    taken: dict[str, list[float]] = {}
    used: list[float] = []
    for _ in range(rounds):
        for name, query in _queries(messages, pick):
            began, cpu = time.perf_counter(), time.process_time()
            search = SpoolSearch(directory, subjects)
            search.find(query, limit)
            search.close()
            taken.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
            used.append((time.process_time() - cpu) * 1e3)
    every = [one for times in taken.values() for one in times]
    rows = {name: [round(statistics.median(times), 1), round(_p95(times), 1)] for name, times in taken.items()}
    return {
        "searches_ms_median_p95": rows,
        "all_p95_ms": round(_p95(every), 1),
        "all_p95_cpu_ms": round(_p95(used), 1),
        "slowest_ms": round(max(every), 1),
    }


def _p95(times: list[float]) -> float:
    return sorted(times)[max(0, round(len(times) * 0.95) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.search", description=__doc__)
    parser.add_argument("spool", type=Path, help="a directory for the spool; an existing one is measured as it is")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--no-subjects", dest="subjects", action="store_false", help="do not index subjects")
    options = parser.parse_args()
    if not options.spool.exists():
        make_spool(options.spool, options.count)
    result = build_index(options.spool, options.subjects)
    result.update(measure_searches(options.spool, options.subjects, options.rounds, options.limit))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
