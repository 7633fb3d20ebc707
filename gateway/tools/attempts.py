"""The attempts to deliver a message, the replies, and their meaning."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.mail.refusal import Refusal, classify
from gateway.model.delivery import Attempt, Outcome, OutcomeKind, Scope, Story
from gateway.model.ingress import Tls
from gateway.model.value import asdict
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
        seconds = attempt.ended - attempt.started
        yield f"{show_time(attempt.started)} to {attempt.backend}, {seconds:.3f} s"
        for outcome in attempt.outcomes:
            tls = f"{outcome.tls.version}, certificate {outcome.certificate or 'unknown'}" if outcome.tls else "no TLS"
            yield f"  {outcome.rcpt.mailbox}: {outcome.kind} {_tell_decider(outcome)}, {tls}: {outcome.reply}"
            refusal = _find_refusal(outcome)
            if refusal is not None:
                yield from (f"    {line}" for line in _meaning_lines(refusal, outcome))
    for transfer in story.waiting:
        rcpts = ", ".join(str(rcpt.mailbox) for rcpt in transfer.rcpts)
        yield f"next: {show_time(transfer.due)} to {transfer.backend} for {rcpts}"


def _tell_decider(outcome: Outcome) -> str:
    """The source of the outcome: a host that answered, or this gateway, when no host did or our own requirement
    failed."""
    if outcome.remote_mta:
        return f"by {outcome.remote_mta} [{outcome.remote_address or '?'}]"
    asked = f", about the host [{outcome.remote_address}]" if outcome.remote_address else ", no host was reached"
    return f"by this gateway itself{asked}"


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
    return classify(outcome.reply, outcome.remote_mta, backend=outcome.scope is Scope.OURS)


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
    who = refusal.provider.label
    by = f" at {who}" if who else ""
    behind = f", behind {refusal.relay.label}" if refusal.relay and refusal.relay.label else ""
    yield f"cause: {refusal.cause}{by}{behind}"
    yield refusal.advice.summary
    if outcome.scope is Scope.OURS:
        yield f"to do: {refusal.advice.admin}"
    if refusal.advice.never:
        yield refusal.advice.never
