"""From an attempt's outcomes to the exact writes of its settlement: who is done, who waits, and who is told."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.dsn import DsnAction, Notice
from gateway.model.delivery import Attempt, Claim, Ending, Final, Outcome, OutcomeKind, Scope, Settlement, Transfer
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value
from gateway.plan.account import tell
from gateway.plan.fate import Fate, find_fate
from gateway.plan.holding import USUAL_TERMS, HoldTerms
from gateway.plan.notification import make_dsn, may_confirm, may_warn
from gateway.plan.role_mail import is_judged_spam, make_hold
from gateway.policy.retry import next_due


class Terms(Value):
    """What the admin set about retries and about telling the sender. Times in seconds."""

    hostname: str
    schedule: tuple[float, ...]
    expire: float
    delay_warning: float
    holding: HoldTerms = USUAL_TERMS


class AttemptContext(Value):
    """What a settlement depends on besides the outcomes."""

    started: float
    """Epoch seconds."""
    ended: float
    jitter: float
    """In [0, 1)."""
    in_session: bool
    """The client still waits for its answer: a refusal of all recipients is told to it, and no DSN is made."""
    dsn_id: str
    """A fresh id, used if a DSN is made."""
    dsn_backend: str
    """Where a DSN to this return path goes."""
    hold_full: bool = False
    """As much is held as may be: nothing more is kept."""


def find_refusal(outcomes: Sequence[Outcome]) -> Reply | None:
    """The reply that a waiting client gets. None: 250.

    The backend's own when it refused every recipient for good; 451 when none was taken and it is our fault (promise
    P5). One DATA has one reply (RFC 5321 section 3.3), so a partial refusal is told by a DSN.
    """
    if not outcomes or any(one.kind is not OutcomeKind.FAILED and one.scope is not Scope.OURS for one in outcomes):
        return None
    ours = any(one.scope is Scope.OURS for one in outcomes)
    return REPLIES["route-stopped"] if ours else outcomes[0].reply


def settle(claim: Claim, outcomes: tuple[Outcome, ...], terms: Terms, at: AttemptContext) -> Settlement:
    """The writes that follow from one attempt; `outcomes` has one for each recipient of the transfer."""
    transfer = claim.transfer
    due = _next_attempt(transfer, terms, at)
    keeps = transfer.role and not at.hold_full
    kept = keeps and any(is_judged_spam(outcome) for outcome in outcomes)
    refusal = find_refusal(outcomes) if at.in_session and not kept else None
    fates = [(one, _find_fate(transfer, one, due, refusal, keeps)) for one in outcomes]
    waiting = [one for one, fate in fates if fate in (Fate.WAITS, Fate.KEPT)]
    late = at.ended - transfer.created >= terms.delay_warning and not transfer.delay_warned and not kept
    notices = _find_notices(transfer, fates, told=refusal is not None, late=late)
    report = make_dsn(claim, notices, terms.hostname, terms.expire, at.ended, at.dsn_id, at.dsn_backend)
    return Settlement(
        transfer_id=transfer.id,
        message_id=transfer.message_id,
        epoch=claim.epoch,
        endings=tuple(
            Ending(outcome.rcpt, fate.value, outcome.reply) for outcome, fate in fates if isinstance(fate.value, Final)
        ),
        remaining=tuple(outcome.rcpt for outcome in waiting),
        due=due if waiting and not kept else None,
        attempt=Attempt(transfer.id, transfer.backend, at.started, at.ended, outcomes),
        delay_warned=transfer.delay_warned or any(notice.action is DsnAction.DELAYED for notice in notices),
        dsn=report,
        events=tell(transfer, fates, refusal is not None, due, report, at.started, at.ended),
        told=refusal is not None,
        hold=make_hold(at.ended, terms.holding) if kept else None,
        reason=f"{transfer.backend} refused role mail for its content" if kept else "",
    )


def _next_attempt(transfer: Transfer, terms: Terms, at: AttemptContext) -> float | None:
    due = next_due(transfer.attempts + 1, at.ended, transfer.created, terms.schedule, terms.expire, at.jitter)
    warning = transfer.created + terms.delay_warning
    if due is not None and not transfer.delay_warned and at.ended < warning < due:
        return warning  # an attempt at that time, so that the sender is warned when it was promised
    return due


def _find_fate(transfer: Transfer, outcome: Outcome, due: float | None, refusal: Reply | None, keeps: bool) -> Fate:
    """`refusal`: what the waiting client is told. `keeps`: role mail that is taken for spam is held."""
    if refusal is not None and refusal.transient:
        return Fate.RETURNED  # also of those refused for good: the client will send to all of them again
    if keeps and is_judged_spam(outcome):
        return Fate.KEPT
    return find_fate(transfer, outcome, due, refusal is not None)


def _find_notices(
    transfer: Transfer, fates: Sequence[tuple[Outcome, Fate]], told: bool, late: bool
) -> tuple[Notice, ...]:
    """What the sender hears of. `told`: the waiting client hears it instead. `late`: a delay is to be told."""
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
