"""From a judgement to the exact writes of one reception."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from operator import attrgetter

from gateway.mail import authres, received, verdict
from gateway.mail.domain import is_subdomain
from gateway.mail.header import Field
from gateway.mail.verdict import describe_verdicts
from gateway.model.decision import Action, Decision, RuleHit, Stage
from gateway.model.delivery import TRACE_VERSION, Intake, Trace, Transfer
from gateway.model.dnsdata import Lookup
from gateway.model.envelope import Envelope, IPText, Mailbox, network_of
from gateway.model.event import Event
from gateway.model.history import NOTHING_REMEMBERED, Circumstances
from gateway.model.ingress import EdgeIngress, Ingress, InternalIngress
from gateway.model.message import Content, Departure, Message, Route, Span
from gateway.model.reply import Reply
from gateway.model.result import Authentication, DkimResult, DkimVerdict, SpfIdentity, SpfVerdict
from gateway.model.value import Value, replace
from gateway.plan import sealing
from gateway.plan.client import name_client
from gateway.plan.greylisting import remember, remember_wait, sight
from gateway.plan.holding import make_hold
from gateway.plan.judgement import Judged, Judgement, JudgementContext
from gateway.policy.routing import is_role


def is_proven(mail_from: Mailbox | None, results: Authentication) -> bool:
    """True when its domain lets this client send, or has signed the message."""
    if mail_from is None:
        return False
    if results.spf.result is SpfVerdict.PASS and results.spf.identity is SpfIdentity.MAILFROM:
        return True
    domain = mail_from.ascii_domain
    signers = (one.domain for one in results.dkim if one.result is DkimVerdict.PASS)
    return any(domain == signer or is_subdomain(domain, signer) for signer in signers)


def make_marks(envelope: Envelope, content: Content, ingress: Ingress) -> tuple[bytes, bytes]:
    """Fingerprints that identify a repetition: alike for the same octets, sender and recipients in any order. The first
    one is independent of the address, because the pool of a big provider tries again from elsewhere. The second one
    covers one client network: it is stored for a message that is marked or held. Otherwise a stranger's earlier copy,
    without authentication, would suppress the author's own copy."""
    digest = hashlib.sha256(content.sha256)
    digest.update(str(envelope.mail_from or "").encode("utf-8", "surrogateescape"))
    for rcpt in sorted(map(attrgetter("mailbox.key"), envelope.rcpts)):
        digest.update(b"\0" + rcpt.encode("utf-8", "surrogateescape"))
    anywhere = digest.digest()
    digest.update(b"\0" + (network_of(ingress.client) if ingress.client is not None else "").encode("ascii"))
    return anywhere, digest.digest()


def _choose_mark(arrival: Arrival, message: Message, action: Action) -> bytes:
    return make_marks(arrival.envelope, message.content, arrival.ingress)[action is not Action.ACCEPT]


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
    """The events about a message; `size` in octets, and `results`, if there are any."""
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
    """One event for each shadow rule that matches, and one for a shadow set with a different decision."""
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


class Arrival(Value):
    """One transaction as it came in."""

    id: str
    received: float
    ingress: Ingress
    envelope: Envelope
    message: Message | None
    header: tuple[Field, ...] = ()
    """The message's header, parsed."""
    departure: Departure | None = None
    """The way it leaves, for mail of a sender of ours."""


class PlannedDelivery(Value):
    """The message as it is sent, and its backends."""

    message: Message
    transfers: tuple[Transfer, ...]
    added: tuple[bytes, ...]
    """The fields put above, for all recipients together."""
    omitted: Mapping[str, str]
    sealed: tuple[str, ...]


def compose_fields(
    arrival: Arrival,
    judgement: Judgement,
    envelope: Envelope,
    context: JudgementContext,
    omitted: Mapping[str, str],
    action: str,
) -> tuple[bytes, ...]:
    """The fields put above a message for one route, topmost first, except those that `find_omitted` names. `action` is
    the verdict field's."""
    decision, results, departure = judgement.decision, judgement.authentication, arrival.departure
    # Our results are for our own backends: strangers do not see them.
    leaves = departure is not None and any(
        rcpt.mailbox.ascii_domain not in context.facts.own for rcpt in envelope.rcpts
    )
    fields = []
    if verdict.NAME not in omitted and not leaves:
        fields.append(verdict.compose(action, results.dmarc.result, decision, arrival.id))
    if authres.NAME not in omitted and not leaves:
        fields.append(authres.compose(context.authserv_id, results, arrival.ingress, decision.disposition))
    fields.append(received.compose(arrival.ingress, context.hostname, arrival.id, envelope, arrival.received))
    return (*fields, *departure.above) if departure else tuple(fields)


def find_omitted(
    arrival: Arrival, judgement: Judgement, dropped: Sequence[Span], sealed: bool = False
) -> dict[str, str]:
    """The fields that must not be added, each with the reason (promise P2).

    Received is always added; the verdict field and the results are always added on any action except accept. On an
    accepted message these two, and an ARC set if it is to be `sealed`, are left out when they would break the last
    signature that its DMARC pass rests on. `dropped` is the part of the header that the backend will not see.
    """
    dmarc = judgement.authentication.dmarc
    accepted = judgement.decision.action is Action.ACCEPT
    # An aligned SPF pass does not help: the backend, which sees our address, has only the signatures.
    if not accepted or not any(dmarc.dkim_aligned):
        return {}
    header = _visible(arrival.header, dropped)
    aligned = zip(judgement.authentication.dkim, dmarc.dkim_aligned, strict=True)
    resting = _unharmed(["Received"], [one for one, is_aligned in aligned if is_aligned], header)
    omitted = {}
    optional = [(verdict.NAME,), (authres.NAME,), *([sealing.FIELDS] if sealed else [])]
    for names in optional:
        # One surviving aligned signature is enough for the backend's DMARC pass. Each field is tested against the
        # signatures that the earlier fields left intact: otherwise two fields could each break a different one.
        unharmed = _unharmed(names, resting, header)
        if resting and not unharmed:
            signer = f"the signature of {resting[0].domain} (selector {resting[0].selector})"
            omitted[names[0]] = f"{signer}, on which the DMARC pass rests, forbids one more"
        else:
            resting = unharmed
    return omitted


def _unharmed(names: Sequence[str], signatures: Sequence[DkimResult], header: tuple[Field, ...]) -> list[DkimResult]:
    """The signatures that one more field of each of these names does not break."""
    return [one for one in signatures if not any(verdict.would_break(name, (one,), header) for name in names)]


def _visible(header: tuple[Field, ...], dropped: Sequence[Span]) -> tuple[Field, ...]:
    """The message's own fields, as the backend will see them."""
    starts = {span.start for span in dropped}
    return tuple(field for field in header if field.start not in starts) if starts else header


def take_in(
    arrival: Arrival, judged: Judged, routes: Sequence[Route], context: JudgementContext, claimed: bool
) -> Intake:
    """The writes for a judged message: its trace; for delivery, content and transfers; for holding, the content
    alone."""
    judgement, circumstances = judged.judgement, judged.case.circumstances
    ingress = name_client(arrival.ingress, judgement.authentication.iprev)
    if ingress is not arrival.ingress:
        arrival = replace(arrival, ingress=ingress)
    decision, results = judgement.decision, judgement.authentication
    delivers = arrival.message is not None and decision.action.delivers
    held = arrival.message is not None and decision.action is Action.HOLD
    delivery = plan_delivery(arrival, judgement, routes, context, decision.action) if delivers else None
    message = _without_forged(arrival, context.authserv_id) if delivers or held else None
    trace = _trace(
        arrival,
        decision,
        dropped=message.dropped if message else (),
        authentication=results,
        lookups=judged.window.used,
        circumstances=circumstances,
    )
    if delivery is not None:
        trace = replace(
            trace,
            routes=tuple((rcpt.mailbox.canonical, route.backend) for route in routes for rcpt in route.rcpts),
            added=tuple(field.decode("utf-8", "replace").removesuffix("\r\n") for field in delivery.added),
            omitted=tuple(f"{name}: {reason}" for name, reason in delivery.omitted.items()),
            sealed=delivery.sealed,
        )
    return Intake(
        trace,
        message,
        delivery.transfers if delivery else (),
        claimed=claimed and delivery is not None and bool(delivery.transfers),
        hold=make_hold(results.dmarc, arrival.received, context.hold) if held else None,
        # The message comes again, and is counted then.
        sighting=None if decision.action is Action.GREYLIST else sight(arrival.ingress, results, context.facts),
        # Mail that waits for DNS is not greylisted too.
        acquaintance=remember_wait(circumstances.dns_wait, arrival.received)
        or remember(circumstances.greylisting, decision.action, arrival.received, context.greylist),
        fingerprint=b"" if message is None else _choose_mark(arrival, message, decision.action),
        durable=message is not None,
        events=_announce(arrival, results, decision),
    )


def plan_delivery(
    arrival: Arrival, judgement: Judgement, routes: Sequence[Route], context: JudgementContext, action: str
) -> PlannedDelivery:
    """The planned delivery of a received message to its routes. `action` is the verdict field's."""
    message = _without_forged(arrival, context.authserv_id)
    if message is None:
        raise ValueError(f"{arrival.id} has no content")
    sealed = sealing.find_sealed(context.sealing, routes) if judgement.decision.seal else ()
    omitted = find_omitted(arrival, judgement, message.dropped, bool(sealed))
    arc_set = _seal(arrival, judgement, message, context, omitted) if sealed else ()
    sealed = sealed if arc_set else ()
    envelopes = [replace(arrival.envelope, rcpts=route.rcpts) for route in routes]
    fields = [compose_fields(arrival, judgement, theirs, context, omitted, action) for theirs in envelopes]
    transfers = tuple(
        _transfer(arrival, judgement, route, context, (*(arc_set if route.backend in sealed else ()), *ours))
        for route, ours in zip(routes, fields, strict=True)
    )
    if len(routes) != 1:
        fields = [compose_fields(arrival, judgement, arrival.envelope, context, omitted, action)]
    return PlannedDelivery(message, transfers, (*arc_set, *fields[0]), omitted, sealed)


def refuse(arrival: Arrival, rule: str, reply: Reply, stage: Stage) -> Intake:
    """The trace of a refusal by an invariant, without a judgement of the content."""
    action = Action.DEFER if reply.transient else Action.REJECT
    return turn_away(arrival, Decision(action, rule, "invariant", reply, considered=(RuleHit(rule, stage, True),)))


def turn_away(arrival: Arrival, decision: Decision) -> Intake:
    """The trace of a decision before the content was judged."""
    trace = _trace(arrival, decision)
    return Intake(trace, None, (), claimed=False, durable=False, events=_announce(arrival, None, decision))


def _without_forged(arrival: Arrival, authserv_id: str) -> Message | None:
    """The message without the Authentication-Results fields that claim to be ours (RFC 8601 section 5), and without the
    octets that its departure drops."""
    if arrival.message is None:
        return None
    left = arrival.departure.dropped if arrival.departure else ()
    return replace(arrival.message, dropped=(*authres.own_spans(arrival.header, authserv_id), *left))


def _seal(
    arrival: Arrival, judgement: Judgement, message: Message, context: JudgementContext, omitted: dict[str, str]
) -> tuple[bytes, ...]:
    """Our ARC set; without one `omitted` gives the reason."""
    if context.sealing is None or sealing.NAME in omitted:
        return ()
    results = judgement.authentication
    obstacle = sealing.find_obstacle(results.arc, message.evidence)
    if obstacle:
        omitted[sealing.NAME] = obstacle
        return ()
    header = _visible(arrival.header, message.dropped)
    sealer, ingress, now = context.sealing.sealer, arrival.ingress, arrival.received
    return sealing.compose_set(sealer, context.authserv_id, message.evidence, header, results, ingress, now)


def _transfer(
    arrival: Arrival, judgement: Judgement, route: Route, context: JudgementContext, prefix: tuple[bytes, ...]
) -> Transfer:
    envelope = arrival.envelope
    mail_from = arrival.departure.mail_from if arrival.departure else envelope.mail_from
    return Transfer(
        id=f"{arrival.id}-{route.key}",
        message_id=arrival.id,
        backend=route.backend,
        mail_from=mail_from,
        sender=arrival.departure.sender if arrival.departure else "",
        rewritten=_rewrite(mail_from, route, arrival.received, context),
        rcpts=route.rcpts,
        prefix=b"".join(prefix),
        body=envelope.body,
        smtputf8=envelope.smtputf8,
        ret=envelope.ret,
        envid=envelope.envid,
        created=arrival.received,
        due=arrival.received,
        return_path_verified=_return_path_verified(arrival, judgement.authentication),
        authenticated=_authenticated(arrival, judgement.authentication),
        verdicts=describe_verdicts(judgement.authentication) if isinstance(arrival.ingress, EdgeIngress) else (),
        role=all(is_role(rcpt.mailbox, context.facts.own) for rcpt in envelope.rcpts),
    )


def _rewrite(mail_from: Mailbox | None, route: Route, now: float, context: JudgementContext) -> Mailbox | None:
    """The MAIL FROM for a third party. It judges SPF at our address, which only a domain of ours allows."""
    if mail_from is None or context.srs is None or not route.third_party or mail_from.ascii_domain in context.facts.own:
        return None
    return context.srs.rewrite(mail_from, now)


def _authenticated(arrival: Arrival, results: Authentication) -> bool:
    return isinstance(arrival.ingress, InternalIngress) or results.dmarc.authenticated


def _return_path_verified(arrival: Arrival, results: Authentication) -> bool:
    """A DSN may go to the return path (promise P6): its domain lets this client send, or signed the message, or a
    sender of ours sent it."""
    if arrival.departure is not None:
        return arrival.departure.mail_from is not None
    return is_proven(arrival.envelope.mail_from, results)


def _trace(
    arrival: Arrival,
    decision: Decision,
    dropped: tuple[Span, ...] = (),
    authentication: Authentication | None = None,
    lookups: tuple[Lookup, ...] = (),
    circumstances: Circumstances = NOTHING_REMEMBERED,
) -> Trace:
    ingress, message = arrival.ingress, arrival.message
    return Trace(
        version=TRACE_VERSION,
        id=arrival.id,
        received=arrival.received,
        edge=ingress if isinstance(ingress, EdgeIngress) else None,
        internal=ingress if isinstance(ingress, InternalIngress) else None,
        envelope=arrival.envelope,
        evidence=message.evidence if message else None,
        content=replace(message.content, data=None, path="") if message else None,
        dropped=dropped,
        departure=arrival.departure,
        authentication=authentication,
        lookups=lookups,
        decision=decision,
        routes=(),
        added=(),
        circumstances=circumstances,
    )


def _announce(arrival: Arrival, results: Authentication | None, decision: Decision) -> tuple[Event, ...]:
    size = arrival.message.content.size if arrival.message else None
    return announce(arrival.id, arrival.ingress.client, arrival.envelope, size, results, decision)
