"""A message's story in plain words: the sender and its proof, the results of the checks, and the rule that decided.

In: a `Trace`. Out: sentences, free of control characters. No verdict is made here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.mail.printable import clean as clean
from gateway.model.decision import Action, Decision
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
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.policy.grounds import ADDED_FIELD, AUTHOR_SIGNATURE, author_signature

_PROOFS = {
    ClientSource.PEER: "the address is that of the TCP connection",
    ClientSource.PROXY: "the balancer {peer} gave the address in its PROXY header",
    ClientSource.XCLIENT: "the relay {peer} gave the address by XCLIENT",
}
_SPF_SAYS = {
    SpfVerdict.PASS: "lets {client} send",
    SpfVerdict.FAIL: "does not let {client} send",
    SpfVerdict.SOFTFAIL: "says {client} is probably none of its senders",
    SpfVerdict.NEUTRAL: "does not say whether {client} may send",
    SpfVerdict.NONE: "says nothing about its senders",
    SpfVerdict.PERMERROR: "has a record that cannot be used",
    SpfVerdict.TEMPERROR: "could not be asked",
}
_GROUNDS = {
    "own-domain": "the author domain is one of ours",
    "protected": "the author domain is one that the configuration protects",
    "strange-source": "the author domain's mail passes here, and from this source it never has",
    "direct-spoof": "the author domain signed nothing, and nothing shows a list or forwarder on the way",
}
_ACTIONS = {
    Action.ACCEPT: "accept it",
    Action.QUARANTINE: "deliver it, marked for the junk folder",
    Action.HOLD: "keep it here until an admin decides",
    Action.DEFER: "ask the client to try again later",
    Action.REJECT: "refuse it",
    Action.GREYLIST: "ask the client to try again later, as it is unknown here",
}


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
        return "Where it came from was not recorded."
    name = f" ({edge.rdns})" if edge.rdns else ""
    helo = f'which called itself "{edge.helo}"' if edge.helo else "which gave no name"
    if edge.client is None:
        return f"It came through {edge.peer}, {helo}. The true client is unknown: {edge.reason}."
    return f"It came from {edge.client}{name}, {helo}: {tell_proof(edge)}."


def tell_proof(edge: EdgeIngress) -> str:
    """The proof of the client's address, or the reason why it is unknown."""
    if edge.client is None:
        return edge.reason
    if edge.source is not ClientSource.RECEIVED:
        return _PROOFS[edge.source].format(peer=edge.peer)
    if not edge.via:
        return f"our relay {edge.peer} recorded the address in its Received line"
    *nearer, last = edge.via
    between = f", from which it came here through {' and '.join(reversed(nearer))}" if nearer else ""
    return f"our relay {last} recorded the address in its Received line{between}"


def _tell_inside(internal: InternalIngress, departure: Departure | None) -> str:
    login = f", logged in as {internal.login}" if internal.login else ""
    if departure is not None:
        signed = sum(field.startswith(b"DKIM-Signature:") for field in departure.above)
        return (
            f"It came from {internal.client}{login}, to be sent for {departure.by}. On its way out it was signed with "
            f"{signed} keys of ours. SPF is the receiver's question."
        )
    return (
        f"It came from {internal.client}{login}, which is trusted ({internal.trusted_by}): it crossed no border here, "
        "so SPF was no question."
    )


def _tell_departure(trace: Trace) -> Iterator[str]:
    """The sender's settings that replaced the client's own words."""
    departure = trace.departure
    if departure is None:
        return
    if departure.mail_from != trace.envelope.mail_from:
        said = trace.envelope.mail_from or ""
        own = departure.mail_from or ""
        yield f"It left with the envelope sender <{own}> in place of <{said}>, which is not the sender's."
    for field in departure.above:
        if field.lower().startswith(b"from:"):
            author = field.partition(b":")[2].strip().decode("utf-8", "replace")
            yield f"Its From was not the sender's: {author} was put in its place."


def _tell_envelope(envelope: Envelope) -> str:
    sender = f"<{envelope.mail_from}>" if envelope.mail_from else "the null sender <>"
    rcpts = [str(rcpt.mailbox) for rcpt in envelope.rcpts]
    shown = ", ".join(rcpts[:5]) + (f" and {len(rcpts) - 5} more" if len(rcpts) > 5 else "")
    return f"The envelope: from {sender} to {shown or 'nobody'}."


def _tell_results(trace: Trace, authentication: Authentication) -> Iterator[str]:
    dmarc = authentication.dmarc
    if dmarc.domain:
        yield f"The author, as the header From says, is at {dmarc.domain}: DMARC asks who stands behind that name."
    yield _tell_spf(authentication.spf, dmarc, trace.edge)
    if not authentication.dkim:
        yield "DKIM: it carries no signature."
    for number, signature in enumerate(authentication.dkim):
        yield _tell_signature(signature, number < len(dmarc.dkim_aligned) and dmarc.dkim_aligned[number], dmarc)
    if authentication.arc.result is not ArcVerdict.NONE:
        yield _tell_arc(authentication.arc)
    yield from _tell_dmarc(dmarc)
    yield from _tell_client(authentication)


def _tell_spf(spf: SpfResult, dmarc: DmarcResult, edge: EdgeIngress | None) -> str:
    why = f" ({spf.mechanism or spf.reason})" if spf.mechanism or spf.reason else ""
    if edge is None or edge.client is None or not spf.domain:
        return f"SPF: {spf.result}{why}."
    says = _SPF_SAYS[spf.result].format(client=edge.client)
    name = "the HELO name" if spf.identity is SpfIdentity.HELO else "the envelope's domain"
    return f"SPF: {spf.domain}, {name}, {says}: {spf.result}{why}.{_alignment(spf, dmarc)}"


def _alignment(spf: SpfResult, dmarc: DmarcResult) -> str:
    if spf.result is not SpfVerdict.PASS or not dmarc.domain:
        return ""
    if dmarc.spf_aligned or spf.domain == dmarc.domain:
        return f" {_same_or_aligned(spf.domain, dmarc)}"
    return f" But {spf.domain} is not aligned with {dmarc.domain}, so it proves nothing about the author."


def _same_or_aligned(domain: str, dmarc: DmarcResult) -> str:
    return "That is the author's own domain." if domain == dmarc.domain else f"{domain} is aligned with {dmarc.domain}."


def _tell_signature(signature: DkimResult, aligned: bool, dmarc: DmarcResult) -> str:
    who = f"{signature.domain or 'nobody readable'} (selector {signature.selector or '?'})"
    why = f" ({signature.reason})" if signature.reason else ""
    told = f"DKIM: the signature of {who}: {signature.result}{why}."
    if signature.result is not DkimVerdict.PASS or not dmarc.domain:
        return told
    if aligned or signature.domain == dmarc.domain:
        return f"{told} {_same_or_aligned(signature.domain, dmarc)}"
    return f"{told} It is not aligned with {dmarc.domain}."


def _tell_arc(arc: ArcResult) -> str:
    why = f" ({arc.reason})" if arc.reason else ""
    return f"ARC: {arc.result}{why}, sealed by {', '.join(arc.sealers) or 'nobody readable'}."


def _tell_dmarc(dmarc: DmarcResult) -> Iterator[str]:
    if dmarc.record:
        yield f'DMARC: the record at {dmarc.policy_domain} is "{dmarc.record}".'
    why = f" ({dmarc.reason})" if dmarc.reason else ""
    if dmarc.result is DmarcVerdict.FAIL and dmarc.policy:
        changed = "" if dmarc.policy is dmarc.published else f", so that p={dmarc.policy} applies"
        yield (
            f"DMARC: fail{why}. Neither SPF nor DKIM passed for a domain aligned with {dmarc.domain}; "
            f"the record asks for p={dmarc.published}{changed}."
        )
    elif dmarc.result is DmarcVerdict.PASS:
        by = [name for name, aligned in (("SPF", dmarc.spf_aligned), ("DKIM", any(dmarc.dkim_aligned))) if aligned]
        yield f"DMARC: pass{why}, by aligned {' and '.join(by) or 'results'}."
    else:
        yield f"DMARC: {dmarc.result}{why}."


def _tell_client(authentication: Authentication) -> Iterator[str]:
    iprev, dnsbl = authentication.iprev, authentication.dnsbl
    if iprev.result is IprevVerdict.PASS:
        yield f"Reverse DNS: pass. The client's address is named {iprev.name}, and that name leads back to it."
    elif iprev.result is not IprevVerdict.NONE:
        yield f"Reverse DNS: {iprev.result} ({iprev.reason})."
    if dnsbl.asked:
        yield f"Block lists: the client is on {', '.join(dnsbl.listed) or 'none'} of {', '.join(dnsbl.asked)}."
    if dnsbl.errors:
        yield f"Block lists without a usable answer: {', '.join(dnsbl.errors)}."


def _tell_greylisting(trace: Trace) -> Iterator[str]:
    known = trace.circumstances.greylisting
    if known is None:
        return
    since = f"{trace.received - known.first:.0f} s after the first try" if known.first < trace.received else "at first"
    what = "it was to come back" if known.wait else "it had waited, or been let in before"
    yield f"The greylist knows its sender as `{known.key}`: {since}, {what}."


def _tell_decision(decision: Decision, authentication: Authentication | None) -> Iterator[str]:
    sources = {finding.name: finding.source for finding in decision.findings if finding.name != ADDED_FIELD}
    for ground in decision.grounds:
        said = f": {_GROUNDS[ground]}" if ground in _GROUNDS else ""
        seen = f" ({sources.pop(ground)})" if ground in sources else ""
        yield f"Ground beyond the published record: {ground}{said}{seen}."
    left_open = [finding.source for finding in decision.findings if finding.name == ADDED_FIELD]
    if left_open:
        yield f"The signature covers one field of a name, and another stands above it: {', '.join(left_open)}."
    for evidence in _find_signs(sources, authentication):
        source = sources[evidence]
        yield f"It may have taken an indirect way: {evidence} ({source})."
    for override in decision.overrides:
        yield f"The published policy was not followed ({override.type}): {override.comment}."
    matched = any(hit.matched for hit in decision.considered)
    who = f'Rule "{decision.rule}"' if matched else f'No rule matched, so "{decision.rule}"'
    what = f"{_ACTIONS[decision.action]}: {decision.action}, answered `{decision.reply}`"
    yield f'{who} of set "{decision.rule_set}" decided to {what}.'
    if decision.would is not None:
        would = decision.would
        yield f'Set "{would.rule_set}" would {_ACTIONS[would.action]}, by rule "{would.rule}".'


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
