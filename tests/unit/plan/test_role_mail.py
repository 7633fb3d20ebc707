"""A backend's refusals of mail to role addresses: held for its content, reported as usual otherwise."""

from __future__ import annotations

import pytest

from gateway.model.delivery import Claim, Final, Outcome, OutcomeKind, Scope
from gateway.model.event import Level
from gateway.model.reply import Reply
from gateway.plan.settlement import AttemptContext, Terms, is_judged_spam, settle
from tests.support.sending import NOW, changed, make_claim

TERMS = Terms("gw.example", (60.0,), 432_000.0, 14_400.0)
SPAM = Reply(550, "7.1", "Our system has detected that this message is likely unsolicited mail")
BIG = Reply(552, "3.4", "Message size exceeds fixed limit")
NOBODY = Reply(550, "1.1", "No such user")


def role_mail(*rcpts: str) -> Claim:
    return changed(make_claim(rcpts=rcpts or ("abuse@corp.example",)), role=True, return_path_verified=True)


def refusal(
    claim: Claim, reply: Reply, scope: Scope = Scope.MESSAGE, kind: OutcomeKind = OutcomeKind.FAILED, at: int = 0
) -> Outcome:
    return Outcome(claim.transfer.rcpts[at], kind, reply, scope, "mx.google.com", "192.0.2.1")


def circumstances(in_session: bool = True, hold_full: bool = False) -> AttemptContext:
    return AttemptContext(NOW, NOW + 1, 0.5, in_session, "d1", lambda _: "direct", hold_full)


@pytest.mark.parametrize(
    ("reply", "spam"),
    [
        (SPAM, True),
        (Reply(552, "7.0", "This message was blocked because its content presents a potential security issue"), True),
        (Reply(554, "7.1", "Message rejected as spam"), True),
        (Reply(550, "7.26", "This mail has been blocked because the sender is unauthenticated"), True),
        (Reply(550, "", "No"), True),
        (BIG, False),
        (Reply(554, "6.3", "Conversion is not supported"), False),
        (Reply(550, "6.11", "Bare linefeeds are illegal"), False),
        (Reply(554, "4.6", "Hop count exceeded - possible mail loop"), False),
    ],
)
def test_which_replies_judge_the_content(reply: Reply, spam: bool) -> None:
    assert is_judged_spam(refusal(role_mail(), reply)) is spam


def test_only_an_answer_of_the_backend_about_the_message_for_good_counts() -> None:
    claim = role_mail()
    assert not is_judged_spam(refusal(claim, SPAM, scope=Scope.RECIPIENT))
    assert not is_judged_spam(refusal(claim, Reply(451, "7.1", "later"), kind=OutcomeKind.DEFERRED))
    ours = Outcome(claim.transfer.rcpts[0], OutcomeKind.FAILED, SPAM, Scope.MESSAGE, "")
    assert not is_judged_spam(ours)


@pytest.mark.parametrize("in_session", [True, False])
def test_spam_is_kept_and_alarmed_and_nobody_is_told(in_session: bool) -> None:
    claim = role_mail()
    found = settle(claim, (refusal(claim, SPAM),), TERMS, circumstances(in_session))
    assert (found.endings, found.remaining, found.due, found.dsn) == ((), claim.transfer.rcpts, None, None)
    assert found.hold is not None
    assert found.hold.expires == NOW + 1 + TERMS.holding.expire
    assert "corp" in found.reason
    (event,) = found.events
    assert (event.name, event.level) == ("role-mail-kept", Level.ALARM)


@pytest.mark.parametrize("reply", [BIG, NOBODY])
def test_anything_else_is_told_as_for_everybody(reply: Reply) -> None:
    claim = role_mail()
    scope = Scope.RECIPIENT if reply is NOBODY else Scope.MESSAGE
    found = settle(claim, (refusal(claim, reply, scope),), TERMS, circumstances())
    assert [ending.state for ending in found.endings] == [Final.FAILED]
    assert found.hold is None


def test_other_mail_is_not_kept() -> None:
    claim = changed(make_claim(), return_path_verified=True)
    found = settle(claim, (refusal(claim, SPAM),), TERMS, circumstances())
    assert found.hold is None
    assert [ending.state for ending in found.endings] == [Final.FAILED]


def test_when_no_more_may_be_held_the_refusal_is_told() -> None:
    claim = role_mail()
    found = settle(claim, (refusal(claim, SPAM),), TERMS, circumstances(hold_full=True))
    assert found.hold is None
    assert [ending.state for ending in found.endings] == [Final.FAILED]


def test_who_waits_is_kept_with_the_refused() -> None:
    claim = role_mail("abuse@corp.example", "postmaster@corp.example", "abuse@d.example")
    waits = refusal(claim, Reply(451, "2.0", "later"), Scope.RECIPIENT, OutcomeKind.DEFERRED, 1)
    gone = refusal(claim, NOBODY, Scope.RECIPIENT, at=2)
    found = settle(claim, (refusal(claim, SPAM), waits, gone), TERMS, circumstances())
    assert found.remaining == claim.transfer.rcpts[:2]
    assert [ending.rcpt for ending in found.endings] == [claim.transfer.rcpts[2]]
    assert found.hold is not None
    assert found.dsn is not None, "the third recipient's failure is no secret"
