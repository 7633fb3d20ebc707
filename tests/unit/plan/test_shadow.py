"""Shadow rules and sets are recorded and change nothing, under any facts (issue 5, acceptance 5)."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.decision import Action, Aside, Decision, Stage
from gateway.model.envelope import Envelope, Recipient
from gateway.model.history import Circumstances, Standing
from gateway.model.ingress import EdgeIngress
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
from gateway.model.value import replace
from gateway.plan.intake import announce
from gateway.plan.judgement import JudgementContext, ask_early, conclude
from gateway.policy.evaluate import judge
from gateway.policy.facts import FACTS, Fact, FactKind
from gateway.policy.load import load
from gateway.policy.rules import RuleFailure, RuleSet
from gateway.policy.weighing import Case
from tests.unit.policy.scenes import CLIENT, EDGE, INSIDE, OUR_SETTINGS, UNKNOWN, Scene, mailbox, shipped

SHADOWS = """
[[rule]]
id = "shadow-{number}"
stage = "{stage}"
when = '{when}'
then = "reject"
reply = "unacceptable"
shadow = true
"""
CONDITIONS = (
    ("data", "message.size > 10"),
    ("data", 'dmarc.result == "fail"'),
    ("data", 'author.domains[message.size == 10000 ? 0 : 9] == "cannot be asked"'),
    ("data", "message.size / rcpt.count > 7"),
    ("rcpt", "rcpt.role"),
    ("connect", "ingress.edge"),
)
ADDRESSES = ("ceo@own.example", "x@sub.own.example", "x@bank.example", "someone@stranger.example", "")
HEADERS = (
    "",
    "List-Id: <x.list.example>\r\n",
    "Received: from a.hop.example by b.hop.example\r\n",
    "From: b@x.example\r\n",
)


@cache
def with_shadow_rules(name: str) -> RuleSet:
    """A shipped set with shadow rules before and after its own."""
    live = shipped(name)
    text = f'set = "{name}"\n'
    text += "".join(
        SHADOWS.format(number=number, stage=stage, when=when) for number, (stage, when) in enumerate(CONDITIONS)
    )
    more = load(name, {f"{name}.toml": text}).rules
    rules = [rule for stage in Stage for rule in (*more[stage], *live.rules[stage], *more[stage])]
    return RuleSet.make(name, rules, live.language, live.beside)


@cache
def live_set(name: str) -> RuleSet:
    return shipped(name)


def outcome(decision: Decision) -> Decision:
    """The parts of a decision with an effect."""
    return replace(decision, shadow=(), shadow_set=None)


def value_of(fact: Fact) -> st.SearchStrategy[object]:
    if fact.values:
        return st.sampled_from(fact.values)
    names = st.sampled_from(["", "own.example", "stranger.example", "203.0.113.7"])
    kinds: dict[FactKind, st.SearchStrategy[object]] = {
        FactKind.BOOL: st.booleans(),
        FactKind.INT: st.integers(0, 100),
        FactKind.STRING: names,
        FactKind.STRINGS: st.lists(names, max_size=3),
    }
    return kinds[fact.kind]


ANY_FACTS = st.fixed_dictionaries({fact.name: value_of(fact) for fact in FACTS})


@given(ANY_FACTS, st.sampled_from(["learn", "enforce", "strict"]))
def test_shadow_rules_change_no_outcome(facts: dict[str, object], name: str) -> None:
    alone = judge(live_set(name), facts)
    beside = judge(with_shadow_rules(name), facts)
    assert outcome(beside) == alone
    assert len(beside.shadow) == 8


results = st.builds(
    Authentication,
    spf=st.builds(SpfResult, st.sampled_from(SpfVerdict), st.sampled_from(["own.example", "x.example"]),
                  st.just(SpfIdentity.MAILFROM), sends_no_mail=st.booleans()),
    spf_helo=st.just(SpfResult(SpfVerdict.NONE, "h.example", SpfIdentity.HELO)),
    dkim=st.lists(
        st.builds(DkimResult, st.sampled_from(DkimVerdict), st.sampled_from(["own.example", "saas.example"]),
                  st.just("s"), st.just("rsa-sha256")), max_size=2).map(tuple),
    arc=st.builds(ArcResult, st.sampled_from(ArcVerdict)),
    dmarc=st.builds(
        DmarcResult, st.sampled_from(DmarcVerdict), st.sampled_from(["own.example", "stranger.example"]),
        published=st.sampled_from([None, *DmarcPolicy]), policy=st.sampled_from([None, *DmarcPolicy]),
        spf_aligned=st.booleans(), testing=st.booleans()),
)  # fmt: skip


@given(
    results,
    st.sampled_from([EDGE, UNKNOWN, INSIDE]),
    st.sampled_from(ADDRESSES),
    st.sampled_from(HEADERS),
    st.sampled_from(["alice@own.example", "postmaster@own.example", "bob@second.example"]),
    st.builds(Circumstances, st.sampled_from(Standing), st.booleans(), st.booleans()),
    st.permutations(["learn", "enforce", "strict"]),
)
def test_a_shadow_set_changes_no_outcome(
    authentication: Authentication,
    ingress: EdgeIngress,
    author: str,
    more: str,
    rcpt: str,
    circumstances: Circumstances,
    names: list[str],
) -> None:
    block = f"{more}From: {author}\r\n".encode()
    envelope = Envelope(mailbox(author) if author else None, (Recipient(mailbox(rcpt)),))
    alone = JudgementContext("mx.own.example", "mx.own.example", live_set(names[0]), OUR_SETTINGS)
    beside = replace(alone, shadow=with_shadow_rules(names[1]))

    def decide(bench: JudgementContext) -> Decision:
        evidence = Evidence(block, (), 1000)
        return conclude(Case.of(ingress, envelope, evidence, 0.0, circumstances), authentication, bench)

    live, shadowed = decide(alone), decide(beside)
    assert outcome(shadowed) == live
    assert shadowed.shadow_set is not None
    assert shadowed.shadow_set.rule_set == names[1]
    other = decide(replace(alone, rules=live_set(names[1])))
    if not circumstances.hold_full:
        assert (shadowed.shadow_set.action, shadowed.shadow_set.rule) == (other.action, other.rule)
    for stage in (Stage.CONNECT, Stage.MAIL, Stage.RCPT):
        asked = [ask_early(stage, ingress, CLIENT, envelope, bench) for bench in (alone, beside)]
        actions = {one.action if one else Action.ACCEPT for one in asked}
        assert len(actions) == 1


@pytest.mark.parametrize(
    "when",
    ['author.domains[message.size == 10000 ? 0 : 9] == "x"', "message.size / (message.size == 10000 ? 1 : 0) > 1"],
)
def test_a_shadow_set_that_cannot_be_asked_stops_no_mail(when: str) -> None:
    text = f'set = "mine"\n[[rule]]\nid = "r"\nstage = "data"\nwhen = \'{when}\'\nthen = "accept"\n'
    broken = load("mine", {"mine.toml": text})
    facts = Scene().facts()
    with pytest.raises(RuleFailure):
        judge(broken, facts)
    evidence = Evidence(b"From: someone@stranger.example\r\n", (), 1000)
    envelope = Envelope(mailbox("someone@stranger.example"), (Recipient(mailbox("alice@own.example")),))
    bench = JudgementContext("mx", "mx", live_set("enforce"), OUR_SETTINGS, shadow=broken)
    nothing = Authentication(Scene().spf, Scene().spf, (), Scene().arc, DmarcResult(DmarcVerdict.NONE, "x.example"))
    decision = conclude(Case.of(EDGE, envelope, evidence, 0.0), nothing, bench)
    assert decision.action is Action.ACCEPT
    assert decision.shadow_set is not None
    assert decision.shadow_set.rule.startswith("failed: ")


def test_the_event_says_what_would_be_different() -> None:
    live = judge(with_shadow_rules("enforce"), Scene().facts())
    would = replace(live, shadow_set=Aside("strict", Action.REJECT, "dmarc-reject-always"))
    events = announce("id1", CLIENT, Envelope(None, ()), 100, None, would)
    assert [event.name for event in events[1:]] == ["shadow"] * (len(events) - 1)
    assert dict(events[-1].fields) == {
        "set": "strict", "rule": "dmarc-reject-always", "action": "reject", "live": "accept",
    }  # fmt: skip
    assert dict(events[1].fields) == {"set": "enforce", "rule": "shadow-0", "live": "accept"}
    same = replace(live, shadow=(), shadow_set=Aside("strict", Action.ACCEPT, "default"))
    assert len(announce("id1", CLIENT, Envelope(None, ()), 100, None, same)) == 1
