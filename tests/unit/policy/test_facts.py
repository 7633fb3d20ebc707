"""Facts are total, and of the type that was declared."""

from __future__ import annotations

import pytest

from gateway.model.decision import Stage
from gateway.model.envelope import Envelope, Recipient
from gateway.model.ingress import Tls
from gateway.model.result import ArcResult, ArcVerdict, DmarcPolicy, DmarcVerdict, SpfVerdict
from gateway.model.value import replace
from gateway.policy.expression import Language
from gateway.policy.facts import FACTS, FactKind, connect_facts, facts_table, mail_facts, rcpt_facts
from gateway.policy.weighing import FactSettings
from tests.unit.policy.scenes import CLIENT, EDGE, INSIDE, OUR_SETTINGS, UNKNOWN, Scene, mailbox, signature, spf

PYTHON = {FactKind.BOOL: bool, FactKind.INT: int, FactKind.STRING: str, FactKind.STRINGS: list}
SCENES = {
    "plain": Scene(),
    "inside": Scene(ingress=INSIDE),
    "unknown client": Scene(ingress=UNKNOWN),
    "nothing": Scene("", mail_from="", rcpts=()),
    "everything": Scene(
        "Received: from a.example ([192.0.2.3]) by b.example\nList-Id: <x.a.example>\n"
        "From: ceo@own.example, x@bank.example",
        ingress=replace(EDGE, tls=Tls("TLSv1.3", "X")),
        rcpts=("abuse@own.example", "postmaster"),
        spf=spf(SpfVerdict.PASS, sends_no_mail=True),
        dkim=(signature("a.example"), signature("own.example")),
        arc=ArcResult(ArcVerdict.PASS, sealers=("a.example",)),
        dmarc=DmarcVerdict.FAIL,
        policy=DmarcPolicy.REJECT,
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_every_fact_is_there_and_well_typed(name: str) -> None:
    facts = SCENES[name].facts()
    assert set(facts) == {fact.name for fact in FACTS}
    for fact in FACTS:
        assert type(facts[fact.name]) is PYTHON[fact.kind], fact.name
        if fact.values:
            assert facts[fact.name] in fact.values, fact.name
    Language(FACTS).bind(facts, Stage.DATA)


def test_each_stage_has_the_facts_declared_for_it_and_no_other() -> None:
    envelope = Envelope(mailbox("a@b.example"), (Recipient(mailbox("x@own.example")),))
    built = {
        Stage.CONNECT: connect_facts(EDGE, CLIENT, OUR_SETTINGS),
        Stage.MAIL: mail_facts(EDGE, CLIENT, envelope, OUR_SETTINGS),
        Stage.RCPT: rcpt_facts(EDGE, CLIENT, envelope, OUR_SETTINGS),
    }
    for stage, facts in built.items():
        assert set(facts) == {fact.name for fact in FACTS if fact.known_at(stage)}
        Language(FACTS).bind(facts, stage)


def test_what_is_usual_is_well_typed_and_possible() -> None:
    for fact in FACTS:
        assert type(fact.usual) is PYTHON[fact.kind], fact.name
        assert not fact.values or fact.usual in fact.values, fact.name


def test_values_of_a_rich_message() -> None:
    facts = SCENES["everything"].facts()
    expected = {
        "ingress.tls": True,
        "ingress.source": "peer",
        "rcpt.count": 2,
        "rcpt.role": True,
        "author.domains": ["own.example", "bank.example"],
        "author.ours": True,
        "author.protected": True,
        "author.vouched": False,
        "spf.sends_no_mail": True,
        "dkim.pass_domains": ["a.example", "own.example"],
        "dkim.author_signature": "pass",
        "dmarc.grounds": ["own-domain", "protected"],
        "arc.sets": 1,
        "indirect.evidence": ["author-signature", "list", "earlier-hop", "arc"],
        "message.hops": 1,
        "message.size": 1000,
    }
    assert {name: facts[name] for name in expected} == expected


def test_the_null_sender_is_empty_and_told() -> None:
    facts = Scene(mail_from="").facts()
    assert (facts["envelope.null_sender"], facts["envelope.mail_from"], facts["envelope.mail_from_domain"]) == (
        True,
        "",
        "",
    )


def test_a_zone_is_its_widest_domain() -> None:
    nested = FactSettings(own=frozenset({"own.example", "sub.own.example"}))
    scene = Scene("From: x@a.sub.own.example", dkim=(signature("own.example"),), settings=nested)
    assert scene.facts()["author.vouched"] is True


def test_names_that_only_end_alike_are_not_ours() -> None:
    assert Scene("From: x@notown.example").facts()["author.ours"] is False


def test_facts_are_declared_once() -> None:
    names = [fact.name for fact in FACTS]
    assert len(names) == len(set(names))
    assert all(fact.help and not fact.help.endswith(".") for fact in FACTS)


def test_the_table_shows_each_fact() -> None:
    table = facts_table()
    assert len(table.splitlines()) == len(FACTS) + 2
    assert "| `dmarc.result` | string | data | DMARC for the Author Domain |" in table
