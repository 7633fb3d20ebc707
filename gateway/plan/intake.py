"""From a judgement to the exact writes of one reception."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.authentication.lookup import Window
from gateway.mail import authres, received, verdict
from gateway.mail.domain import is_subdomain
from gateway.mail.header import Field, parse_header
from gateway.model.decision import Action, Decision, RuleHit, Stage
from gateway.model.delivery import Intake, Trace, Transfer
from gateway.model.dnsdata import Lookup
from gateway.model.envelope import Envelope
from gateway.model.event import Event
from gateway.model.ingress import EdgeIngress, Ingress, InternalIngress
from gateway.model.message import Message, Span
from gateway.model.reply import Reply
from gateway.model.result import Authentication, DkimVerdict, DmarcVerdict, SpfIdentity, SpfVerdict
from gateway.model.route import Route
from gateway.plan.judgement import Bench, Judgement


@dataclass(frozen=True, slots=True)
class Arrival:
    """One transaction as it came in."""

    id: str
    received: float
    ingress: Ingress
    envelope: Envelope
    message: Message | None


def compose_fields(arrival: Arrival, judgement: Judgement, envelope: Envelope, bench: Bench) -> tuple[bytes, ...]:
    """The fields put above a message for one route, topmost first.

    Received always; the verdict field on any action but accept always. What remains is left out where it would break
    a signature on which an accepted message's DMARC pass rests (promise P2).
    """
    decision, results = judgement.decision, judgement.authentication
    header = _read_kept(arrival.message, bench.authserv_id) if arrival.message else ()
    fields = []
    if decision.action is not Action.ACCEPT or not _breaks("x-waypost-verdict", results, header):
        fields.append(verdict.compose(decision.action, results.dmarc.result, decision.rule, arrival.id))
    if decision.action is not Action.ACCEPT or not _breaks("authentication-results", results, header):
        fields.append(authres.compose(bench.authserv_id, results, arrival.ingress, decision.disposition))
    fields.append(received.compose(arrival.ingress, bench.hostname, arrival.id, envelope, arrival.received))
    return tuple(fields)


def _read_kept(message: Message, authserv_id: str) -> tuple[Field, ...]:
    """The message's fields as the backend will see them: without those that are dropped."""
    header = parse_header(message.evidence.header)
    starts = {span.start for span in authres.own_spans(header, authserv_id)}
    return tuple(field for field in header if field.start not in starts)


def _breaks(name: str, results: Authentication, header: tuple[Field, ...]) -> bool:
    """A field of this name above would break a signature that DMARC's pass rests on."""
    dmarc = results.dmarc
    # An aligned SPF pass does not help: the backend, which sees our address, has only the signatures.
    if dmarc.result is not DmarcVerdict.PASS:
        return False
    resting = tuple(one for one, aligned in zip(results.dkim, dmarc.dkim_aligned, strict=True) if aligned)
    # One unharmed aligned signature is enough for the backend's DMARC pass.
    return bool(resting) and all(verdict.would_break(name, (one,), header) for one in resting)


def take_in(
    arrival: Arrival, judgement: Judgement, window: Window, routes: Sequence[Route], bench: Bench, claimed: bool
) -> Intake:
    """The writes for a judged message: its trace and, when it is delivered, content and transfers."""
    decision = judgement.decision
    kept = arrival.message is not None and decision.action.delivers
    message = _without_forged(arrival.message, bench.authserv_id) if arrival.message and kept else None
    transfers = tuple(_transfer(arrival, judgement, route, bench) for route in routes) if kept else ()
    added = compose_fields(arrival, judgement, arrival.envelope, bench) if kept else ()
    trace = _trace(
        arrival,
        decision,
        dropped=message.dropped if message else (),
        authentication=judgement.authentication,
        lookups=window.used,
        routes=tuple(
            (rcpt.mailbox.canonical, route.backend) for route in (routes if kept else ()) for rcpt in route.rcpts
        ),
        added=tuple(field.decode("utf-8", "replace").removesuffix("\r\n") for field in added),
    )
    return Intake(
        trace,
        message,
        transfers,
        claimed=claimed and bool(transfers),
        durable=message is not None,
        events=(_judged(arrival, judgement.authentication, decision),),
    )


def refuse(arrival: Arrival, rule: str, reply: Reply, stage: Stage) -> Intake:
    """The trace of what was refused without a judgement of its content."""
    action = Action.DEFER if reply.transient else Action.REJECT
    decision = Decision(action, rule, "invariant", reply, considered=(RuleHit(rule, stage, True),))
    trace = _trace(arrival, decision)
    return Intake(trace, None, (), claimed=False, durable=False, events=(_judged(arrival, None, decision),))


def _without_forged(message: Message, authserv_id: str) -> Message:
    """The message less the Authentication-Results fields that claim to be ours (RFC 8601 section 5)."""
    spans = authres.own_spans(parse_header(message.evidence.header), authserv_id)
    return Message(message.content, message.evidence, spans)


def _transfer(arrival: Arrival, judgement: Judgement, route: Route, bench: Bench) -> Transfer:
    envelope = arrival.envelope
    theirs = replace(envelope, rcpts=route.rcpts)
    return Transfer(
        id=f"{arrival.id}-{route.key}",
        message_id=arrival.id,
        backend=route.backend,
        mail_from=envelope.mail_from,
        rcpts=route.rcpts,
        prefix=b"".join(compose_fields(arrival, judgement, theirs, bench)),
        body=envelope.body,
        smtputf8=envelope.smtputf8,
        ret=envelope.ret,
        envid=envelope.envid,
        created=arrival.received,
        due=arrival.received,
        return_path_verified=_return_path_verified(arrival, judgement.authentication),
    )


def _return_path_verified(arrival: Arrival, results: Authentication) -> bool:
    """A DSN may go to the return path (promise P6): its domain lets this client send, or signed the message, or the
    client logged in."""
    if arrival.envelope.mail_from is None:
        return False
    if isinstance(arrival.ingress, InternalIngress) and arrival.ingress.login:
        return True
    if results.spf.result is SpfVerdict.PASS and results.spf.identity is SpfIdentity.MAILFROM:
        return True
    domain = arrival.envelope.mail_from.ascii_domain
    signers = (one.domain for one in results.dkim if one.result is DkimVerdict.PASS)
    return any(domain == signer or is_subdomain(domain, signer) for signer in signers)


def _trace(
    arrival: Arrival,
    decision: Decision,
    dropped: tuple[Span, ...] = (),
    authentication: Authentication | None = None,
    lookups: tuple[Lookup, ...] = (),
    routes: tuple[tuple[str, str], ...] = (),
    added: tuple[str, ...] = (),
) -> Trace:
    ingress, message = arrival.ingress, arrival.message
    return Trace(
        id=arrival.id,
        received=arrival.received,
        edge=ingress if isinstance(ingress, EdgeIngress) else None,
        internal=ingress if isinstance(ingress, InternalIngress) else None,
        envelope=arrival.envelope,
        evidence=message.evidence if message else None,
        content=replace(message.content, data=None, path="") if message else None,
        dropped=dropped,
        authentication=authentication,
        lookups=lookups,
        decision=decision,
        routes=routes,
        added=added,
    )


_EVENT_NAMES = {Action.REJECT: "refused", Action.DEFER: "deferred-client", Action.GREYLIST: "deferred-client"}


def _judged(arrival: Arrival, results: Authentication | None, decision: Decision) -> Event:
    """The one event of a reception."""
    envelope = arrival.envelope
    fields: list[tuple[str, str | int | float | bool]] = [
        ("action", decision.action),
        ("rule", decision.rule),
        ("client", arrival.ingress.client or "unknown"),
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
    if arrival.message is not None:
        fields.append(("size", arrival.message.content.size))
    if decision.overrides:
        fields.append(("override", "; ".join(f"{one.type}: {one.comment}" for one in decision.overrides)))
    return Event(_EVENT_NAMES.get(decision.action, "accepted"), arrival.id, tuple(fields))
