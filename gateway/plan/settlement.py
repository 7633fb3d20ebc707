"""From an attempt's outcomes to the exact writes of its settlement: final states, retries, and notices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.mail.dsn import DsnAction, Notice
from gateway.mail.refusal import Blame, Cause, classify
from gateway.model.delivery import (
    Attempt,
    Claim,
    Ending,
    Final,
    Hold,
    Intake,
    Outcome,
    OutcomeKind,
    Scope,
    Settlement,
    Transfer,
)
from gateway.model.envelope import Mailbox
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, replace
from gateway.plan.account import Fate, describe_trouble, find_fate, make_dsn, may_confirm, may_warn, tell
from gateway.plan.holding import USUAL_TERMS, HoldTerms
from gateway.policy.flow import next_due

_QUOTA = "role mail refused by backends"
"""The name under which held role mail counts, like an author domain with its own quota."""

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
"""Causes that judge the content or the author. An unknown reply counts too, because it came during or after the
content."""


def is_judged_spam(outcome: Outcome) -> bool:
    """True when the backend refused the message permanently for its content or its author: not for its size or form,
    nor the mailbox."""
    if not outcome.reply.permanent or not outcome.remote_mta:
        return False
    cause = classify(outcome.reply, outcome.remote_mta, backend=True).cause
    if outcome.scope is Scope.OURS:
        return cause.blame is Blame.AUTHENTICATION
    judged = outcome.kind is OutcomeKind.FAILED and outcome.scope is Scope.MESSAGE
    return judged and (cause in _CONTENT or cause.blame is Blame.AUTHENTICATION)


def make_hold(now: float, terms: HoldTerms) -> Hold:
    """The terms of a kept copy. Spam to abuse@ must not fill the disk either."""
    return Hold(_QUOTA, now + terms.expire, terms.quota)


class Terms(Value):
    """The admin's settings for retries and notices to the sender. Times in seconds."""

    hostname: str
    schedule: tuple[float, ...]
    expire: float
    delay_warning: float
    holding: HoldTerms = USUAL_TERMS


class AttemptContext(Value):
    """The inputs of a settlement besides the outcomes."""

    started: float
    """Epoch seconds."""
    ended: float
    jitter: float
    """In [0, 1)."""
    in_session: bool
    """The client still waits for its answer: it gets the refusal of all recipients, and no DSN is made."""
    dsn_id: str
    """A fresh id, used if a DSN is made."""
    route_dsn: Callable[[Mailbox], str]
    """Names the backend for a DSN to a return path."""
    hold_full: bool = False
    """The quota of held mail is full: nothing more is kept."""
    by_hand: bool = False
    """An admin ends it: a failed recipient gets its final state without a DSN when none can be sent, and is not held
    again."""


def find_refusal(outcomes: Sequence[Outcome]) -> Reply | None:
    """The reply for a waiting client. None: 250.

    It is the backend's own when the backend refused every recipient permanently. It is 451 when no recipient was taken
    and the fault is ours (promise P5). One DATA has one reply (RFC 5321 section 3.3), so a DSN reports a partial
    refusal.
    """
    if not outcomes or any(one.kind is not OutcomeKind.FAILED and one.scope is not Scope.OURS for one in outcomes):
        return None
    ours = any(one.scope is Scope.OURS for one in outcomes)
    return REPLIES["route-stopped"] if ours else outcomes[0].reply


def settle(claim: Claim, outcomes: tuple[Outcome, ...], terms: Terms, at: AttemptContext) -> Settlement:
    """The writes that follow from one attempt; `outcomes` has one for each recipient of the transfer.

    Never retry recipients already delivered, whatever else fails. The DSN and the events contain text from others, so
    building any of them may fail. A failed recipient whose DSN cannot be made stays with the transfer, which is held
    when no other recipient waits.
    """
    transfer = claim.transfer
    due = _next_attempt(transfer, terms, at)
    keeps = transfer.role and not at.hold_full
    kept = keeps and any(is_judged_spam(outcome) for outcome in outcomes)
    refusal = find_refusal(outcomes) if at.in_session and not kept else None
    told = refusal is not None
    fates = [(one, _find_fate(transfer, one, due, refusal, keeps)) for one in outcomes]
    late = at.ended - transfer.created >= terms.delay_warning and not transfer.delay_warned and not kept
    notices = _find_notices(transfer, fates, told, late)
    report, trouble = _plan_dsn(claim, notices, terms, at)
    if trouble and not told:
        untold = Fate.WITHHELD if at.by_hand else Fate.PARKED
        fates = [(one, untold if fate in (Fate.TOLD, Fate.EXPIRED) else fate) for one, fate in fates]
    waiting = [one for one, fate in fates if not isinstance(fate.value, Final)]
    held = kept or all(fate is not Fate.WAITS for _, fate in fates)
    return Settlement(
        transfer_id=transfer.id,
        message_id=transfer.message_id,
        epoch=claim.epoch,
        endings=tuple(
            Ending(outcome.rcpt, fate.value, outcome.reply) for outcome, fate in fates if isinstance(fate.value, Final)
        ),
        remaining=tuple(outcome.rcpt for outcome in waiting),
        due=due if waiting and not held else None,
        attempt=Attempt(transfer.id, transfer.backend, at.started, at.ended, outcomes),
        delay_warned=transfer.delay_warned
        or (report is not None and any(notice.action is DsnAction.DELAYED for notice in notices)),
        dsn=report,
        events=(*tell(transfer, fates, told, due, report, at.started, at.ended), *describe_trouble(transfer, trouble)),
        told=told,
        hold=make_hold(at.ended, terms.holding) if kept else None,
        reason=_find_reason(transfer, kept, trouble) if waiting and held else "",
    )


def settle_plainly(claim: Claim, outcomes: Sequence[Outcome], started: float, ended: float, trouble: str) -> Settlement:
    """The minimum record of an attempt, for the case that the full plan of `settle` fails: delivered recipients are
    done, and the others are held."""
    transfer = claim.transfer
    said = tuple(replace(one, reply=_in_ascii(one.reply)) for one in outcomes)
    done = [one for one in said if one.kind is OutcomeKind.DELIVERED]
    return Settlement(
        transfer_id=transfer.id,
        message_id=transfer.message_id,
        epoch=claim.epoch,
        endings=tuple(Ending(one.rcpt, Final.DELIVERED, one.reply) for one in done),
        remaining=tuple(one.rcpt for one in said if one.kind is not OutcomeKind.DELIVERED),
        due=None,
        attempt=Attempt(transfer.id, transfer.backend, started, ended, said),
        delay_warned=transfer.delay_warned,
        dsn=None,
        events=describe_trouble(transfer, trouble),
        reason=f"what became of it cannot be written down: {trouble}" if len(done) < len(said) else "",
    )


def _plan_dsn(claim: Claim, notices: tuple[Notice, ...], terms: Terms, at: AttemptContext) -> tuple[Intake | None, str]:
    """The DSN, and the error in making it."""
    return_path = claim.transfer.mail_from
    if return_path is None or not notices:
        return None, ""
    try:
        backend = at.route_dsn(return_path)
        return make_dsn(claim, notices, terms.hostname, terms.expire, at.ended, at.dsn_id, backend), ""
    except Exception as error:
        return None, repr(error)


def _find_reason(transfer: Transfer, kept: bool, trouble: str) -> str:
    """The reason for holding the rest."""
    if kept:
        return f"{transfer.backend} refused role mail for its content"
    return f"it failed, and its sender cannot be told: {trouble}"


def _in_ascii(reply: Reply) -> Reply:
    return Reply(reply.code, "", reply.text.encode("ascii", "backslashreplace").decode("ascii"))


def _next_attempt(transfer: Transfer, terms: Terms, at: AttemptContext) -> float | None:
    due = next_due(transfer.attempts + 1, at.ended, transfer.created, terms.schedule, terms.expire, at.jitter)
    warning = transfer.created + terms.delay_warning
    if due is not None and not transfer.delay_warned and at.ended < warning < due:
        return warning  # an attempt at that time, so that the sender is warned when it was promised
    return due


def _find_fate(transfer: Transfer, outcome: Outcome, due: float | None, refusal: Reply | None, keeps: bool) -> Fate:
    """`refusal`: the reply to the waiting client. `keeps`: role mail that is taken for spam is held."""
    if refusal is not None and refusal.transient:
        return Fate.RETURNED  # even for recipients refused permanently: the client will send to all of them again
    if keeps and is_judged_spam(outcome):
        return Fate.KEPT
    return find_fate(transfer, outcome, due, refusal is not None)


def _find_notices(
    transfer: Transfer, fates: Sequence[tuple[Outcome, Fate]], told: bool, late: bool
) -> tuple[Notice, ...]:
    """The notices to the sender. `told`: the waiting client gets the reply instead. `late`: a delay is to be
    reported."""
    actions = []
    for outcome, fate in fates:
        if fate in (Fate.TOLD, Fate.EXPIRED) and not told:
            actions.append((outcome, DsnAction.FAILED))
        elif fate is Fate.WAITS and late and may_warn(transfer, outcome.rcpt):
            actions.append((outcome, DsnAction.DELAYED))
        elif fate is Fate.DELIVERED and not outcome.reports and may_confirm(transfer, outcome.rcpt):
            actions.append((outcome, DsnAction.RELAYED))
    return tuple(
        Notice(
            outcome.rcpt,
            action,
            outcome.reply,
            outcome.remote_mta,
            expired=action is DsnAction.FAILED and outcome.kind is OutcomeKind.DEFERRED,
            ours=outcome.scope is Scope.OURS,
        )
        for outcome, action in actions
    )
