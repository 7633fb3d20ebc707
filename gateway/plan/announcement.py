"""The events of a reception: what was decided, and what the rules and sets beside the live ones would have decided."""

from __future__ import annotations

from gateway.model.address import IPText
from gateway.model.decision import Action, Decision
from gateway.model.envelope import Envelope
from gateway.model.event import Event
from gateway.model.result import Authentication

_NAMES = {
    Action.HOLD: "held",
    Action.REJECT: "refused",
    Action.DEFER: "deferred-client",
    Action.GREYLIST: "deferred-client",
}


def announce(
    id: str,
    client: IPText | None,
    envelope: Envelope,
    size: int | None,
    results: Authentication | None,
    decision: Decision,
) -> tuple[Event, ...]:
    """What is told of a message; `size` in octets, and `results`, where there are any."""
    fields: list[tuple[str, str | int | float | bool]] = [
        ("action", decision.action),
        ("rule", decision.rule),
        ("client", client or "unknown"),
        ("mail_from", str(envelope.mail_from or "")),
        ("rcpts", len(envelope.rcpts)),
        ("reply", str(decision.reply)),
    ]
    if results is not None:
        fields += [
            ("from", results.dmarc.domain),
            ("spf", results.spf.result),
            ("dkim", ",".join(one.result for one in results.dkim) or "none"),
            ("dmarc", results.dmarc.result),
        ]
    if size is not None:
        fields.append(("size", size))
    if decision.would is not None and decision.would.action is not decision.action:
        fields += [("would", decision.would.action), ("would_rule", decision.would.rule)]
    if decision.overrides:
        fields.append(("override", "; ".join(f"{one.type}: {one.comment}" for one in decision.overrides)))
    return Event(_NAMES.get(decision.action, "accepted"), id, tuple(fields)), *_tell_shadow(id, decision)


def _tell_shadow(id: str, decision: Decision) -> list[Event]:
    """One event for each shadow rule that holds, and one for a shadow set that would have done something else."""
    events = [
        Event("shadow", id, (("set", decision.rule_set), ("rule", hit.rule), ("live", decision.action)))
        for hit in decision.shadow
        if hit.matched
    ]
    aside = decision.shadow_set
    if aside is not None and aside.action is not decision.action:
        said = (("set", aside.rule_set), ("rule", aside.rule), ("action", aside.action), ("live", decision.action))
        events.append(Event("shadow", id, said))
    return events
