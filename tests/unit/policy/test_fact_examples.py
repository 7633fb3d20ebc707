"""Each fact in a rule: an example that the rule decides about and one that it leaves alone. A stored message is judged
again with the same value as live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.model.decision import Stage
from gateway.model.delivery import Trace
from gateway.model.envelope import Envelope
from gateway.model.reply import Reply
from gateway.model.value import Value
from gateway.plan.replay import is_repeated, judge_again
from gateway.policy.facts import FACTS, Fact, FactKind
from gateway.policy.load import load
from gateway.policy.proof import try_examples
from gateway.spool.codec import TRACE
from tests.support.judging_context import House, finish, make_config, name
from tests.support.samples import plain, sign, signing_key
from tests.unit.policy.scenes import mailbox


def other_value(fact: Fact) -> object:
    """A value that an everyday message does not have."""
    if fact.values:
        return next(value for value in fact.values if value != fact.usual)
    return {
        FactKind.INT: lambda: int(str(fact.usual)) + 7,
        FactKind.STRING: lambda: "other.example",
        FactKind.STRINGS: lambda: ["other.example"],
    }[fact.kind]()


def make_condition(fact: Fact) -> str:
    """A condition that an everyday message does not meet."""
    value = other_value(fact)
    if isinstance(value, bool):
        return fact.name if value else f"!{fact.name}"
    if isinstance(value, list):
        return f'"{value[0]}" in {fact.name}'
    return f'{fact.name} == "{value}"' if isinstance(value, str) else f"{fact.name} == {value}"


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_each_fact_has_type_stage_help_and_a_rule_that_its_examples_prove(fact: Fact) -> None:
    assert fact.kind in FactKind
    assert fact.stage in Stage
    assert len(fact.help.split()) >= 3
    then = 'then = "reject"\nreply = "unacceptable"'
    value = other_value(fact)
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    text = (
        'set = "one"\n[[rule]]\nid = "one"\n'
        f'stage = "{fact.stage}"\n'
        f"when = '''{make_condition(fact)}'''\n{then}\n"
        f'[[rule.example]]\nname = "as it may be"\nfacts = {{ "{fact.name}" = {written} }}\n'
        '[[rule.example]]\nname = "an everyday message"\nfacts = {}\ndecides = false\n'
    )
    assert [one.problem for one in try_examples(load("one", {"one.toml": text}))] == ["", ""]


# --- a stored message, judged again

OUR_CLIENT, FORGER, MICROSOFT = "192.0.2.10", "198.51.100.66", "40.92.0.5"
ZONE: dict[str, Any] = {
    "corp.example": {"TXT": [f"v=spf1 ip4:{OUR_CLIENT} -all"], "MX": ["10 mx.gw.example"], "A": [OUR_CLIENT]},
    "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=none"]},
    "sel1._domainkey.corp.example": {"TXT": [signing_key()[1]]},
    "evil.example": {"TXT": [f"v=spf1 ip4:{FORGER} ip4:{MICROSOFT} -all"], "MX": ["10 mx.evil.example"]},
    "_dmarc.evil.example": {"TXT": ["v=DMARC1; p=none"]},
    "_dmarc.other.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.lists.example": {"TXT": [signing_key()[1]]},
    "silent.example": {"TXT": ["v=spf1 -all"], "MX": ["0 ."]},
    "_dmarc.slow.example": {"TXT": ["v=DMARC1; p=quarantine"]},
    "sel1._domainkey.slow.example": "TIMEOUT",
}
LIST = b"List-Id: <news.lists.example>\r\n"
REPORT = (
    b"From: <>\r\nSubject: Undelivered mail\r\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n"
)


class Sent(Value):
    """One message, and the facts that it shows."""

    octets: Callable[[], bytes]
    shows: Mapping[str, object]
    sender: str = "x@evil.example"
    client: str = FORGER
    helo: str = "out.evil.example"
    before: int = 0
    """Messages of the sender's own that passed from there before."""


def ours() -> bytes:
    return plain("ceo@corp.example")


MESSAGES = {
    "an envelope sender that does not exist": Sent(
        lambda: plain("x@evil.example"), {"envelope.domain_state": "missing"}, sender="x@missing.example"
    ),
    "our domain in MAIL FROM, and our name in HELO": Sent(
        lambda: plain("x@evil.example"),
        {"envelope.ours": True, "ingress.helo_kind": "ours"},
        sender="ceo@corp.example",
        helo="mx.gw.example",
    ),
    "a shared network": Sent(
        lambda: plain("x@evil.example"), {"ingress.shared": True, "spf.only": True}, client=MICROSOFT
    ),
    "a bounce without an author": Sent(
        lambda: REPORT + b"\r\nIt failed.\r\n", {"author.nobody": True, "notification": True}, sender=""
    ),
    "our other half": Sent(
        lambda: b"Auto-Submitted: auto-replied\r\n" + ours(),
        {"author.own_half": True, "author.ours": True},
        sender="",
        client=OUR_CLIENT,
    ),
    "a lookalike": Sent(lambda: plain("ceo@c0rp.example"), {"author.lookalike": "corp.example"}),
    "a domain that sends no mail": Sent(
        lambda: plain("x@silent.example"), {"author.domain_state": "null-mx", "author.silent": True}
    ),
    "a domain in enforce_for": Sent(lambda: plain("x@mail.enforced.example"), {"author.enforced": True}),
    "a client that is known": Sent(
        lambda: plain("x@other.example"), {"client.known": ["network"]}, sender="x@other.example", before=6
    ),
    "our name in Sender": Sent(
        lambda: b"Sender: ceo@corp.example\r\n" + plain("x@evil.example"), {"sender.unproven": True}
    ),
    "our post to a list that signs": Sent(
        lambda: sign(LIST + sign(ours(), "corp.example") + b"A footer.\r\n", "lists.example"),
        {
            "dkim.author_header": True,
            "list.signed": True,
            "list.evidence": True,
            "indirect.evidence": ["author-signature", "list"],
        },
    ),
    "a second Subject": Sent(
        lambda: b"Subject: Pay here\r\n" + sign(ours(), "corp.example"), {"dkim.added_fields": ["subject"]}
    ),
    "a key that DNS withholds": Sent(
        lambda: sign(plain("x@slow.example"), "slow.example"), {"dns.could_quarantine": True}
    ),
}
HELP = "https://corp.example/mail"
NEW = {
    *(
        "ingress.helo_kind",
        "ingress.shared",
        "envelope.ours",
        "envelope.domain_state",
        "author.nobody",
        "author.own_half",
    ),
    *("author.lookalike", "author.domain_state", "author.silent", "author.enforced", "client.known", "spf.only"),
    *(
        "sender.unproven",
        "dkim.author_header",
        "dkim.added_fields",
        "dns.could_quarantine",
        "list.signed",
        "policy.help",
    ),
}
"""Facts that say what evidence is worth."""


def make_condition_for(fact: str, value: object) -> str:
    if isinstance(value, bool):
        return fact
    if isinstance(value, list):
        return " && ".join([f"size({fact}) == {len(value)}", *(f'"{word}" in {fact}' for word in value)])
    return f'{fact} == "{value}"'


CONDITIONS = sorted({make_condition_for(*shown) for one in MESSAGES.values() for shown in one.shows.items()})
PROBES = 'set = "probe"\ninclude = ["enforce.toml"]\n' + "".join(
    f'[[rule]]\nid = "probe-{number}"\nstage = "data"\nfirst = true\nshadow = true\nthen = "reject"\n'
    f"reply = \"unacceptable\"\nwhen = '''{condition}'''\n"
    for number, condition in enumerate([*CONDITIONS, f'policy.help == "{HELP}"'])
)
"""Shadow rules are asked about every message, and decide nothing."""


async def receive(sent: Sent, directory: Path) -> tuple[Trace, House]:
    """The message, live; the trace as the spool gives it back."""
    (directory / "probe.toml").write_text(PROBES)
    policy = {"set": "probe", "directory": str(directory), "help": HELP, "enforce_for": ["enforced.example"]}
    house = House(make_runtime(make_config(policy=policy)), zone=ZONE, client=sent.client)
    for number in range(sent.before):
        await house.send(plain("x@evil.example", subject=f"No. {number}"), "x@evil.example")
    conversation = await house.connect()
    assert not isinstance(conversation, Reply)
    conversation.hello(sent.helo, True, None)
    path = mailbox(sent.sender) if sent.sender else None
    assert (await conversation.mail(Envelope(path, ()), None)).code == 250
    assert (await name(conversation, "alice@corp.example")).code == 250
    trace = await house.trace(await finish(conversation, sent.octets()))
    return TRACE.unpack(TRACE.pack(trace)), house


@pytest.mark.parametrize("case", MESSAGES)
async def test_a_stored_message_shows_a_rule_the_same_facts_as_live(case: str, tmp_path: Path) -> None:
    sent = MESSAGES[case]
    trace, house = await receive(sent, tmp_path)
    live = {hit.rule: hit.matched for hit in trace.decision.shadow}
    held = {condition for number, condition in enumerate(CONDITIONS) if live[f"probe-{number}"]}
    assert held >= {make_condition_for(*shown) for shown in sent.shows.items()}
    assert live[f"probe-{len(CONDITIONS)}"], "policy.help"
    again = judge_again(trace, house.runtime.context)
    assert again is not None
    assert again.shadow == trace.decision.shadow
    assert (again.action, again.rule) == (trace.decision.action, trace.decision.rule)
    assert is_repeated(trace, house.runtime.context), "by the checks, too"


def test_each_new_fact_is_shown_by_a_message() -> None:
    shown = {fact for one in MESSAGES.values() for fact in one.shows} | {"policy.help"}
    assert shown >= NEW
