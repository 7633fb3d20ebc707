"""Rules before the end of data: their answers, their traces, and a failing rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.model.decision import RuleHit, Stage
from gateway.model.envelope import Envelope
from gateway.model.event import Level
from gateway.model.reply import Reply
from gateway.ports import Conversation
from tests.support.judging_context import House, make_config, name
from tests.support.judging_context import finish as end
from tests.support.samples import plain
from tests.unit.policy.scenes import mailbox

FAILS = '[true][ingress.address == "192.0.2.1" ? 0 : 5]'
"""Reads a missing element."""


def rule(id: str, stage: str, when: str, then: str, reply: str = "") -> str:
    text = f'[[rule]]\nid = "{id}"\nstage = "{stage}"\nwhen = \'{when}\'\nthen = "{then}"\n'
    return text + (f'reply = "{reply}"\n' if reply else "")


def make_house(directory: Path, *rules: str, **sets: str) -> House:
    """A reception with these rules; each of `sets` belongs to a domain of the same name."""
    (directory / "mine.toml").write_text('set = "mine"\n' + "".join(rules))
    for own, text in sets.items():
        (directory / f"{own}.toml").write_text(f'set = "{own}"\n{text}')
    domains = [{"name": "corp.example", "backend": "one"}, {"name": "second.example", "backend": "one"}]
    domains += [{"name": f"{own}.example", "backend": "one", "policy": own} for own in sets]
    policy = {"set": "mine", "directory": str(directory), "networks": {"bad": "198.51.100.0/24"}}
    return House(make_runtime(make_config(domain=domains, policy=policy)))


async def finish(conversation: Conversation) -> Reply:
    return await end(conversation, plain("a@plain.example"))


@pytest.mark.parametrize(
    ("then", "reply", "said"), [("reject", "unacceptable", "554 5.7.1 "), ("defer", "not-now", "421 4.7.0 ")]
)
async def test_a_connection_is_refused_or_put_off(tmp_path: Path, then: str, reply: str, said: str) -> None:
    house = make_house(tmp_path, rule("bad", "connect", '"bad" in ingress.networks', then, reply))
    refused = await house.connect()
    assert isinstance(refused, Reply)
    assert str(refused).startswith(said)
    trace = await house.trace(refused)
    assert (trace.decision.rule, trace.decision.rule_set) == ("bad", "mine")
    assert trace.decision.considered == (RuleHit("bad", Stage.CONNECT, True),)
    assert house.events[-1].name == ("refused" if then == "reject" else "deferred-client")


async def test_a_sender_is_refused_and_the_next_one_taken(tmp_path: Path) -> None:
    house = make_house(
        tmp_path, rule("no", "mail", 'envelope.mail_from_domain == "bad.example"', "reject", "unacceptable")
    )
    conversation = await house.enter()
    refused = await conversation.mail(Envelope(mailbox("x@bad.example"), ()), None)
    assert str(refused).startswith("550 5.7.1 ")
    trace = await house.trace(refused)
    assert str(trace.envelope.mail_from) == "x@bad.example"
    assert trace.decision.considered == (RuleHit("no", Stage.MAIL, True),)
    assert (await conversation.mail(Envelope(mailbox("x@good.example"), ()), None)).code == 250
    assert (await name(conversation, "alice@corp.example")).code == 250
    done = await house.trace(await finish(conversation))
    assert done.decision.considered == (RuleHit("no", Stage.MAIL, False),), "the refused transaction's is not here"


async def test_a_recipient_is_refused_alone(tmp_path: Path) -> None:
    house = make_house(
        tmp_path,
        rule("early", "connect", 'ingress.listener == "other"', "reject", "unacceptable"),
        rule("shut", "rcpt", '"bob@corp.example" in rcpt.addresses', "defer", "not-now"),
        rule("last", "data", "message.size > 100000", "quarantine"),
    )
    conversation = await house.begin()
    assert (await name(conversation, "alice@corp.example")).code == 250
    refused = await name(conversation, "Bob@Corp.example")
    assert str(refused).startswith("451 4.7.0 ")
    assert [str(one.mailbox) for one in (await house.trace(refused)).envelope.rcpts] == ["Bob@Corp.example"]
    assert (await name(conversation, "carol@corp.example")).code == 250
    done = await house.trace(await finish(conversation))
    assert [str(one.mailbox) for one in done.envelope.rcpts] == ["alice@corp.example", "carol@corp.example"]
    assert done.decision.considered == (
        RuleHit("early", Stage.CONNECT, False),
        RuleHit("shut", Stage.RCPT, False),
        RuleHit("last", Stage.DATA, False),
    ), "every rule that was asked, once"


async def test_role_addresses_are_always_let_in(tmp_path: Path) -> None:
    house = make_house(tmp_path, rule("none", "rcpt", "true", "reject", "unacceptable"))
    conversation = await house.begin()
    assert (await name(conversation, "alice@corp.example")).code == 550
    assert (await name(conversation, "abuse@corp.example")).code == 250


async def test_accept_ends_a_stage_and_no_more(tmp_path: Path) -> None:
    house = make_house(
        tmp_path,
        rule("ours", "mail", 'envelope.mail_from_domain == "good.example"', "accept"),
        rule("rest", "mail", "true", "reject", "unacceptable"),
        rule("bob", "rcpt", '"bob@corp.example" in rcpt.addresses', "reject", "unacceptable"),
    )
    conversation = await house.begin("a@good.example")
    assert (await name(conversation, "bob@corp.example")).code == 550
    other = await house.enter()
    assert (await other.mail(Envelope(mailbox("a@else.example"), ()), None)).code == 550


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_rule_that_fails_is_our_fault_and_an_alarm(tmp_path: Path, stage: Stage) -> None:
    house = make_house(
        tmp_path, rule("broken", stage, FAILS, "accept"), rule("next", stage, "true", "reject", "unacceptable")
    )
    reply: Conversation | Reply = await house.connect()
    if stage is not Stage.CONNECT:
        assert not isinstance(reply, Reply)
        conversation = reply
        conversation.hello("client.example", True, None)
        reply = await conversation.mail(Envelope(None, ()), None)
        if stage is not Stage.MAIL:
            assert reply.code == 250
            reply = await name(conversation, "alice@corp.example")
        if stage is Stage.DATA:
            assert reply.code == 250
            reply = await finish(conversation)
    assert isinstance(reply, Reply)
    assert str(reply).startswith("421 4.3.0 " if stage is Stage.CONNECT else "451 4.3.0 ")
    trace = await house.trace(reply)
    assert trace.decision.rule == "broken"
    [event] = [event for event in house.events if event.name == "rule-failed"]
    assert event.level is Level.ALARM
    assert event.id == trace.id
    assert ("rule", "broken") in event.fields
    assert "broken" not in reply.text


LENIENT = rule("small", "data", "message.size < 100000", "accept")
SEVERE = rule("all", "data", "true", "reject", "unacceptable")


async def test_recipients_under_different_rules_share_no_transaction(tmp_path: Path) -> None:
    house = make_house(tmp_path, LENIENT, severe=SEVERE)
    conversation = await house.begin()
    assert (await name(conversation, "alice@corp.example")).code == 250
    assert str(await name(conversation, "bob@severe.example")).startswith("452 4.5.3 ")
    assert (await name(conversation, "carol@second.example")).code == 250
    done = await house.trace(await finish(conversation))
    assert (done.decision.action, done.decision.rule_set) == ("accept", "mine")
    assert [str(one.mailbox) for one in done.envelope.rcpts] == ["alice@corp.example", "carol@second.example"]
    other = await house.begin()
    assert (await name(other, "bob@severe.example")).code == 250
    assert str(await name(other, "alice@corp.example")).startswith("452 4.5.3 ")
    refused = await finish(other)
    assert refused.code == 550
    assert (await house.trace(refused)).decision.rule_set == "severe"


async def test_a_failing_rule_of_a_domains_own_set_is_told_as_that_sets(tmp_path: Path) -> None:
    house = make_house(tmp_path, LENIENT, severe=rule("broken", "data", FAILS, "accept"))
    conversation = await house.begin()
    assert (await name(conversation, "bob@severe.example")).code == 250
    trace = await house.trace(await finish(conversation))
    assert (trace.decision.rule_set, trace.decision.rule, trace.decision.reply.code) == ("severe", "broken", 451)


async def test_the_rules_at_rcpt_are_those_of_the_recipient(tmp_path: Path) -> None:
    closed = rule("closed", "rcpt", "true", "reject", "unacceptable")
    house = make_house(tmp_path, LENIENT, closed=closed)
    conversation = await house.begin()
    assert (await name(conversation, "bob@closed.example")).code == 550
    assert (await name(conversation, "alice@corp.example")).code == 250
