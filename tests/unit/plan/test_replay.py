"""A stored decision made again: the same under the same rules, and a different one exactly when the rules require
it."""

from __future__ import annotations

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.mail.path import mailbox
from gateway.model.decision import Action, Decision
from gateway.model.delivery import Trace
from gateway.model.envelope import IPText, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress
from gateway.model.reply import Reply
from gateway.model.result import DmarcPolicy
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.plan.judgement import JudgementContext
from gateway.plan.replay import differ, judge_again
from gateway.policy.load import load
from gateway.policy.rules import RuleSet
from gateway.spool.codec import TRACE
from gateway.tools.rehearsal import Delivered, rehearse
from gateway.tools.simulate import make_config
from tests.support.samples import nested_multipart, plain, sign, signing_key
from tests.unit.policy.scenes import shipped

ZONE = {
    "sender.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]},
    "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
    "other.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]},
    "_dmarc.silent.example": "TIMEOUT",
    "silent.example": "TIMEOUT",
}
ALICE = mailbox("alice@corp.example")
assert ALICE is not None
SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")
FORWARDED = b"Received: from x ([192.0.2.9]) by mx.forwarder.example; today\r\n" + plain("ceo@bank.example")
MESSAGES = {
    "pass": ("author@sender.example", SIGNED),
    "spoof": ("x@other.example", plain("ceo@bank.example")),
    "by a forwarder": ("x@other.example", FORWARDED),
    "own": ("x@other.example", plain("ceo@corp.example")),
    "no policy": ("x@other.example", plain("x@other.example")),
    "no author": ("x@other.example", b"Subject: x\r\n\r\nx\r\n"),
    "null sender": ("", plain("ceo@bank.example").replace(b"Subject:", b"Auto-Submitted: auto-replied\r\nSubject:")),
    "DNS silent": ("x@silent.example", plain("x@silent.example")),
}


async def stored(name: str, rules: RuleSet | None = None) -> Trace:
    """The trace as the spool gives it back."""
    law = make_runtime(make_config([ALICE]))
    if rules is not None:
        law = replace(law, context=replace(law.context, rules=rules))
    sender, octets = MESSAGES[name]
    delivered = Delivered(ip_text("203.0.113.7"), "h.other.example", mailbox(sender), (ALICE,), octets, 1795295400.0)
    trace = (await rehearse(delivered, law, ZoneResolver(build_zone(ZONE)))).trace
    return TRACE.unpack(TRACE.pack(trace))


def bench(rules: RuleSet | None = None) -> JudgementContext:
    base = make_runtime(make_config([ALICE])).context
    return base if rules is None else replace(base, rules=rules)


@pytest.mark.parametrize("name", MESSAGES)
async def test_the_same_rules_decide_the_same(name: str) -> None:
    trace = await stored(name)
    now = judge_again(trace, bench())
    assert now is not None
    assert not differ(trace.decision, now)
    assert replace(now, considered=()) == replace(trace.decision, considered=())


@pytest.mark.parametrize("other", ["learn", "strict"])
@pytest.mark.parametrize("name", MESSAGES)
async def test_other_rules_decide_as_they_would_have_done_live(name: str, other: str) -> None:
    trace, live = await stored(name), await stored(name, shipped(other))
    now = judge_again(trace, bench(shipped(other)))
    assert now is not None
    assert not differ(live.decision, now)
    assert now.rule == live.decision.rule


async def test_what_was_forwarded_is_rejected_by_strict_alone() -> None:
    trace = await stored("by a forwarder")
    now = judge_again(trace, bench(shipped("strict")))
    assert now is not None
    assert (trace.decision.action, now.action) == (Action.QUARANTINE, Action.REJECT)
    assert differ(trace.decision, now)


def early(stage: str, when: str) -> RuleSet:
    text = f'set = "early"\n[[rule]]\nid = "early"\nstage = "{stage}"\nwhen = \'{when}\'\nthen = "reject"\n'
    return load("early", {"early.toml": text + 'reply = "unacceptable"\n'})


@pytest.mark.parametrize(
    ("stage", "when"),
    [
        ("connect", 'ingress.address == "203.0.113.7"'),
        ("mail", 'envelope.mail_from_domain == "other.example"'),
        ("rcpt", '"corp.example" in rcpt.domains'),
    ],
)
async def test_rules_before_the_end_of_data_are_asked_too(stage: str, when: str) -> None:
    rules = early(stage, when)
    live = replace(await stored("no policy", rules), authentication=None)
    assert (live.decision.rule, live.evidence) == ("early", None)
    same = judge_again(live, bench(rules))
    assert same is not None
    assert not differ(live.decision, same)
    without = judge_again(live, bench())
    assert without is not None
    assert (without.action, without.rule) == (Action.ACCEPT, "default")
    accepted = await stored("no policy")
    refused = judge_again(accepted, bench(rules))
    assert refused is not None
    assert (refused.action, refused.rule) == (Action.REJECT, "early")


async def test_role_addresses_are_exempt_from_rules_about_recipients() -> None:
    abuse = mailbox("abuse@corp.example")
    assert abuse is not None
    accepted = await stored("no policy")
    to_abuse = replace(accepted, envelope=replace(accepted.envelope, rcpts=(Recipient(abuse),)))
    now = judge_again(to_abuse, bench(early("rcpt", '"corp.example" in rcpt.domains')))
    assert now is not None
    assert now.action is Action.ACCEPT


PROXY, RELAY, CLIENT = ip_text("192.0.2.1"), ip_text("192.0.2.2"), ip_text("203.0.113.7")
LOGIN = InternalIngress(CLIENT, "pc.example", "submission", PROXY, "login", login="alice")
RELAYED = EdgeIngress(CLIENT, ClientSource.RECEIVED, "h.other.example", "mx", RELAY)


@pytest.mark.parametrize(
    ("ingress", "address"),
    [(LOGIN, CLIENT), (RELAYED, RELAY), (replace(RELAYED, source=ClientSource.PROXY, peer=PROXY), CLIENT)],
)
async def test_the_client_is_refused_by_the_address_that_the_transport_proved(
    ingress: Ingress, address: IPText
) -> None:
    edge = ingress if isinstance(ingress, EdgeIngress) else None
    internal = ingress if isinstance(ingress, InternalIngress) else None
    trace = replace(await stored("no policy"), edge=edge, internal=internal)
    for asked in (PROXY, RELAY, CLIENT):
        now = judge_again(trace, bench(early("connect", f'ingress.address == "{asked}"')))
        assert now is not None
        assert (now.rule == "early") == (asked == address)


async def test_what_no_rule_decided_is_passed_over() -> None:
    trace = await stored("pass")
    relay = replace(trace.decision, rule_set="invariant", rule="relay-denied")
    assert judge_again(replace(trace, decision=relay), bench()) is None
    assert judge_again(replace(trace, authentication=None), bench()) is None, "a rule failed"


async def test_a_rule_that_cannot_be_asked_defers() -> None:
    when = 'author.domains[message.size == 10000 ? 0 : 9] == "x"'
    text = f'set = "broken"\n[[rule]]\nid = "r"\nstage = "data"\nwhen = \'{when}\'\nthen = "accept"\n'
    now = judge_again(await stored("pass"), bench(load("broken", {"broken.toml": text})))
    assert now is not None
    assert (now.action, now.rule, now.reply.code) == (Action.DEFER, "r", 451)


async def test_a_full_quota_is_remembered() -> None:
    text = 'set = "holds"\n[[rule]]\nid = "r"\nstage = "data"\nwhen = "ingress.edge"\nthen = "hold"\n'
    rules = load("holds", {"holds.toml": text})
    trace = await stored("pass", rules)
    assert trace.decision.action is Action.HOLD
    full = replace(trace, circumstances=replace(trace.circumstances, hold_full=True))
    now = judge_again(full, bench(rules))
    assert now is not None
    assert (now.action, now.reply.code, now.rule) == (Action.DEFER, 452, "r")


def test_what_makes_two_verdicts_different() -> None:
    one = Decision(Action.REJECT, "a", "enforce", Reply(550, "7.1", "No"), DmarcPolicy.REJECT)
    assert not differ(one, replace(one, rule="b", rule_set="strict", reply=Reply(554, "7.1", "Other words")))
    for other in (
        replace(one, action=Action.QUARANTINE),
        replace(one, disposition=DmarcPolicy.NONE),
        replace(one, reply=Reply(550, "7.23", "No")),
        replace(one, reply=Reply(450, "7.1", "No")),
    ):
        assert differ(one, other)
