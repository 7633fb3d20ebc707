"""What a message is found by: every message that matches a query has the terms that the query asks for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.decision import Action, Decision
from gateway.model.delivery import Act, Ending, Final, Story
from gateway.model.envelope import Envelope, IPText, Recipient
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Evidence
from gateway.model.reply import Reply
from gateway.model.search import DeliveryState, FoundMessage, FoundRecipient, MessageQuery
from gateway.model.value import replace
from gateway.plan.search import ask_terms, find_late_terms, find_terms, matches, summarize
from gateway.spool.index import spell
from tests.support.spooling import NO, OK, mailbox, make_intake, make_message, make_refusal, make_transfer

HEADER = (
    b'Received: from x\r\n\tby y\r\nFROM: "Author, Ann" <Ann@Sender.Example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an'
    b"\r\n alle\r\nMessage-Id: <Ab.1@mail.sender.example>\r\nSubject: another\r\n"
)


def story(**changes: object) -> Story:
    """A message that waits for one backend."""
    intake = make_intake(message=replace(make_message(), evidence=Evidence(HEADER, (), 10)))
    made = Story(intake.trace, (), intake.transfers, (), True, False)
    return replace(made, **changes)


def decided(action: Action, reply: Reply = NO) -> Story:
    trace = make_refusal().trace
    return Story(replace(trace, decision=Decision(action, "rule", "enforce", reply)), (), (), (), False, False)


def test_a_summary_reads_the_first_fields_and_the_results() -> None:
    found = summarize(story())
    assert (found.author, found.subject, found.message_id) == (
        "Ann@Sender.Example",
        "Grüße an alle",
        "Ab.1@mail.sender.example",
    )
    assert (found.client, found.mail_from, found.spf, found.dkim, found.dmarc) == (
        "192.0.2.1", "author@sender.example", "pass", "fail", "pass",
    )  # fmt: skip
    assert found.rcpts == (FoundRecipient("alice@corp.example", "google", DeliveryState.WAITING, ""),)


@pytest.mark.parametrize(
    ("header", "author"),
    [
        (b"From: ann@sender.example\r\n", "ann@sender.example"),
        (b"From: Ann <ann@sender.example>\r\n", "ann@sender.example"),
        (b"From : Ann <ann@sender.example>\r\n", "ann@sender.example"),
        (b"From: a@x.example, b@y.example\r\n", "a@x.example, b@y.example"),
        (b'From: "a@x.example" <b@y.example>\r\n', "b@y.example"),
        (b"From: nobody at all\r\n", "nobody at all"),
        (b"X-From: a@x.example\r\nSubject: from: b@y.example\r\n", ""),
        (b"", ""),
    ],
)
def test_the_author_is_what_from_names(header: bytes, author: str) -> None:
    made = story()
    trace = replace(made.trace, evidence=Evidence(header, (), 10))
    assert summarize(replace(made, trace=trace)).author == author


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (decided(Action.REJECT), DeliveryState.REFUSED),
        (decided(Action.DEFER), DeliveryState.DEFERRED),
        (decided(Action.GREYLIST), DeliveryState.GREYLISTED),
        (replace(decided(Action.HOLD), held=True), DeliveryState.HELD),
        (story(), DeliveryState.WAITING),
    ],
)
def test_states_without_an_ending(given: Story, state: DeliveryState) -> None:
    assert [one.state for one in summarize(given).rcpts] == [state]


@pytest.mark.parametrize("final", list(Final))
def test_every_final_state_has_its_word(final: Final) -> None:
    rcpt = story().trace.envelope.rcpts[0]
    (found,) = summarize(story(waiting=(), endings=(Ending(rcpt, final, NO),))).rcpts
    expected = "deferred" if final is Final.RETURNED else final.value
    assert (found.state.value, found.reply) == (expected, str(NO))


def test_a_marked_message_is_quarantined_once_delivered_and_a_held_transfer_is_held() -> None:
    made = story()
    marked = replace(made.trace, decision=replace(made.trace.decision, action=Action.QUARANTINE))
    rcpt = made.trace.envelope.rcpts[0]
    ended = story(trace=marked, waiting=(), endings=(Ending(rcpt, Final.DELIVERED, OK),))
    assert [one.state for one in summarize(ended).rcpts] == [DeliveryState.QUARANTINED]
    held = story(held_transfers=(made.waiting[0].id,), waiting=made.waiting)
    assert [one.state for one in summarize(held).rcpts] == [DeliveryState.HELD]


def test_a_forwarded_copy_counts_to_the_recipient_that_the_client_named() -> None:
    made = story()
    named = Recipient(mailbox("alias"))
    copy = Recipient(mailbox("else", "other.example"), orcpt="rfc822;alias@corp.example")
    trace = replace(made.trace, envelope=replace(made.trace.envelope, rcpts=(named,)))
    transfer = make_transfer(trace.id, (copy,), "direct", 0.0)
    (found,) = summarize(story(trace=trace, waiting=(transfer,))).rcpts
    assert (found.address, found.backend) == ("alias@corp.example", "direct")


def test_what_was_deleted_by_an_act_is_deleted() -> None:
    rcpt = story().trace.envelope.rcpts[0]
    ending = Ending(rcpt, Final.DELETED, NO)
    ended = story(waiting=(), endings=(ending,), acts=(Act(1.0, "deleted", "ann", (ending,)),))
    assert [one.state for one in summarize(ended).rcpts] == [DeliveryState.DELETED]


def test_hostile_fields_are_bounded_and_hold_no_separator() -> None:
    header = b"From: " + b"a" * 70_000 + b"@x\r\nSubject: " + b'"x\x00\x1b[2J%" ' * 9000 + b"\r\nMessage-ID: <\xff>\r\n"
    found = summarize(story(trace=replace(story().trace, evidence=Evidence(header, (), 1))))
    terms = find_terms(found, True)
    assert len(terms) < 60
    assert all(len(term) <= 400 and not re.search(r"[\x00-\x20\"]", term) for term in terms)


LOCALS = st.sampled_from(["ann", "ann.smith", "Bob", "x", '"a b"', "gr\u00fc\u00df", "o'neil", "a%b"])
DOMAINS = st.sampled_from(["corp.example", "mail.corp.example", "Sender.Example", "b\u00fccher.example", "localhost"])
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS)
CLIENTS = st.sampled_from(["192.0.2.1", "192.0.3.200", "2001:db8::1", "2001:db8:ffff::2", ""])
FOUND = st.builds(
    FoundMessage,
    id=st.sampled_from(["0abcdefgh0abcde", "0abcdefgh1abcdf"]),
    received=st.just(10.0),
    client=CLIENTS,
    mail_from=st.one_of(st.just(""), ADDRESSES),
    author=st.one_of(st.just(""), ADDRESSES, st.builds("{}, {}".format, ADDRESSES, ADDRESSES)),
    rcpts=st.lists(
        st.builds(
            FoundRecipient, ADDRESSES, st.sampled_from(["google", ""]), st.sampled_from(DeliveryState), st.just("")
        ),
        max_size=3,
    ).map(tuple),
    subject=st.sampled_from(["", "Figures of May", "gr\u00fc\u00dfe, an alle", '"quoted" 100%']),
    message_id=st.sampled_from(["", "Ab.1@mail.sender.example", "weird id"]),
    size=st.just(1),
    action=st.just("accept"),
    rule=st.sampled_from(["default", "dmarc-reject"]),
    reply=st.just(""),
    spf=st.sampled_from(["", "pass", "fail"]),
    dkim=st.just(""),
    dmarc=st.sampled_from(["", "pass", "fail"]),
)
ASKED_ADDRESSES = st.one_of(st.just(""), ADDRESSES, DOMAINS, st.builds("@{}".format, DOMAINS), st.just("<>"))
WORDS = st.one_of(
    ADDRESSES,
    DOMAINS,
    LOCALS,
    CLIENTS.filter(bool),
    st.sampled_from(["<Ab.1@mail.sender.example>", "figures", "an", "an.", "100%"]),
    st.sampled_from(["0abcdefgh0abcde", "192.0.2.0/23", "2001:db8::/32", "example"]),
)
QUERIES = st.builds(
    MessageQuery,
    words=st.lists(WORDS, max_size=2).map(tuple),
    sender=ASKED_ADDRESSES,
    rcpt=ASKED_ADDRESSES,
    domain=st.one_of(st.just(""), DOMAINS),
    message_id=st.sampled_from(["", "<ab.1@MAIL.sender.example>", "weird id"]),
    subject=st.sampled_from(["", "fig", "figures may", "Gr\u00fc\u00dfe", "of"]),
    network=st.one_of(
        st.just(""), CLIENTS, st.sampled_from(["192.0.2.0/23", "192.0.2.0/25", "2001:db8::/33", "0.0.0.0/0"])
    ),
    state=st.one_of(st.none(), st.sampled_from(DeliveryState)),
    dmarc=st.sampled_from(["", "fail"]),
    spf=st.sampled_from(["", "pass"]),
    rule=st.sampled_from(["", "default"]),
    backend=st.sampled_from(["", "google"]),
)


def has(terms: frozenset[str], asked: tuple[tuple[str, ...], ...]) -> bool:
    return all(
        any(any(term.startswith(one[:-1]) for term in terms) if one.endswith(" ") else one in terms for one in group)
        for group in asked
    )


@given(FOUND, QUERIES, st.booleans())
def test_a_message_that_matches_has_the_terms_that_are_asked_for(
    found: FoundMessage, query: MessageQuery, subjects: bool
) -> None:
    if matches(query, found, subjects):
        assert has(find_terms(found, subjects), ask_terms(query, subjects)), query


@given(FOUND)
def test_each_of_its_own_values_finds_a_message(found: FoundMessage) -> None:
    queries = [
        MessageQuery(words=(found.id,)),
        MessageQuery(sender=found.mail_from or "<>"),
        MessageQuery(rule=found.rule),
    ]
    queries += [MessageQuery(rcpt=one.address) for one in found.rcpts]
    queries += [MessageQuery(words=(one.address,)) for one in found.rcpts]
    queries += [MessageQuery(state=one.state) for one in found.rcpts]
    queries += [MessageQuery(network=found.client), MessageQuery(words=(found.client,))] if found.client else []
    for query in queries:
        assert matches(query, found, False), query
        assert has(find_terms(found, False), ask_terms(query, False)), query
    assert find_late_terms(found) <= find_terms(found, False)


def test_terms_are_spelled_as_one_word_each() -> None:
    query = MessageQuery(sender="o'ne\"il@corp.example", rcpt="@corp.example", network="192.0.2.0/24")
    text = spell(ask_terms(query, False))
    assert text == '("s:o%27ne%22il@corp.example") AND ("rd:corp.example") AND ("i4c00002"*)'


def test_a_client_address_is_compared_as_an_address() -> None:
    made = story()
    edge = EdgeIngress(IPText("2001:db8::1"), ClientSource.PEER, "h", "mx", IPText("2001:db8::1"))
    found = summarize(replace(made, trace=replace(made.trace, edge=edge)))
    assert matches(MessageQuery(network="2001:DB8:0::1"), found, False)
    assert not matches(MessageQuery(network="192.0.2.0/24"), found, False)


def test_the_null_sender_is_found_by_its_sign() -> None:
    made = story()
    envelope = Envelope(None, made.trace.envelope.rcpts)
    found = summarize(replace(made, trace=replace(made.trace, envelope=envelope)))
    assert found.mail_from == ""
    assert matches(MessageQuery(sender="<>"), found, False)
