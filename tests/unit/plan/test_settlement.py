"""From outcomes to writes: final states, retries and notices."""

from __future__ import annotations

import hashlib

import pytest

from gateway.model.delivery import Claim, Final, Outcome, OutcomeKind, Scope, Settlement
from gateway.model.envelope import Notify, Recipient, Ret
from gateway.model.event import Level
from gateway.model.ingress import Tls
from gateway.model.message import Span
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.plan.settlement import AttemptContext, Terms, find_refusal, settle, settle_plainly
from tests.support.sending import NOW, changed, mailbox, make_claim, make_message

HOUR, DAY = 3600.0, 86400.0
TERMS = Terms("gw.example", (60.0, 600.0, 6 * HOUR), 5 * DAY, 4 * HOUR)
OK = Reply(250, "0.0", "Queued")
LATER = Reply(451, "7.1", "greylisted")
NO = Reply(550, "1.1", "No such mailbox")
SILENCE = Reply(451, "4.1", "mx.corp.example: Connection refused")


def at(seconds: float = 1.0, in_session: bool = False) -> AttemptContext:
    """Circumstances of an attempt that ends so long after reception."""
    return AttemptContext(NOW + seconds - 1, NOW + seconds, 0.5, in_session, "d1", lambda _: "direct")


def outcome(claim: Claim, place: int, kind: OutcomeKind, reply: Reply, scope: Scope = Scope.RECIPIENT) -> Outcome:
    remote = "" if reply is SILENCE else "mx.corp.example"
    return Outcome(
        claim.transfer.rcpts[place], kind, reply, scope, remote, "192.0.2.1", Tls("TLSv1.3", "X"), "verified"
    )


def claim_of(*rcpts: str | Recipient, **changes: object) -> Claim:
    return changed(make_claim(rcpts=rcpts or ("bob@corp.example",)), **changes)


def settle_one(
    claim: Claim, kind: OutcomeKind, reply: Reply, when: AttemptContext, scope: Scope = Scope.RECIPIENT
) -> Settlement:
    return settle(claim, (outcome(claim, 0, kind, reply, scope),), TERMS, when)


def names(settlement: Settlement) -> list[str]:
    return [event.name for event in settlement.events]


def test_delivered() -> None:
    claim = claim_of()
    done = settle_one(claim, OutcomeKind.DELIVERED, OK, at())
    assert [(ending.rcpt, ending.state, ending.reply) for ending in done.endings] == [
        (claim.transfer.rcpts[0], Final.DELIVERED, OK)
    ]
    assert (done.remaining, done.due, done.dsn) == ((), None, None)
    assert (done.transfer_id, done.message_id, done.epoch) == ("m1-corp", "m1", 1)
    assert (done.attempt.started, done.attempt.ended, done.attempt.backend) == (NOW, NOW + 1, "corp")
    (event,) = done.events
    fields = dict(event.fields)
    assert (event.name, event.id, event.level) == ("delivered", "m1", Level.INFO)
    assert (fields["remote"], fields["tls"], fields["certificate"]) == ("mx.corp.example", "TLSv1.3 X", "verified")
    assert (fields["rcpt"], fields["reply"], fields["backend"]) == ("bob@corp.example", "250 2.0.0 Queued", "corp")


def test_deferred_waits_for_the_schedule() -> None:
    done = settle_one(claim_of(), OutcomeKind.DEFERRED, LATER, at())
    assert (done.endings, done.due, done.dsn, done.delay_warned) == ((), NOW + 1 + 60, None, False)
    assert done.remaining == claim_of().transfer.rcpts
    done = settle_one(claim_of(attempts=1), OutcomeKind.DEFERRED, LATER, at(100))
    assert done.due == NOW + 100 + 600


def test_failed_is_told_by_a_dsn() -> None:
    done = settle_one(claim_of(), OutcomeKind.FAILED, NO, at())
    assert [ending.state for ending in done.endings] == [Final.FAILED]
    assert names(done) == ["failed", "dsn"]
    dsn = done.dsn
    assert dsn is not None
    assert dsn.message is not None
    (transfer,) = dsn.transfers
    assert (dsn.trace.id, dsn.claimed, dsn.hold, dsn.durable) == ("d1", False, None, True)
    assert dsn.trace.internal is not None
    assert (dsn.trace.internal.trusted_by, dsn.trace.edge, dsn.trace.decision.rule) == ("dsn", None, "dsn")
    assert (transfer.mail_from, transfer.backend, transfer.due) == (None, "direct", NOW + 1)
    assert [str(rcpt.mailbox) for rcpt in transfer.rcpts] == ["alice@sender.example"]
    assert not transfer.return_path_verified
    octets = dsn.message.content.data
    assert octets is not None
    assert hashlib.sha256(octets).digest() == dsn.message.content.sha256
    assert (len(octets), octets.isascii()) == (dsn.message.content.size, True)
    assert octets.startswith(dsn.message.evidence.header + b"\r\n")
    assert b"550 5.1.1 No such mailbox" in octets
    assert b"Subject: x\r\n" in octets


def test_what_was_left_out_of_the_message_is_left_out_of_the_dsn() -> None:
    octets = b"Subject: x\r\nX-Corp-Relay: a-secret\r\nTo: y\r\n\r\nbody\r\n"
    claim = replace(claim_of(), message=make_message(octets, (Span(12, 36),)))
    done = settle_one(claim, OutcomeKind.FAILED, NO, at())
    assert done.dsn is not None
    assert done.dsn.message is not None
    told = done.dsn.message.content.data or b""
    assert b"secret" not in told
    assert b"Subject: x\r\nTo: y\r\n" in told


@pytest.mark.parametrize(
    ("ret", "kind", "whole"),
    [
        (Ret.FULL, OutcomeKind.FAILED, True),
        (Ret.HDRS, OutcomeKind.FAILED, False),
        (None, OutcomeKind.FAILED, False),
        (Ret.FULL, OutcomeKind.DELIVERED, False),
    ],
)
def test_the_whole_message_goes_back_only_where_it_is_wanted_and_failed(
    ret: Ret | None, kind: OutcomeKind, whole: bool
) -> None:
    octets = b"Subject: x\r\nX-Corp-Relay: a-secret\r\nTo: y\r\n\r\nthe body\r\n"
    claim = replace(claim_of(), message=make_message(octets, (Span(12, 36),)))
    rcpt = replace(claim.transfer.rcpts[0], notify=(Notify.FAILURE, Notify.SUCCESS))
    claim = replace(claim, transfer=replace(claim.transfer, ret=ret, rcpts=(rcpt,)))
    done = settle_one(claim, kind, NO if kind is OutcomeKind.FAILED else OK, at())
    assert done.dsn is not None
    assert done.dsn.message is not None
    told = done.dsn.message.content.data or b""
    assert b"secret" not in told
    assert (b"\r\nthe body\r\n" in told) is whole


def test_a_failure_says_whose_mail_it_was() -> None:
    (event,) = (
        one for one in settle_one(claim_of(sender="alice"), OutcomeKind.FAILED, NO, at()).events if one.name == "failed"
    )
    fields = dict(event.fields)
    assert (fields["sender"], fields["domain"]) == ("alice", "sender.example")


def test_mixture_settles_each_recipient_on_its_own() -> None:
    claim = claim_of("a@corp.example", "b@corp.example", "c@corp.example")
    outcomes = (
        outcome(claim, 0, OutcomeKind.DELIVERED, OK),
        outcome(claim, 1, OutcomeKind.FAILED, NO),
        outcome(claim, 2, OutcomeKind.DEFERRED, LATER),
    )
    done = settle(claim, outcomes, TERMS, at())
    assert [(ending.rcpt.mailbox.local, ending.state) for ending in done.endings] == [
        ("a", Final.DELIVERED),
        ("b", Final.FAILED),
    ]
    assert [rcpt.mailbox.local for rcpt in done.remaining] == ["c"]
    assert names(done) == ["delivered", "failed", "deferred", "dsn"]
    assert done.dsn is not None
    assert done.dsn.message is not None
    octets = done.dsn.message.content.data or b""
    assert octets.count(b"Final-Recipient") == 1
    assert b"rfc822; b@corp.example" in octets


# in session


def test_refusal_that_the_client_is_told_makes_no_dsn() -> None:
    for claim in (claim_of(), claim_of(return_path_verified=False), claim_of(mail_from=None)):
        done = settle_one(claim, OutcomeKind.FAILED, NO, at(in_session=True))
        assert ([ending.state for ending in done.endings], done.dsn) == ([Final.FAILED], None)
        assert names(done) == ["failed"]
        assert dict(done.events[0].fields)["in_session"] is True


def test_partial_refusal_in_session_is_told_by_a_dsn() -> None:
    claim = claim_of("a@corp.example", "b@corp.example")
    outcomes = (outcome(claim, 0, OutcomeKind.DELIVERED, OK), outcome(claim, 1, OutcomeKind.FAILED, NO))
    assert find_refusal(outcomes) is None
    done = settle(claim, outcomes, TERMS, at(in_session=True))
    assert done.dsn is not None
    assert dict(done.events[1].fields)["in_session"] is False


def test_find_refusal() -> None:
    claim = claim_of("a@corp.example", "b@corp.example")
    refused = outcome(claim, 0, OutcomeKind.FAILED, NO)
    assert find_refusal((refused, refused)) == NO
    assert find_refusal((refused, replace(refused, kind=OutcomeKind.DEFERRED))) is None
    assert find_refusal(()) is None


# recipients of DSNs


@pytest.mark.parametrize(
    ("changes", "notify", "reason"),
    [
        ({"return_path_verified": False}, (), "return path not verified"),
        ({"mail_from": None}, (), "null return path"),
        ({}, (Notify.NEVER,), "sender asked for none"),
        ({}, (Notify.SUCCESS, Notify.DELAY), "sender asked for none"),
    ],
)
def test_withheld(changes: dict[str, object], notify: tuple[Notify, ...], reason: str) -> None:
    claim = claim_of(Recipient(mailbox("bob@corp.example"), notify), **changes)
    done = settle_one(claim, OutcomeKind.FAILED, NO, at())
    assert ([ending.state for ending in done.endings], done.dsn) == ([Final.WITHHELD], None)
    assert names(done) == ["failed", "dsn-withheld"]
    assert dict(done.events[1].fields)["reason"] == reason


def test_notify_failure_is_told() -> None:
    claim = claim_of(Recipient(mailbox("bob@corp.example"), (Notify.FAILURE,)))
    assert settle_one(claim, OutcomeKind.FAILED, NO, at()).dsn is not None


def test_a_dsn_that_fails_makes_no_dsn() -> None:
    first = settle_one(claim_of(), OutcomeKind.FAILED, NO, at()).dsn
    assert first is not None
    assert first.message is not None
    again = Claim(first.transfers[0], first.message, 1)
    done = settle_one(again, OutcomeKind.FAILED, NO, at())
    assert (done.dsn, [ending.state for ending in done.endings]) == (None, [Final.WITHHELD])


# time


def test_expiry_fails_with_a_dsn() -> None:
    done = settle_one(claim_of(attempts=30), OutcomeKind.DEFERRED, LATER, at(5 * DAY))
    assert [(ending.state, ending.reply) for ending in done.endings] == [(Final.EXPIRED, LATER)]
    assert (done.remaining, done.due) == ((), None)
    assert dict(done.events[0].fields)["expired"] is True
    assert done.dsn is not None
    assert done.dsn.message is not None
    octets = done.dsn.message.content.data or b""
    assert b"Status: 4.4.7\r\n" in octets
    assert b"Action: failed\r\n" in octets


def test_before_the_end_there_is_one_more_attempt() -> None:
    assert settle_one(claim_of(attempts=30), OutcomeKind.DEFERRED, LATER, at(5 * DAY - 60)).due == NOW + 5 * DAY


def test_delay_is_told_once() -> None:
    early = settle_one(claim_of(attempts=5), OutcomeKind.DEFERRED, SILENCE, at(3 * HOUR))
    assert (early.dsn, early.delay_warned, early.due) == (None, False, NOW + 4 * HOUR)
    late = settle_one(claim_of(attempts=6), OutcomeKind.DEFERRED, SILENCE, at(4 * HOUR))
    assert late.delay_warned
    assert late.remaining
    assert late.dsn is not None
    assert late.dsn.message is not None
    octets = late.dsn.message.content.data or b""
    assert b"Action: delayed\r\n" in octets
    assert b"Will-Retry-Until: " in octets
    assert b"Diagnostic-Code: x-waypost; 451 4.4.1 mx.corp.example: Connection refused\r\n" in octets
    again = settle_one(claim_of(attempts=7, delay_warned=True), OutcomeKind.DEFERRED, SILENCE, at(9 * HOUR))
    assert (again.dsn, again.delay_warned) == (None, True)


@pytest.mark.parametrize(
    ("changes", "notify"),
    [({"return_path_verified": False}, ()), ({"mail_from": None}, ()), ({}, (Notify.NEVER,)), ({}, (Notify.FAILURE,))],
)
def test_delay_is_not_told(changes: dict[str, object], notify: tuple[Notify, ...]) -> None:
    claim = claim_of(Recipient(mailbox("bob@corp.example"), notify), attempts=6, **changes)
    done = settle_one(claim, OutcomeKind.DEFERRED, SILENCE, at(4 * HOUR))
    assert (done.dsn, done.delay_warned) == (None, False)
    assert done.due is not None


def test_failure_and_delay_share_one_dsn() -> None:
    claim = claim_of("a@corp.example", "b@corp.example", attempts=6)
    outcomes = (outcome(claim, 0, OutcomeKind.FAILED, NO), outcome(claim, 1, OutcomeKind.DEFERRED, LATER))
    done = settle(claim, outcomes, TERMS, at(5 * HOUR))
    assert done.dsn is not None
    assert done.dsn.message is not None
    octets = done.dsn.message.content.data or b""
    assert (octets.count(b"Action: failed\r\n"), octets.count(b"Action: delayed\r\n")) == (1, 1)


# events


@pytest.mark.parametrize(
    ("reply", "scope", "level"),
    [
        (LATER, Scope.RECIPIENT, Level.INFO),
        (SILENCE, Scope.SITE, Level.INFO),
        (Reply(530, "7.0", "STARTTLS first"), Scope.OURS, Level.WARNING),
    ],
)
def test_what_an_admin_must_mend_is_an_alarm(reply: Reply, scope: Scope, level: Level) -> None:
    assert settle_one(claim_of(), OutcomeKind.DEFERRED, reply, at(), scope).events[0].level is level


def test_required_tls_that_fails_is_an_alarm() -> None:
    claim = claim_of()
    failed = replace(outcome(claim, 0, OutcomeKind.DEFERRED, Reply(451, "7.5", "TLS"), Scope.SITE), remote_mta="")
    assert settle(claim, (failed,), TERMS, at()).events[0].level is Level.ALARM


def test_a_thousand_recipients_take_no_time() -> None:
    claim = claim_of(*(f"u{number}@corp.example" for number in range(1000)))
    outcomes = tuple(
        outcome(claim, place, (OutcomeKind.FAILED, OutcomeKind.DEFERRED)[place % 2], NO) for place in range(1000)
    )
    done = settle(claim, outcomes, TERMS, at(5 * HOUR))
    assert (len(done.endings), len(done.remaining)) == (500, 500)
    assert done.dsn is not None
    assert done.dsn.message is not None
    assert done.dsn.message.content.size < 1_000_000


# our own fault


OUR_FAULT = Reply(550, "7.25", "The IP address sending this message does not have a PTR record - gsmtp")


def test_what_is_our_fault_goes_back_to_the_waiting_client() -> None:
    claim = claim_of("a@corp.example", "b@corp.example")
    ours = outcome(claim, 0, OutcomeKind.DEFERRED, OUR_FAULT, Scope.OURS)
    for other in (ours, outcome(claim, 1, OutcomeKind.FAILED, NO)):
        outcomes = (ours, replace(other, rcpt=claim.transfer.rcpts[1]))
        refusal = find_refusal(outcomes)
        assert refusal is not None
        assert str(refusal).startswith("451 4.3.5 ")
        done = settle(claim, outcomes, TERMS, at(in_session=True))
        assert [ending.state for ending in done.endings] == [Final.RETURNED] * 2
        assert (done.remaining, done.due, done.dsn, names(done)) == ((), None, None, ["returned", "returned"])
        assert dict(done.events[0].fields)["cause"] == "reverse-dns"


def test_what_is_partly_our_fault_waits() -> None:
    claim = claim_of("a@corp.example", "b@corp.example")
    ours = outcome(claim, 0, OutcomeKind.DEFERRED, OUR_FAULT, Scope.OURS)
    for other in (outcome(claim, 1, OutcomeKind.DELIVERED, OK), outcome(claim, 1, OutcomeKind.DEFERRED, LATER)):
        assert find_refusal((ours, other)) is None
        done = settle(claim, (ours, other), TERMS, at(in_session=True))
        assert claim.transfer.rcpts[0] in done.remaining
        assert done.dsn is None


def test_our_fault_makes_no_dsn_before_the_queue_s_end() -> None:
    claim = claim_of(delay_warned=True)
    for seconds in (1.0, HOUR, 4 * HOUR, 4.9 * DAY):
        done = settle_one(claim, OutcomeKind.DEFERRED, OUR_FAULT, at(seconds), Scope.OURS)
        assert (done.dsn, done.endings, done.remaining) == (None, (), claim.transfer.rcpts)
    done = settle_one(claim, OutcomeKind.DEFERRED, OUR_FAULT, at(5 * DAY), Scope.OURS)
    assert [ending.state for ending in done.endings] == [Final.EXPIRED]
    assert done.dsn is not None
    assert done.dsn.message is not None
    assert b"It is nothing that you did" in (done.dsn.message.content.data or b"")


# success


@pytest.mark.parametrize(
    ("notify", "reports", "changes", "told"),
    [
        ((Notify.SUCCESS,), False, {}, True),
        ((Notify.SUCCESS, Notify.FAILURE), False, {}, True),
        ((Notify.SUCCESS,), True, {}, False),
        ((), False, {}, False),
        ((Notify.FAILURE,), False, {}, False),
        ((Notify.NEVER,), False, {}, False),
        ((Notify.SUCCESS,), False, {"return_path_verified": False}, False),
        ((Notify.SUCCESS,), False, {"mail_from": None}, False),
    ],
)
def test_relayed_is_told_where_it_was_asked_for(
    notify: tuple[Notify, ...], reports: bool, changes: dict[str, object], told: bool
) -> None:
    """RFC 3461 section 5.2.2: if the next host reports nothing, we report our own knowledge."""
    claim = claim_of(Recipient(mailbox("bob@corp.example"), notify), **changes)
    taken = replace(outcome(claim, 0, OutcomeKind.DELIVERED, OK), reports=reports)
    done = settle(claim, (taken,), TERMS, at())
    assert [ending.state for ending in done.endings] == [Final.DELIVERED]
    assert (done.dsn is not None) is told
    if done.dsn is not None:
        assert done.dsn.message is not None
        assert b"Action: relayed\r\n" in (done.dsn.message.content.data or b"")


def test_verdicts_at_our_edge_are_told() -> None:
    claim = claim_of(verdicts=("SPF: pass for sender.example", "DMARC: pass for sender.example"))
    done = settle_one(claim, OutcomeKind.FAILED, NO, at())
    assert done.dsn is not None
    assert done.dsn.message is not None
    assert b"    DMARC: pass for sender.example\r\n" in (done.dsn.message.content.data or b"")


# failures that cannot be reported


def broken(_: object) -> str:
    raise ValueError("no way \u202e")


def test_a_dsn_that_cannot_be_made_holds_the_failed_and_nobody_else() -> None:
    claim = claim_of("bob@corp.example", "no@corp.example")
    given = (outcome(claim, 0, OutcomeKind.DELIVERED, OK), outcome(claim, 1, OutcomeKind.FAILED, NO))
    done = settle(claim, given, TERMS, replace(at(), route_dsn=broken))
    assert [(str(one.rcpt.mailbox), one.state) for one in done.endings] == [("bob@corp.example", Final.DELIVERED)]
    assert [str(one.mailbox) for one in done.remaining] == ["no@corp.example"]
    assert (done.due, done.dsn, done.hold) == (None, None, None)
    assert done.reason == "it failed, and its sender cannot be told: ValueError('no way \\u202e')"
    assert names(done) == ["delivered", "parked", "unplanned"]
    assert done.events[-1].level is Level.ALARM


def test_it_delays_nobody_who_is_tried_again() -> None:
    claim = claim_of("later@corp.example", "no@corp.example")
    given = (outcome(claim, 0, OutcomeKind.DEFERRED, LATER), outcome(claim, 1, OutcomeKind.FAILED, NO))
    done = settle(claim, given, TERMS, replace(at(), route_dsn=broken))
    assert (done.endings, done.remaining, done.reason) == ((), claim.transfer.rcpts, "")
    assert done.due == NOW + 1 + 60


def test_a_confirmation_or_warning_that_cannot_be_made_is_left_out() -> None:
    asking = Recipient(mailbox("bob@corp.example"), (Notify.SUCCESS, Notify.DELAY))
    done = settle_one(claim_of(asking), OutcomeKind.DELIVERED, OK, replace(at(), route_dsn=broken))
    assert ([ending.state for ending in done.endings], done.remaining, done.dsn) == ([Final.DELIVERED], (), None)
    late = settle_one(claim_of(asking), OutcomeKind.DEFERRED, LATER, replace(at(5 * HOUR), route_dsn=broken))
    assert (late.delay_warned, late.reason, late.due is not None) == (False, "", True)


def test_an_admin_ends_what_cannot_be_told() -> None:
    done = settle_one(claim_of(), OutcomeKind.FAILED, NO, replace(at(), route_dsn=broken, by_hand=True))
    assert ([ending.state for ending in done.endings], done.remaining, done.reason) == ([Final.WITHHELD], (), "")
    assert names(done) == ["failed", "dsn-withheld", "unplanned"]


def test_a_client_that_waits_is_told_and_needs_no_dsn() -> None:
    done = settle_one(claim_of(), OutcomeKind.FAILED, NO, replace(at(in_session=True), route_dsn=broken))
    assert ([ending.state for ending in done.endings], done.told, done.reason) == ([Final.FAILED], True, "")


def test_an_event_that_cannot_be_told_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.plan.account._describe", lambda *_: 1 / 0)
    done = settle_one(claim_of(), OutcomeKind.DELIVERED, OK, at())
    assert [ending.state for ending in done.endings] == [Final.DELIVERED]
    assert names(done) == ["delivered", "error"]


def test_the_least_that_is_written() -> None:
    claim = claim_of("bob@corp.example", "no@corp.example")
    odd = Reply(250, "0.0", "ok \udcff \u212a")
    given = (outcome(claim, 0, OutcomeKind.DELIVERED, odd), outcome(claim, 1, OutcomeKind.DEFERRED, LATER))
    done = settle_plainly(claim, given, NOW, NOW + 1, "why")
    assert [(one.state, one.reply.text) for one in done.endings] == [(Final.DELIVERED, "ok \\udcff \\u212a")]
    assert (done.remaining, done.due, done.reason[-3:]) == (claim.transfer.rcpts[1:], None, "why")
    whole = settle_plainly(claim, (given[0],), NOW, NOW + 1, "why")
    assert (whole.remaining, whole.reason) == ((), "")
