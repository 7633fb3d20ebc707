"""From an attempt's outcomes to the exact writes of its settlement: who is done, who waits, and who is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.mail.dsn import Notice
from gateway.model.delivery import Attempt, Claim, Ending, Final, Intake, Kind, Outcome, Scope, Settlement, Transfer
from gateway.model.event import Event, Level
from gateway.model.reply import Reply
from gateway.plan.holding import USUAL_TERMS, HoldTerms
from gateway.plan.notification import make_dsn, may_warn, why_withheld
from gateway.plan.role_mail import is_judged_spam, make_hold
from gateway.policy.retry import next_due

_TLS_FAILED = "7.5"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the admin set about retries and about telling the sender. Times in seconds."""

    hostname: str
    schedule: tuple[float, ...]
    expire: float
    delay_warning: float
    holding: HoldTerms = USUAL_TERMS


@dataclass(frozen=True, slots=True)
class Circumstances:
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


class _Fate(Enum):
    """What a recipient's outcome comes to."""

    DELIVERED = Final.DELIVERED
    TOLD = Final.FAILED
    """The client got the refusal, or the sender gets a DSN."""
    WITHHELD = Final.WITHHELD
    EXPIRED = Final.EXPIRED
    """Tried until the queue's end; the sender gets a DSN."""
    WAITS = "waits"
    KEPT = "kept"
    """Taken for spam by the backend, and for a role address: it is held."""


def find_refusal(outcomes: Sequence[Outcome]) -> Reply | None:
    """The reply that a waiting client gets: the backend's own, when it refused every recipient for good. None: 250.

    One DATA has one reply (RFC 5321 section 3.3), so a partial refusal is told by a DSN.
    """
    if outcomes and all(outcome.kind is Kind.FAILED for outcome in outcomes):
        return outcomes[0].reply
    return None


def settle(claim: Claim, outcomes: tuple[Outcome, ...], terms: Terms, at: Circumstances) -> Settlement:
    """The writes that follow from one attempt; `outcomes` has one for each recipient of the transfer."""
    transfer = claim.transfer
    due = _next_attempt(transfer, terms, at)
    keeps = transfer.role and not at.hold_full
    kept = keeps and any(is_judged_spam(outcome) for outcome in outcomes)
    told = at.in_session and not kept and find_refusal(outcomes) is not None
    fates = [_Fate.KEPT if keeps and is_judged_spam(one) else _find_fate(transfer, one, due, told) for one in outcomes]
    late = at.ended - transfer.created >= terms.delay_warning and not transfer.delay_warned
    dead = (_Fate.TOLD, _Fate.EXPIRED)
    failed = [] if told else [one for one, fate in zip(outcomes, fates, strict=True) if fate in dead]
    waiting = [one for one, fate in zip(outcomes, fates, strict=True) if fate in (_Fate.WAITS, _Fate.KEPT)]
    delayed = [one for one in waiting if late and not kept and may_warn(transfer, one.rcpt)]
    notices = (*(_failure(one) for one in failed), *(_delay(one) for one in delayed))
    report = make_dsn(claim, notices, terms.hostname, terms.expire, at.ended, at.dsn_id, at.dsn_backend)
    return Settlement(
        transfer_id=transfer.id,
        message_id=transfer.message_id,
        epoch=claim.epoch,
        endings=tuple(
            Ending(outcome.rcpt, fate.value, outcome.reply)
            for outcome, fate in zip(outcomes, fates, strict=True)
            if isinstance(fate.value, Final)
        ),
        remaining=tuple(outcome.rcpt for outcome in waiting),
        due=due if waiting and not kept else None,
        attempt=Attempt(transfer.id, transfer.backend, at.started, at.ended, outcomes),
        delay_warned=transfer.delay_warned or bool(delayed),
        dsn=report,
        events=_tell(transfer, list(zip(outcomes, fates, strict=True)), told, due, report, at),
        hold=make_hold(at.ended, terms.holding) if kept else None,
        reason=f"{transfer.backend} refused role mail for its content" if kept else "",
    )


def _next_attempt(transfer: Transfer, terms: Terms, at: Circumstances) -> float | None:
    due = next_due(transfer.attempts + 1, at.ended, transfer.created, terms.schedule, terms.expire, at.jitter)
    warning = transfer.created + terms.delay_warning
    if due is not None and not transfer.delay_warned and at.ended < warning < due:
        return warning  # an attempt at that time, so that the sender is warned when it was promised
    return due


def _find_fate(transfer: Transfer, outcome: Outcome, due: float | None, told: bool) -> _Fate:
    if outcome.kind is Kind.DELIVERED:
        return _Fate.DELIVERED
    if outcome.kind is Kind.DEFERRED and due is not None:
        return _Fate.WAITS
    if not told and why_withheld(transfer, outcome.rcpt):
        return _Fate.WITHHELD
    return _Fate.EXPIRED if outcome.kind is Kind.DEFERRED else _Fate.TOLD


def _failure(outcome: Outcome) -> Notice:
    return Notice(outcome.rcpt, "failed", outcome.reply, outcome.remote_mta, expired=outcome.kind is Kind.DEFERRED)


def _delay(outcome: Outcome) -> Notice:
    return Notice(outcome.rcpt, "delayed", outcome.reply, outcome.remote_mta)


def _tell(
    transfer: Transfer,
    fates: Sequence[tuple[Outcome, _Fate]],
    told: bool,
    due: float | None,
    report: Intake | None,
    at: Circumstances,
) -> tuple[Event, ...]:
    """One event for each recipient, one for each DSN that is withheld, and one for the DSN."""
    events = []
    for outcome, fate in fates:
        events.append(_tell_outcome(transfer, outcome, fate, told, due, at))
        if fate is _Fate.WITHHELD:
            why = why_withheld(transfer, outcome.rcpt)
            fields = (("rcpt", str(outcome.rcpt.mailbox)), ("reason", why), ("reply", str(outcome.reply)))
            events.append(Event("dsn-withheld", transfer.message_id, fields, Level.WARNING))
    if report is not None:
        fields = (("dsn", report.trace.id), ("to", str(transfer.mail_from)), ("backend", at.dsn_backend))
        events.append(Event("dsn", transfer.message_id, fields))
    return tuple(events)


_NAMES = {
    _Fate.DELIVERED: "delivered",
    _Fate.WAITS: "deferred",
    _Fate.KEPT: "role-mail-kept",
    _Fate.TOLD: "failed",
    _Fate.WITHHELD: "failed",
    _Fate.EXPIRED: "failed",
}


def _tell_outcome(
    transfer: Transfer, outcome: Outcome, fate: _Fate, told: bool, due: float | None, at: Circumstances
) -> Event:
    fields: list[tuple[str, str | int | float | bool]] = [
        ("rcpt", str(outcome.rcpt.mailbox)),
        ("backend", transfer.backend),
        ("remote", outcome.remote_mta),
        ("address", outcome.remote_address),
        ("tls", f"{outcome.tls.version} {outcome.tls.cipher}" if outcome.tls else ""),
        ("certificate", outcome.certificate),
        ("reply", str(outcome.reply)),
        ("scope", outcome.scope),
        ("attempt", transfer.attempts + 1),
        ("seconds", round(at.ended - at.started, 3)),
        ("waited", round(at.ended - transfer.created, 3)),
    ]
    if fate is _Fate.WAITS and due is not None:
        fields.append(("due", round(due, 3)))
    if outcome.ambiguous:
        fields.append(("ambiguous", True))
    if _NAMES[fate] == "failed":
        fields += [("in_session", told), ("expired", outcome.kind is Kind.DEFERRED)]
    return Event(_NAMES[fate], transfer.message_id, tuple(fields), _find_level(outcome, fate))


def _find_level(outcome: Outcome, fate: _Fate) -> Level:
    """Alarming is what an admin has to mend or look at: a fault of ours, required TLS that does not come about, and
    role mail that waits for him."""
    if outcome.kind is Kind.DELIVERED:
        return Level.INFO
    if fate is _Fate.KEPT:
        return Level.ALARM
    tls_failed = not outcome.remote_mta and outcome.reply.detail == _TLS_FAILED
    return Level.ALARM if outcome.scope is Scope.OURS or tls_failed else Level.INFO
