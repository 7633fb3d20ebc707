"""Every sentence of `explain` and `simulate` stands in one file, and is printed by one of these cases."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.app import make_runtime, make_simulation_context
from gateway.model.decision import Action, Aside, Finding, Override, RuleHit, Stage
from gateway.model.delivery import (
    TRACE_VERSION,
    Act,
    Attempt,
    Ending,
    Final,
    Outcome,
    OutcomeKind,
    Scope,
    Story,
    Trace,
    Transfer,
)
from gateway.model.envelope import Body, IPText, Mailbox
from gateway.model.history import Circumstances, Greylisting, History, Standing
from gateway.model.ingress import ClientSource, InternalIngress, Tls
from gateway.model.message import Departure, Span
from gateway.model.reply import Reply
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    DnsblResult,
    IprevResult,
    IprevVerdict,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.value import replace
from gateway.service.runtime import RuntimeConfig
from gateway.tools import texts
from gateway.tools.explain import Checked, ContentState, Replayed, render_story
from gateway.tools.rehearsal import Rehearsed
from gateway.tools.results import Newlines
from gateway.tools.simulate import CaseError, Simulation, make_config, read_case, render_simulation, run_batch, simulate
from tests.support.sentences import unsaid
from tests.unit.tools.test_attempts import ATTEMPT
from tests.unit.tools.test_explain import ALICE, BOB, SIGNED, edge, judged, show, text_of, told

GATEWAY = Path(texts.__file__).parent.parent
WORDS = re.compile(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}")
INSIDE = InternalIngress(IPText("10.0.0.9"), "h", "mx", IPText("10.0.0.9"), "own hop inner", login="ann")


@pytest.fixture
async def trace() -> Trace:
    runtime: RuntimeConfig = make_runtime(make_config([ALICE.mailbox]))
    return await judged(runtime, SIGNED)


def origins(trace: Trace) -> Iterator[Trace]:
    yield replace(trace, edge=None)
    yield replace(trace, edge=edge(client=None, reason="no line", helo=""))
    for source in ClientSource:
        yield replace(trace, edge=edge(source=source, via=("near", "middle", "far"), rdns="out.example"))
    yield replace(trace, edge=None, internal=INSIDE)
    leaves = Departure("printer", "sender printer", None, (b"From: <alice@corp.example>\r\n",), ())
    yield replace(trace, edge=None, internal=INSIDE, departure=leaves)
    crowd = tuple(replace(ALICE, mailbox=Mailbox(f"a{number}", "x.example", "x.example")) for number in range(7))
    yield replace(trace, envelope=replace(trace.envelope, mail_from=None, rcpts=crowd))
    yield replace(trace, envelope=replace(trace.envelope, rcpts=()))


def results(trace: Trace) -> Iterator[Trace]:
    authentication = trace.authentication
    assert authentication is not None
    failed = DmarcResult(DmarcVerdict.FAIL, "a.example", published=DmarcPolicy.REJECT, policy=DmarcPolicy.QUARANTINE)
    for verdict in SpfVerdict:
        for identity in SpfIdentity:
            yield replace(trace, authentication=replace(
                authentication, spf=SpfResult(verdict, "b.example", identity, "why"), dkim=(), dmarc=failed,
            ))  # fmt: skip
    passed = DmarcResult(DmarcVerdict.PASS, "a.example", spf_aligned=True, dkim_aligned=(True,), reason="why")
    near = DkimResult(DkimVerdict.PASS, "mail.a.example", "s", "rsa-sha256")
    broken = ArcResult(ArcVerdict.FAIL, reason="why")
    unnamed = IprevResult(IprevVerdict.FAIL, reason="why")
    listed = DnsblResult(("l.example",), errors=("m.example",))
    for dmarc, dkim in ((passed, near), (failed, near), (failed, replace(near, domain="", result=DkimVerdict.FAIL))):
        yield replace(trace, authentication=replace(
            authentication, dmarc=dmarc, dkim=(dkim,), arc=broken, iprev=unnamed, dnsbl=listed,
        ))  # fmt: skip
    named = IprevResult(IprevVerdict.PASS, "out.example")
    none = DmarcResult(DmarcVerdict.NONE, "a.example", reason="why")
    yield replace(trace, authentication=replace(authentication, dmarc=none, iprev=named))
    for first, wait in ((trace.received - 60, False), (trace.received, True)):
        known = Circumstances(greylisting=Greylisting("key", first, wait))
        yield replace(trace, circumstances=known, authentication=replace(authentication, dmarc=failed))


def decisions(trace: Trace) -> Iterator[Trace]:
    assert trace.authentication is not None
    failed = replace(trace.authentication, dmarc=replace(trace.authentication.dmarc, result=DmarcVerdict.FAIL))
    findings = (Finding("earlier-hop", "x"), Finding("own-domain", "y"), Finding("added-field", "Subject"))
    for action in Action:
        decision = replace(
            trace.decision,
            action=action,
            grounds=tuple(texts.GROUNDS),
            findings=findings,
            overrides=(Override("local_policy", "why"),),
            considered=(RuleHit("one", Stage.DATA, True), RuleHit("two", Stage.DATA, False)),
            shadow=(RuleHit("three", Stage.DATA, True),),
            would=Aside("next", action, "four"),
            shadow_set=Aside("later", action, "five"),
        )
        yield replace(trace, decision=decision, authentication=failed)


def stories(trace: Trace) -> Iterator[tuple[Story, Checked]]:
    tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    ok = Reply(250, "0.0", "OK")
    outcomes = (
        Outcome(ALICE, OutcomeKind.DELIVERED, ok, Scope.RECIPIENT, "google", "192.0.2.1", tls, "verified"),
        Outcome(ALICE, OutcomeKind.DELIVERED, ok, Scope.RECIPIENT, "google", "", tls),
        Outcome(BOB, OutcomeKind.DEFERRED, Reply(451, "4.0", "later"), Scope.SITE, ""),
        Outcome(BOB, OutcomeKind.DEFERRED, Reply(451, "7.5", "no TLS"), Scope.SITE, "", "192.0.2.1"),
    )
    transfer = Transfer("t2", "simulated", "ms", None, (BOB,), b"", Body.EIGHT_BIT, False, None, "", 0.0, 60.0)
    rich = replace(trace, dropped=(Span(0, 10),), sealed=("google",), omitted=("x",), version=TRACE_VERSION)
    attempts = (Attempt("t1", "google", 1.0, 2.5, outcomes), ATTEMPT)
    whole = Story(rich, (), (transfer,), attempts, content_kept=True, held=False, damaged=("row 1",))
    acted = replace(whole, acts=(Act(1.0, "released", "ann"), Act(2.0, "expired", "")))
    yield acted, Checked(ContentState.IDENTICAL, Replayed.SAME)
    yield acted, Checked(ContentState.ALTERED, Replayed.DIFFERENT)
    yield acted, Checked(ContentState.PURGED, Replayed.SAME)
    done = replace(whole, endings=(Ending(ALICE, Final.DELIVERED, ok),))
    yield done, Checked(ContentState.PURGED, Replayed.SAME)
    refused = replace(trace, decision=replace(trace.decision, action=Action.REJECT))
    yield told(refused), Checked(ContentState.PURGED, Replayed.SAME)
    yield told(replace(trace, version=TRACE_VERSION + 1)), Checked(ContentState.PURGED, Replayed.DIFFERENT)
    stray = replace(trace.evidence, header=b"stray\r\n" + trace.evidence.header) if trace.evidence else None
    yield told(replace(trace, evidence=stray, dropped=(Span(0, 7),))), Checked(ContentState.PURGED, Replayed.SAME)


def simulations(trace: Trace) -> Iterator[str]:
    rehearsed = Rehearsed(trace, ((ALICE.mailbox, Reply(550, "1.1", "no")),))
    for standing in (History(100, 100), History(100, 0, 100), History()):
        assert standing.standing in Standing
        yield show(render_simulation(Simulation(rehearsed, Newlines.CONVERTED, standing)))


async def test_every_sentence_is_said(trace: Trace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        said = [text_of(told(one)) for one in (*origins(trace), *results(trace), *decisions(trace))]
        said += [text_of(story, checked) for story, checked in stories(trace)]
    finally:
        monkeypatch.undo()
        time.tzset()
    said += [show(render_story(told(one), Checked(ContentState.PURGED, Replayed.SAME), everything=True))
             for one in decisions(trace)]  # fmt: skip
    said += [show(render_story(told(one), Checked(ContentState.PURGED, None))) for one in decisions(trace)]
    said += [*simulations(trace), *[text async for text in mistakes(tmp_path)]]
    missing = unsaid(texts, *said)
    assert not missing, " ".join(missing)


BAD: list[dict[str, object]] = [
    {"client_ipp": 1, "mailfrom": "a@x.example"},
    {"mail_from": None},
    {"ip": "nowhere"},
    {"standing": "best"},
    {"helo": 3},
    {"rcpt": "nobody"},
    {"dns": 3},
    {"raw": 3},
    {"now": "never"},
]


async def mistakes(directory: Path) -> AsyncIterator[str]:
    """The texts about cases that cannot be judged."""
    (directory / "m.eml").write_bytes(SIGNED)
    sound = {"file": "m.eml", "ip": "192.0.2.1", "mail_from": "a@x.example", "rcpt": "b@corp.example", "dns": {}}
    for bad in BAD:
        with pytest.raises(CaseError) as raised:
            read_case(sound | bad, directory)
        yield str(raised.value)
    context = make_simulation_context()
    with pytest.raises(CaseError) as raised:
        await simulate(read_case(sound | {"rcpt": "b@[192.0.2.1]"}, directory), context)
    yield str(raised.value)
    async for answer in run_batch([b"{", b"[]"], directory, {}, context):
        yield str(answer["error"])


MODULES = [
    *(
        path
        for path in sorted((GATEWAY / "diagnosis").rglob("*.py"))
        if path.name != "texts.py" and path.parent.name != "cli"
    ),
    *((GATEWAY / "tools" / f"{name}.py") for name in ("explain", "narrative", "attempts", "simulate")),
]


NO_SENTENCES = {
    "a .NET mail library": "the name of a program",
    "signature has expired": "a reason of `authentication/dkim.py`, compared with",
    "sender ip address": "the name of a field in a report",
    "did not pass": "words of a receiver, compared with",
    "the sectors have no size that the format knows": "an exception that is caught below",
    "the directory has no root": "an exception that is caught below",
}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(GATEWAY)))
def test_no_sentence_stands_elsewhere(module: Path) -> None:
    """Three words in a row are a sentence, or part of one, unless a pattern or the help of an option holds them."""
    tree = ast.parse(module.read_text())
    notes = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in notes
    ]
    sentences = [text for text in found if WORDS.search(text) and not set(text) & set("\\|[")]
    assert [text for text in sentences if text not in NO_SENTENCES] == []
