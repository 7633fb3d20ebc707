"""The events of an attempt, for the log, the metrics and the alarms: one for each recipient, and one for each DSN."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from gateway.mail import dsn
from gateway.mail.refusal import classify_outcome
from gateway.model.delivery import Claim, Final, Intake, Outcome, OutcomeKind, Scope, Transfer
from gateway.model.envelope import Notify, Recipient, Ret
from gateway.model.event import Event, Level
from gateway.model.message import Message
from gateway.plan.own_mail import post


def why_withheld(transfer: Transfer, rcpt: Recipient) -> str:
    """The reason why no DSN may report a failure; empty when one may (promise P6)."""
    if transfer.mail_from is None:
        return "null return path"  # RFC 5321 section 6.1
    if not transfer.return_path_verified:
        return "return path not verified"
    if rcpt.notify and Notify.FAILURE not in rcpt.notify:
        return "sender asked for none"  # RFC 3461 section 4.1
    return ""


def may_warn(transfer: Transfer, rcpt: Recipient) -> bool:
    """True when a DSN may report a delay."""
    wanted = not rcpt.notify or Notify.DELAY in rcpt.notify
    return wanted and transfer.mail_from is not None and transfer.return_path_verified


def may_confirm(transfer: Transfer, rcpt: Recipient) -> bool:
    """True when a DSN may report that the message was handed on: only if the sender asked for it (RFC 3461 section
    4.1)."""
    return Notify.SUCCESS in rcpt.notify and transfer.mail_from is not None and transfer.return_path_verified


def make_dsn(
    claim: Claim, notices: tuple[dsn.Notice, ...], hostname: str, expire: float, now: float, id: str, backend: str
) -> Intake | None:
    """The DSN with these notices, as an Intake; None when there is nothing to report, or no address to report it to."""
    transfer = claim.transfer
    if transfer.mail_from is None or not notices:
        return None
    report = dsn.Report(
        id=id,
        hostname=hostname,
        return_path=transfer.mail_from,
        message_id=transfer.message_id,
        envid=transfer.envid,
        arrived=transfer.created,
        composed=now,
        retried_until=transfer.created + expire,
        header=_as_sent(claim.message, claim.message.evidence.header),
        notices=notices,
        verdicts=transfer.verdicts,
        content=_wanted_back(claim, notices),
    )
    return post(dsn.compose(report), transfer.mail_from, "dsn", hostname, now, id, backend)


def _wanted_back(claim: Claim, notices: tuple[dsn.Notice, ...]) -> bytes | None:
    """The content to return. RET=FULL applies to failures only (RFC 3461 section 4.3). Content in a file is too large
    to return."""
    data = claim.message.content.data
    failed = any(notice.action is dsn.DsnAction.FAILED for notice in notices)
    return _as_sent(claim.message, data) if data is not None and failed and claim.transfer.ret is Ret.FULL else None


def _as_sent(message: Message, octets: bytes) -> bytes:
    """The content as it was sent. Omitted octets, above all a tenant's secret, stay out of a DSN too."""
    kept, at = [], 0
    for span in sorted(message.dropped, key=lambda span: span.start):
        kept.append(octets[at : span.start])
        at = span.end
    return b"".join((*kept, octets[at:]))


class Fate(Enum):
    """A final state, or none yet."""

    DELIVERED = Final.DELIVERED
    TOLD = Final.FAILED
    """The client got the refusal, or the sender gets a DSN."""
    WITHHELD = Final.WITHHELD
    RETURNED = Final.RETURNED
    EXPIRED = Final.EXPIRED
    """Tried until the queue's end; the sender gets a DSN."""
    WAITS = "waits"
    KEPT = "kept"
    """The backend took the message to a role address for spam: it is held."""
    PARKED = "parked"
    """The recipient failed, but the DSN about it cannot be made: it is held."""


def find_fate(transfer: Transfer, outcome: Outcome, due: float | None, told: bool) -> Fate:
    """`due`: epoch seconds of the next attempt; None when time is over. `told`: the client gets the refusal."""
    if outcome.kind is OutcomeKind.DELIVERED:
        return Fate.DELIVERED
    if outcome.kind is OutcomeKind.DEFERRED and due is not None:
        return Fate.WAITS
    if not told and why_withheld(transfer, outcome.rcpt):
        return Fate.WITHHELD
    return Fate.EXPIRED if outcome.kind is OutcomeKind.DEFERRED else Fate.TOLD


Fields = list[tuple[str, str | int | float | bool]]

_TLS_FAILED = "7.5"
_NAMES = {
    Fate.DELIVERED: "delivered",
    Fate.WAITS: "deferred",
    Fate.KEPT: "role-mail-kept",
    Fate.PARKED: "parked",
    Fate.RETURNED: "returned",
    Fate.TOLD: "failed",
    Fate.WITHHELD: "failed",
    Fate.EXPIRED: "failed",
}


def tell(
    transfer: Transfer,
    fates: Sequence[tuple[Outcome, Fate]],
    told: bool,
    due: float | None,
    report: Intake | None,
    started: float,
    ended: float,
) -> tuple[Event, ...]:
    """The events of an attempt. `told`: the client gets the refusal; `report`: the DSN that is sent."""
    events: list[Event] = []
    for outcome, fate in fates:
        try:
            events += _tell_one(transfer, outcome, fate, told, due, started, ended)
        except Exception as error:
            # A reply or an address must not prevent the other events, nor the record of the attempt.
            events.append(Event(_NAMES[fate], transfer.message_id, (("backend", transfer.backend),)))
            fields = (("where", "event"), ("error", repr(error)))
            events.append(Event("error", transfer.message_id, fields, Level.ALARM))
    if report is not None:
        sent = report.transfers[0]
        made: Fields = [("dsn", report.trace.id), ("to", str(transfer.mail_from)), ("backend", sent.backend)]
        events.append(Event("dsn", transfer.message_id, tuple(made)))
    return tuple(events)


def describe_trouble(transfer: Transfer, trouble: str) -> tuple[Event, ...]:
    """The alarm when the consequences of an attempt could not be planned or written in full; none without `trouble`."""
    if not trouble:
        return ()
    fix = f"waypost explain {transfer.message_id}; what is held ends with: waypost queue bounce {transfer.id}"
    fields = (("backend", transfer.backend), ("transfer", transfer.id), ("error", trouble), ("fix", fix))
    return (Event("unplanned", transfer.message_id, fields, Level.ALARM),)


def _tell_one(
    transfer: Transfer, outcome: Outcome, fate: Fate, told: bool, due: float | None, started: float, ended: float
) -> list[Event]:
    fields = _describe(transfer, outcome, started, ended)
    if fate is Fate.WAITS and due is not None:
        fields.append(("due", round(due, 3)))
    if _NAMES[fate] == "failed":
        fields += [("in_session", told), ("expired", outcome.kind is OutcomeKind.DEFERRED)]
    events = [Event(_NAMES[fate], transfer.message_id, tuple(fields), _find_level(outcome, fate))]
    if fate is Fate.WITHHELD:
        why = why_withheld(transfer, outcome.rcpt) or "the DSN could not be made"
        withheld = (("rcpt", str(outcome.rcpt.mailbox)), ("reason", why), ("reply", str(outcome.reply)))
        events.append(Event("dsn-withheld", transfer.message_id, withheld, Level.WARNING))
    return events


def _describe(transfer: Transfer, outcome: Outcome, started: float, ended: float) -> Fields:
    """The destination, the transport and the reply."""
    fields: Fields = [
        ("rcpt", str(outcome.rcpt.mailbox)),
        ("backend", transfer.backend),
        ("remote", outcome.remote_mta),
        ("address", outcome.remote_address),
        ("tls", f"{outcome.tls.version} {outcome.tls.cipher}" if outcome.tls else ""),
        ("certificate", outcome.certificate),
        ("reply", str(outcome.reply)),
        ("scope", outcome.scope),
        ("attempt", transfer.attempts + 1),
        ("seconds", round(ended - started, 3)),
        ("waited", round(ended - transfer.created, 3)),
    ]
    if outcome.kind is not OutcomeKind.DELIVERED:
        refusal = classify_outcome(outcome.reply, outcome.remote_mta, backend=outcome.scope is Scope.OURS)
        fields.append(("cause", refusal.cause.value))
        if _needs_mending(outcome):
            fields.append(("fix", refusal.advice.admin))
    if transfer.sender:
        fields.append(("sender", transfer.sender))
        if transfer.mail_from is not None:
            fields.append(("domain", transfer.mail_from.ascii_domain))
    if outcome.ambiguous:
        fields.append(("ambiguous", True))
    return fields


def _find_level(outcome: Outcome, fate: Fate) -> Level:
    """The level is an alarm when an admin must act or look: a fault of ours, required TLS that cannot be had, and held
    role mail. Blame by a backend is an alarm only when it repeats; its route is then stopped with an alarm."""
    if outcome.kind is OutcomeKind.DELIVERED:
        return Level.INFO
    if fate is Fate.KEPT:
        return Level.ALARM
    if _needs_mending(outcome):
        return Level.WARNING if outcome.remote_mta else Level.ALARM
    return Level.INFO


def _needs_mending(outcome: Outcome) -> bool:
    tls_failed = not outcome.remote_mta and outcome.reply.detail == _TLS_FAILED
    return outcome.scope is Scope.OURS or tls_failed
