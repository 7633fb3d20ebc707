"""Mail to postmaster@ and abuse@: it must reach somebody, also when a backend takes what is in it for spam.

Who reports spam to abuse@ sends spam. So what a backend refuses for its content is kept here, and the sender is told
250 (RFC 5321 section 4.5.1, RFC 2142 section 4).
"""

from __future__ import annotations

from gateway.mail.refusal import Blame, Cause, classify
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.holding import Hold
from gateway.plan.holding import HoldTerms

_QUOTA = "role mail refused by backends"
"""What it counts against, as an author domain's mail does against its own."""

_CONTENT = frozenset(
    {
        Cause.SPAM,
        Cause.BLOCKED_CONTENT,
        Cause.RULE,
        Cause.POLICY,
        Cause.REPUTATION,
        Cause.ADDRESS_LISTED,
        Cause.SENDER_BLOCKED,
        Cause.UNKNOWN,
    }
)
"""Words for a judgement of what the message is or whom it comes from. A reply that says nothing that is known counts
too: it came after the content, or in it."""


def is_judged_spam(outcome: Outcome) -> bool:
    """The backend refused the message for good, and for what it is: not for its size or form, nor the mailbox."""
    if not outcome.reply.permanent or not outcome.remote_mta:
        return False
    cause = classify(outcome.reply, outcome.remote_mta, backend=True).cause
    if outcome.scope is Scope.OURS:
        return cause.blame is Blame.AUTHENTICATION
    judged = outcome.kind is OutcomeKind.FAILED and outcome.scope is Scope.MESSAGE
    return judged and (cause in _CONTENT or cause.blame is Blame.AUTHENTICATION)


def make_hold(now: float, terms: HoldTerms) -> Hold:
    """The terms of a copy that is kept: spam to abuse@ must not fill the disk either."""
    return Hold(_QUOTA, now + terms.expire, terms.quota)
