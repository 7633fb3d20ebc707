"""docs/refused.md has a section for each kind of sender and a row for each other refusal, and quotes them as the code
writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.model.reply import REPLIES
from gateway.policy.advice import Kind, advise, find_kind

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "refused.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
DOMAIN = {"author.domain": "example.com"}
FACTS: dict[Kind, dict[str, object]] = {
    Kind.LIST: {"list.evidence": True},
    Kind.FORWARDER: {"indirect.evidence": ["earlier-hop"]},
    Kind.NOTIFICATION: {"notification": True},
    Kind.OWN_HALF: {"author.own_half": True},
    Kind.SERVICE: {"dkim.pass_domains": ["mailer.example"]},
    Kind.OTHER_DOMAIN: {"spf.result": "pass"},
    Kind.DEVICE: {"author.ours": True},
    Kind.STRANGER: {},
}
HEADINGS = {kind: str(kind).capitalize() for kind in Kind} | {Kind.OTHER_DOMAIN: "Service"}
ELSEWHERE = {
    *("dmarc-policy", "own-domain"),  # with a section for each kind
    *("not-a-sender", "login-owns-nothing", "sender-not-owned", "author-not-owned", "tenant-not-proven"),  # own people
    "deleted-by-admin",  # in no bounce
}
FILLED = {
    "domain": "example.com",
    "spf_domain": "example.com",
    "client": "192.0.2.1",
    "lists": "list.example",
    "limit": "1000000",
    "host": "mx.example.com",
}


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_its_section_with_the_sentence_of_the_code(kind: Kind) -> None:
    facts = DOMAIN | FACTS[kind]
    assert find_kind(facts) is kind
    section = SECTIONS[HEADINGS[kind]]
    said = re.findall(r"^> (.*)$", section, re.MULTILINE)
    assert len(said) == 1
    possible = [str(REPLIES[name].filled(**FILLED, advice=advise(facts))) for name in ("dmarc-policy", "own-domain")]
    assert said[0] in possible
    anchor = HEADINGS[kind].lower().replace(" ", "-")
    assert re.search(rf"^\| {re.escape(advise(facts))} \| \[.*\]\(#{anchor}\) \|$", TEXT, re.MULTILINE)
    assert section.count("\n- **") >= 2, "its meaning, and a remedy"


def test_there_is_no_section_of_a_kind_that_is_gone() -> None:
    assert SECTIONS.keys() == {*HEADINGS.values(), "Other refusals"}


def test_the_two_first_sentences_are_those_of_the_replies() -> None:
    top = re.findall(r"^> (.*)$", TEXT.partition("\n## ")[0], re.MULTILINE)
    wanted = [REPLIES[name].filled(**FILLED, advice="").text.strip() for name in ("dmarc-policy", "own-domain")]
    assert top == wanted


def test_every_other_refusal_has_a_row() -> None:
    rows = re.findall(r"^\| `(5.*?)` \| (.+) \| (.+) \|$", SECTIONS["Other refusals"], re.MULTILINE)
    wanted = {str(one.filled(**FILLED)) for name, one in REPLIES.items() if one.permanent and name not in ELSEWHERE}
    assert {row[0] for row in rows} == wanted
    assert len(rows) == len(wanted)
