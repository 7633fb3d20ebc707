"""A message's story in plain words: the sender and its proof, the results of the checks, and the rule that decided.

In: a `Trace`. Out: sentences, free of control characters. No verdict is made here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.mail.printable import clean as clean
from gateway.model.decision import Decision
from gateway.model.delivery import Trace
from gateway.model.envelope import Envelope
from gateway.model.ingress import ClientSource, EdgeIngress, InternalIngress
from gateway.model.message import Departure
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcResult,
    DmarcVerdict,
    IprevVerdict,
    SpfResult,
    SpfVerdict,
)
from gateway.policy.grounds import ADDED_FIELD, AUTHOR_SIGNATURE, author_signature
from gateway.tools import texts


def narrate(trace: Trace) -> list[str]:
    """The story, a sentence or two for each step, in order of time."""
    told = [_tell_ingress(trace), *_tell_departure(trace), _tell_envelope(trace.envelope)]
    if trace.authentication is not None:
        told += _tell_results(trace, trace.authentication)
    told += _tell_greylisting(trace)
    told += _tell_decision(trace.decision, trace.authentication)
    return [clean(sentence) for sentence in told]


def _tell_ingress(trace: Trace) -> str:
    if trace.internal is not None:
        return _tell_inside(trace.internal, trace.departure)
    edge = trace.edge
    if edge is None:
        return texts.NO_ORIGIN
    helo = texts.HELO.format(helo=edge.helo) if edge.helo else texts.NO_HELO
    if edge.client is None:
        return texts.CAME_UNKNOWN.format(peer=edge.peer, helo=helo, reason=edge.reason)
    name = texts.REVERSE_NAME.format(name=edge.rdns) if edge.rdns else ""
    return texts.CAME.format(client=edge.client, name=name, helo=helo, proof=tell_proof(edge))


def tell_proof(edge: EdgeIngress) -> str:
    """The proof of the client's address, or the reason why it is unknown."""
    if edge.client is None:
        return edge.reason
    if edge.source is not ClientSource.RECEIVED:
        return texts.PROOFS[edge.source].format(peer=edge.peer)
    *nearer, last = edge.via or (str(edge.peer),)
    way = texts.WAY.format(relays=texts.AND.join(reversed(nearer))) if nearer else ""
    return texts.PROOFS[edge.source].format(relay=last, way=way)


def _tell_inside(internal: InternalIngress, departure: Departure | None) -> str:
    login = texts.LOGGED_IN.format(login=internal.login) if internal.login else ""
    if departure is None:
        return texts.CAME_INSIDE.format(client=internal.client, login=login, trust=internal.trusted_by)
    signed = sum(field.startswith(b"DKIM-Signature:") for field in departure.above)
    return texts.CAME_TO_LEAVE.format(client=internal.client, login=login, sender=departure.by, count=signed)


def _tell_departure(trace: Trace) -> Iterator[str]:
    """The sender's settings that replaced the client's own words."""
    departure = trace.departure
    if departure is None:
        return
    if departure.mail_from != trace.envelope.mail_from:
        yield texts.OTHER_SENDER.format(own=departure.mail_from or "", said=trace.envelope.mail_from or "")
    for field in departure.above:
        if field.lower().startswith(b"from:"):
            author = field.partition(b":")[2].strip().decode("utf-8", "replace")
            yield texts.OTHER_AUTHOR.format(author=author)


def _tell_envelope(envelope: Envelope) -> str:
    sender = f"<{envelope.mail_from}>" if envelope.mail_from else texts.NULL_SENDER
    rcpts = [str(rcpt.mailbox) for rcpt in envelope.rcpts]
    shown = ", ".join(rcpts[:5]) or texts.NOBODY
    if len(rcpts) > 5:
        shown = texts.MORE_RCPTS.format(rcpts=shown, count=len(rcpts) - 5)
    return texts.ENVELOPE.format(sender=sender, rcpts=shown)


def _tell_results(trace: Trace, authentication: Authentication) -> Iterator[str]:
    dmarc = authentication.dmarc
    if dmarc.domain:
        yield texts.AUTHOR.format(domain=dmarc.domain)
    yield _tell_spf(authentication.spf, dmarc, trace.edge)
    if not authentication.dkim:
        yield texts.UNSIGNED
    for number, signature in enumerate(authentication.dkim):
        yield _tell_signature(signature, number < len(dmarc.dkim_aligned) and dmarc.dkim_aligned[number], dmarc)
    if authentication.arc.result is not ArcVerdict.NONE:
        yield _tell_arc(authentication.arc)
    yield from _tell_dmarc(dmarc)
    yield from _tell_client(authentication)


def _why(reason: str) -> str:
    return texts.WHY.format(reason=reason) if reason else ""


def _tell_spf(spf: SpfResult, dmarc: DmarcResult, edge: EdgeIngress | None) -> str:
    why = _why(spf.mechanism or spf.reason)
    if edge is None or edge.client is None or not spf.domain:
        return texts.SPF_ALONE.format(result=spf.result, why=why)
    aligned = ""
    if spf.result is SpfVerdict.PASS and dmarc.domain:
        mine = dmarc.spf_aligned or spf.domain == dmarc.domain
        aligned = _tell_aligned(spf.domain, dmarc) if mine else texts.SPF_NOT_ALIGNED
    return texts.SPF.format(
        domain=spf.domain,
        identity=texts.SPF_IDENTITIES[spf.identity],
        says=texts.SPF_SAYS[spf.result].format(client=edge.client),
        result=spf.result,
        why=why,
        aligned=aligned.format(domain=spf.domain, author=dmarc.domain),
    )


def _tell_aligned(domain: str, dmarc: DmarcResult) -> str:
    return texts.OWN_DOMAIN if domain == dmarc.domain else texts.ALIGNED


def _tell_signature(signature: DkimResult, aligned: bool, dmarc: DmarcResult) -> str:
    told = ""
    if signature.result is DkimVerdict.PASS and dmarc.domain:
        mine = aligned or signature.domain == dmarc.domain
        told = _tell_aligned(signature.domain, dmarc) if mine else texts.DKIM_NOT_ALIGNED
    return texts.DKIM.format(
        domain=signature.domain or texts.UNREADABLE,
        selector=signature.selector or "?",
        result=signature.result,
        why=_why(signature.reason),
        aligned=told.format(domain=signature.domain, author=dmarc.domain),
    )


def _tell_arc(arc: ArcResult) -> str:
    sealers = ", ".join(arc.sealers) or texts.UNREADABLE
    return texts.ARC.format(result=arc.result, why=_why(arc.reason), sealers=sealers)


def _tell_dmarc(dmarc: DmarcResult) -> Iterator[str]:
    if dmarc.record:
        yield texts.DMARC_RECORD.format(domain=dmarc.policy_domain, record=dmarc.record)
    why = _why(dmarc.reason)
    if dmarc.result is DmarcVerdict.FAIL and dmarc.policy:
        applied = "" if dmarc.policy is dmarc.published else texts.APPLIED.format(policy=dmarc.policy)
        yield texts.DMARC_FAIL.format(why=why, author=dmarc.domain, published=dmarc.published, applied=applied)
    elif dmarc.result is DmarcVerdict.PASS:
        by = (("spf", dmarc.spf_aligned), ("dkim", any(dmarc.dkim_aligned)))
        methods = [texts.DMARC_METHODS[method] for method, aligned in by if aligned]
        yield texts.DMARC_PASS.format(why=why, methods=texts.AND.join(methods))
    else:
        yield texts.DMARC.format(result=dmarc.result, why=why)


def _tell_client(authentication: Authentication) -> Iterator[str]:
    iprev, dnsbl = authentication.iprev, authentication.dnsbl
    if iprev.result is IprevVerdict.PASS:
        yield texts.REVERSE_DNS.format(name=iprev.name)
    elif iprev.result is not IprevVerdict.NONE:
        yield texts.REVERSE_DNS_ELSE.format(result=iprev.result, reason=iprev.reason)
    if dnsbl.asked:
        listed = ", ".join(dnsbl.listed) or texts.ON_NONE
        yield texts.BLOCK_LISTS.format(listed=listed, asked=", ".join(dnsbl.asked))
    if dnsbl.errors:
        yield texts.BLOCK_LIST_ERRORS.format(lists=", ".join(dnsbl.errors))


def _tell_greylisting(trace: Trace) -> Iterator[str]:
    known = trace.circumstances.greylisting
    if known is None:
        return
    seconds = trace.received - known.first
    since = texts.GREYLIST_SINCE.format(seconds=f"{seconds:.0f}") if seconds > 0 else texts.GREYLIST_FIRST
    what = texts.GREYLIST_WAITS if known.wait else texts.GREYLIST_WAITED
    yield texts.GREYLIST.format(key=known.key, since=since, what=what)


def _tell_decision(decision: Decision, authentication: Authentication | None) -> Iterator[str]:
    sources = {finding.name: finding.source for finding in decision.findings if finding.name != ADDED_FIELD}
    for ground in decision.grounds:
        meaning = texts.GROUND_MEANING.format(meaning=texts.GROUNDS[ground]) if ground in texts.GROUNDS else ""
        seen = _why(sources.pop(ground, ""))
        yield texts.GROUND.format(ground=ground, meaning=meaning, seen=seen)
    left_open = [finding.source for finding in decision.findings if finding.name == ADDED_FIELD]
    if left_open:
        yield texts.ADDED_FIELD.format(fields=", ".join(left_open))
    for evidence in _find_signs(sources, authentication):
        yield texts.INDIRECT.format(evidence=evidence, source=sources[evidence])
    for override in decision.overrides:
        yield texts.OVERRIDE.format(type=override.type, comment=override.comment)
    matched = any(hit.matched for hit in decision.considered)
    yield texts.DECISION.format(
        rule=(texts.RULE if matched else texts.NO_RULE).format(rule=decision.rule),
        rule_set=decision.rule_set,
        action=texts.ACTIONS[decision.action],
        word=decision.action,
        reply=decision.reply,
    )
    would = decision.would
    if would is not None:
        yield texts.WOULD.format(rule_set=would.rule_set, action=texts.ACTIONS[would.action], rule=would.rule)


def _find_signs(evidence: Collection[str], authentication: Authentication | None) -> list[str]:
    """The evidence that concerns this message's way: none when DMARC passes, and a signature of the author's
    organization only when it is broken."""
    if authentication is None:
        return list(evidence)
    dmarc = authentication.dmarc
    if dmarc.result is DmarcVerdict.PASS:
        return []
    unbroken = author_signature(dmarc.domain, dmarc.organizational_domain, authentication.dkim) == "pass"
    return [name for name in evidence if not (unbroken and name == AUTHOR_SIGNATURE)]
