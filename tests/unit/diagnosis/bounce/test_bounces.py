"""Bounces of every form: the innermost cause, the refusing and the refused party."""

from __future__ import annotations

import pytest

from gateway.diagnosis.bounce import Bounce, read_handed
from gateway.mail.refusal import Cause, Refusal
from tests.support.bounces import SAMPLES, Sample, plain, postfix, report
from tests.support.corpora import corpus


def read(text: str) -> Bounce:
    bounce = read_handed(text.replace("\n", "\r\n").encode())
    assert isinstance(bounce, Bounce)
    return bounce


def refusal_of(text: str) -> Refusal:
    [bounced] = read(text).recipients
    assert bounced.recipient == "bob@corp.example"
    assert bounced.refusal is not None
    return bounced.refusal


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_sample(sample: Sample) -> None:
    refusal = refusal_of(sample.text)
    assert (refusal.cause, refusal.provider, refusal.relay) == (sample.cause, sample.provider, sample.relay)


def test_there_are_enough() -> None:
    assert len(SAMPLES) >= 40
    assert len({sample.cause for sample in SAMPLES}) >= 20


@pytest.mark.parametrize("name", ["incident-1", "incident-1-prose-only"])
def test_incident_1_never_leads_to_spf_advice(name: str) -> None:
    [sample] = [sample for sample in SAMPLES if sample.name == name]
    refusal = refusal_of(sample.text)
    for text in (refusal.advice.summary, refusal.advice.admin, refusal.advice.sender):
        assert "SPF" not in text
        assert "include:" not in text
    assert refusal.advice.never.startswith("Do not change your SPF record")


def test_a_relay_that_quotes_nothing_is_seen_by_the_returned_header() -> None:
    direct = postfix(
        "550 5.7.26 This mail has been blocked because the sender is unauthenticated x - gsmtp",
        "5.7.26",
        "aspmx.l.google.com",
    )
    assert not refusal_of(direct).relayed
    handed = (
        "Received: from mx.author.example (mx.author.example [198.51.100.7])\n\tby relay.corp.example with ESMTPS; x\n"
    )
    relayed = report("relay.corp.example", "5.7.26", "550 5.7.26 unauthenticated x - gsmtp", "aspmx.l.google.com")
    start = relayed.index("Received: from desk")
    refusal = refusal_of(relayed[:start] + handed + relayed[start:])
    assert refusal.relayed
    assert refusal.cause is Cause.UNAUTHENTICATED
    assert refusal.advice.never.startswith("Do not change your SPF record")


def test_several_recipients_in_prose() -> None:
    text = plain(
        "MAILER-DAEMON@out.author.example",
        "failure notice",
        "I'm afraid I wasn't able to deliver your message to the following addresses.\n\n<a@corp.example>:\nSorry, no "
        "mailbox here by that name. (#5.1.1)\n\n<b@corp.example>:\n192.0.2.9 does not like recipient.\nRemote host "
        "said: "
        "452 4.2.2 over quota\n\n--- Below this line is a copy of the message.\n\n<c@corp.example>: 550 no\n",
    )
    found = [(one.recipient, one.refusal.cause if one.refusal else None) for one in read(text).recipients]
    assert found == [("a@corp.example", Cause.UNKNOWN_RECIPIENT), ("b@corp.example", Cause.MAILBOX_FULL)]


def test_what_was_delivered_is_no_refusal() -> None:
    [bounced] = read(report("out.author.example", "2.0.0", "250 ok", action="delivered")).recipients
    assert (bounced.action, bounced.refusal) == ("delivered", None)


@pytest.mark.parametrize("text", ["", "From: ann@author.example\nSubject: lunch\n\nShall we?\n"])
def test_other_mail_is_no_bounce(text: str) -> None:
    assert read_handed(text.replace("\n", "\r\n").encode()) is None


def test_html_alone_is_read() -> None:
    text = (
        "Content-Type: text/html\nFrom: postmaster@x.example\n\n<p>could not be delivered</p><p>bob@corp.example</p>"
        "550 5.1.1 &lt;no&gt; such user"
    )
    assert refusal_of(text).cause is Cause.UNKNOWN_RECIPIENT


CORPUS = {
    "koukan/dsn.eml": (Cause.SPAM,),
    "koukan/dsn-text-rfc822-headers.eml": (Cause.SPAM,),
    "ruby-mail/multi_address_bounce1.eml": (Cause.UNKNOWN_RECIPIENT,) * 5,
    "ruby-mail/multi_address_bounce2.eml": (Cause.UNKNOWN_RECIPIENT,) * 5,
    "ruby-mail/multipart_report_multiple_status.eml": (Cause.RECIPIENT_RESTRICTED,),
    "ruby-mail/report_422.eml": (Cause.MAILBOX_FULL,),
    "ruby-mail/report_530.eml": (Cause.UNKNOWN_RECIPIENT,),
}


@pytest.mark.parametrize(("name", "causes"), CORPUS.items())
def test_corpus(name: str, causes: tuple[Cause, ...]) -> None:
    octets = (corpus("dsn") / name).read_bytes()
    bounce = read(octets.decode("latin-1").replace("\r\n", "\n"))
    assert tuple(one.refusal.cause for one in bounce.recipients if one.refusal) == causes


def test_the_corpus_is_covered() -> None:
    assert {f"{path.parent.name}/{path.name}" for path in corpus("dsn").rglob("*.eml")} == set(CORPUS)
