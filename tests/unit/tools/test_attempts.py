"""Attempts in `explain`: the replies, and their meaning."""

from __future__ import annotations

from gateway.model.delivery import Attempt, Outcome, OutcomeKind, Scope, Story
from gateway.model.reply import Reply
from gateway.model.value import replace
from gateway.tools.attempts import attempt_json, attempt_lines
from tests.support.sending import make_claim
from tests.support.spooling import make_trace

NESTED = Reply.received(
    550,
    "5.7.23 The message was rejected because of Sender Policy Framework violation -> 550 5.7.1 Unauthenticated email "
    "from sender.example is not accepted due to domain's DMARC policy. - gsmtp",
)
CLAIM = make_claim()
ATTEMPT = Attempt(
    "m1-corp",
    "corp",
    0.0,
    1.0,
    (Outcome(CLAIM.transfer.rcpts[0], OutcomeKind.DEFERRED, NESTED, Scope.OURS, "corp.mail.protection.outlook.com"),),
)


def test_incident_1_is_told_as_what_it_is() -> None:
    story = Story(make_trace("m1", None, ()), (), (), (ATTEMPT,), False, False)
    lines = list(attempt_lines(story))
    assert "    cause: dmarc at Google, behind Microsoft" in lines
    assert any(line.startswith("    to do: Find what changed the message") for line in lines)
    assert any("Do not change your SPF record" in line for line in lines)
    outcome = attempt_json(ATTEMPT)["outcomes"][0]  # type: ignore[index, call-overload]
    assert outcome["refusal"]["cause"] == "dmarc"
    assert (outcome["refusal"]["provider"], outcome["refusal"]["relayed_by"]) == ("Google", "Microsoft")


def test_a_return_by_hand_is_no_refusal_of_the_receiver() -> None:
    returned = Outcome(
        CLAIM.transfer.rcpts[0], OutcomeKind.FAILED, Reply(550, "7.1", "Bob has left"), Scope.MESSAGE, ""
    )
    attempt = replace(ATTEMPT, outcomes=(returned,))
    story = Story(make_trace("m1", None, ()), (), (), (attempt,), False, False)
    assert "    cause: administrator" in list(attempt_lines(story))
    assert attempt_json(attempt)["outcomes"][0]["refusal"]["cause"] == "administrator"  # type: ignore[index, call-overload]
