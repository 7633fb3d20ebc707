"""The attempts to deliver a message, the replies, and their meaning."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.mail.refusal import Refusal, classify_outcome
from gateway.model.delivery import Attempt, Outcome, OutcomeKind, Scope, Story
from gateway.model.ingress import Tls
from gateway.model.value import asdict
from gateway.tools import texts
from gateway.tools.results import Json, show_time


def attempt_json(attempt: Attempt) -> dict[str, Json]:
    """Times are epoch seconds."""
    return {
        "transfer": attempt.transfer_id,
        "backend": attempt.backend,
        "started": attempt.started,
        "ended": attempt.ended,
        "outcomes": [_outcome_json(outcome) for outcome in attempt.outcomes],
    }


def attempt_lines(story: Story) -> Iterator[str]:
    """Each attempt, then the times of the next ones."""
    for attempt in story.attempts:
        seconds = f"{attempt.ended - attempt.started:.3f}"
        yield texts.ATTEMPT.format(when=show_time(attempt.started), backend=attempt.backend, seconds=seconds)
        for outcome in attempt.outcomes:
            yield f"  {_tell_outcome(outcome)}"
            refusal = _find_refusal(outcome)
            if refusal is not None:
                yield from (f"    {line}" for line in _meaning_lines(refusal, outcome))
    for transfer in story.waiting:
        rcpts = ", ".join(str(rcpt.mailbox) for rcpt in transfer.rcpts)
        yield texts.NEXT.format(when=show_time(transfer.due), backend=transfer.backend, rcpts=rcpts)


def _tell_outcome(outcome: Outcome) -> str:
    tls = texts.NO_TLS
    if outcome.tls:
        certificate = outcome.certificate or texts.NO_CERTIFICATE
        tls = texts.TLS.format(version=outcome.tls.version, certificate=certificate)
    return texts.OUTCOME.format(
        rcpt=outcome.rcpt.mailbox, kind=outcome.kind, decider=_tell_decider(outcome), tls=tls, reply=outcome.reply
    )


def _tell_decider(outcome: Outcome) -> str:
    """The source of the outcome: a host that answered, or this gateway, when no host did or our own requirement
    failed."""
    if outcome.remote_mta:
        return texts.BY_HOST.format(host=outcome.remote_mta, address=outcome.remote_address or "?")
    return texts.BY_US_ABOUT.format(address=outcome.remote_address) if outcome.remote_address else texts.BY_US


def tls_json(tls: Tls | None) -> Json:
    return asdict(tls) if tls else None


def _outcome_json(outcome: Outcome) -> dict[str, Json]:
    refusal = _find_refusal(outcome)
    return {
        "rcpt": str(outcome.rcpt.mailbox),
        "kind": outcome.kind.value,
        "host": outcome.remote_mta or None,
        "address": outcome.remote_address or None,
        "tls": tls_json(outcome.tls),
        "certificate": outcome.certificate or None,
        "reply": str(outcome.reply),
        "scope": outcome.scope.value,
        "ambiguous": outcome.ambiguous,
        "refusal": _refusal_json(refusal) if refusal is not None else None,
    }


def _find_refusal(outcome: Outcome) -> Refusal | None:
    """The meaning of the reply; None for a delivery."""
    if outcome.kind is OutcomeKind.DELIVERED:
        return None
    return classify_outcome(outcome.reply, outcome.remote_mta, backend=outcome.scope is Scope.OURS)


def _refusal_json(refusal: Refusal) -> dict[str, Json]:
    return {
        "cause": refusal.cause.value,
        "provider": refusal.provider.label or None,
        "relayed_by": refusal.relay.label if refusal.relay else None,
        "means": refusal.advice.summary,
        "fix": refusal.advice.admin,
        "never": refusal.advice.never or None,
    }


def _meaning_lines(refusal: Refusal, outcome: Outcome) -> Iterator[str]:
    provider = texts.CAUSE_AT.format(provider=refusal.provider.label) if refusal.provider.label else ""
    relay = texts.CAUSE_BEHIND.format(relay=refusal.relay.label) if refusal.relay and refusal.relay.label else ""
    yield texts.CAUSE.format(cause=refusal.cause, provider=provider, relay=relay)
    yield refusal.advice.summary
    if outcome.scope is Scope.OURS:
        yield texts.TO_DO.format(advice=refusal.advice.admin)
    if refusal.advice.never:
        yield refusal.advice.never
