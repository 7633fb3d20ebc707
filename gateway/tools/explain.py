"""Everything known of one message: for people as a story with its evidence, for programs as JSON.

In: a `Story` from the spool and the results of checking it. Out: rich renderables, or plain JSON values.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from gateway.mail.header import decode_words, fields, parse_header, unfold
from gateway.mail.path import encode_xtext
from gateway.model.delivery import TRACE_VERSION, Act, Final, Story, Trace
from gateway.model.envelope import Envelope
from gateway.model.ingress import InternalIngress
from gateway.model.result import Authentication
from gateway.model.value import Value, asdict
from gateway.tools import texts
from gateway.tools.attempts import attempt_json, attempt_lines, tls_json
from gateway.tools.narrative import clean, narrate, tell_proof
from gateway.tools.results import (
    Json,
    decision_json,
    lookup_json,
    render_section,
    results_json,
    routes_json,
    safe_json,
    show_time,
    show_times,
    spf_json,
)

if TYPE_CHECKING:
    from gateway.plan.judgement import JudgementContext

_MOST_SHOWN = 300
"""Characters of a field that are shown."""


class ContentState(StrEnum):
    """The state of the received octets."""

    IDENTICAL = "identical"
    """Kept, with the hash of the received octets."""
    PURGED = "purged"
    ALTERED = "altered"
    """Kept, with another hash: an alarm (promise P2)."""


class Replayed(StrEnum):
    """The result of judging the stored evidence now."""

    SAME = "same"
    DIFFERENT = "different"
    """Also when the checks are of another version than those that judged: their verdict cannot be repeated."""


class Checked(Value):
    """The results of the checks made for the story."""

    content: ContentState
    replayed: Replayed | None
    """None when there are no rules to judge by: the configuration is broken."""


async def check_content(trace: Trace, octets: AsyncIterable[bytes] | None) -> ContentState:
    """Hash the stored octets; `octets` is None when there are none."""
    if octets is None or trace.content is None:
        return ContentState.PURGED
    found = hashlib.sha256()
    async for chunk in octets:
        found.update(chunk)
    return ContentState.IDENTICAL if found.digest() == trace.content.sha256 else ContentState.ALTERED


def replay(trace: Trace, context: JudgementContext) -> Replayed:
    """Judge the stored evidence again, with the DNS answers of then and the rules of now (promise P4)."""
    from gateway.plan.replay import is_repeated

    return Replayed.SAME if is_repeated(trace, context) else Replayed.DIFFERENT


def story_json(story: Story, checked: Checked) -> dict[str, Json]:
    """Everything stored, as `waypost explain --json` prints it. Times are epoch seconds."""
    trace = story.trace
    authentication = trace.authentication
    helo = spf_json(authentication.spf_helo) if authentication else None
    tree: dict[str, Json] = {
        "id": trace.id,
        "received": trace.received,
        "version": trace.version,
        "ingress": _ingress_json(trace),
        "envelope": _envelope_json(trace.envelope),
        "evidence": _evidence_json(trace),
        "dns": [lookup_json(lookup) for lookup in trace.lookups],
        "results": {**results_json(trace), "spf_helo": helo, **_client_json(authentication)},
        "greylisting": asdict(trace.circumstances.greylisting) if trace.circumstances.greylisting else None,
        "decision": decision_json(trace.decision),
        "findings": [{"name": one.name, "source": one.source} for one in trace.decision.findings],
        "would": asdict(trace.decision.would) if trace.decision.would else None,
        "circumstances": asdict(trace.circumstances),
        "routes": routes_json(trace),
        "added": list(trace.added),
        "omitted": list(trace.omitted),
        "sealed": list(trace.sealed),
        "removed": [{"start": span.start, "end": span.end} for span in trace.dropped],
        "acts": [{"at": act.at, "what": act.what, "by": act.by or None} for act in story.acts],
        "attempts": [attempt_json(attempt) for attempt in story.attempts],
        "recipients": [{"rcpt": rcpt, "state": state, "reply": reply} for rcpt, state, reply in _states(story)],
        "held": story.held,
        "damaged": list(story.damaged),
        "content": checked.content.value,
        "replayed": checked.replayed.value if checked.replayed else None,
    }
    return safe_json(tree)


def _ingress_json(trace: Trace) -> dict[str, Json]:
    ingress = trace.edge or trace.internal
    if ingress is None:
        return {}
    inside = isinstance(ingress, InternalIngress)
    return {
        "edge": not inside,
        "client": ingress.client,
        "proof": None if isinstance(ingress, InternalIngress) else tell_proof(ingress),
        "via": [] if isinstance(ingress, InternalIngress) else list(ingress.via),
        "source": None if isinstance(ingress, InternalIngress) else ingress.source.value,
        "reason": None if isinstance(ingress, InternalIngress) else ingress.reason or None,
        "trusted_by": ingress.trusted_by if isinstance(ingress, InternalIngress) else None,
        "sender": trace.departure.by if trace.departure else None,
        "login": (ingress.login or None) if isinstance(ingress, InternalIngress) else None,
        "peer": ingress.peer,
        "helo": ingress.helo or None,
        "rdns": ingress.rdns or None,
        "listener": ingress.listener,
        "esmtp": ingress.esmtp,
        "tls": tls_json(ingress.tls),
    }


def _client_json(authentication: Authentication | None) -> dict[str, Json]:
    """The answers of DNS about the client itself; null before it was judged."""
    if authentication is None:
        return {"iprev": None, "dnsbl": None}
    return {"iprev": asdict(authentication.iprev), "dnsbl": asdict(authentication.dnsbl)}


def _envelope_json(envelope: Envelope) -> dict[str, Json]:
    return {
        "mail_from": str(envelope.mail_from) if envelope.mail_from else None,
        "rcpts": [
            {"rcpt": str(one.mailbox), "notify": [word.value for word in one.notify], "orcpt": one.orcpt or None}
            for one in envelope.rcpts
        ],
        "body": envelope.body.value,
        "smtputf8": envelope.smtputf8,
        "ret": envelope.ret.value if envelope.ret else None,
        "envid": envelope.envid or None,
    }


def _evidence_json(trace: Trace) -> Json:
    if trace.evidence is None:
        return None
    return {
        "size": trace.evidence.size,
        "sha256": trace.content.sha256.hex() if trace.content else None,
        "header": trace.evidence.header.decode("utf-8", "backslashreplace"),
        "digests": [
            {
                "canonicalisation": one.canonicalisation,
                "length": one.length,
                "sha256": one.digest.hex(),
                "octets": one.octets,
            }
            for one in trace.evidence.digests
        ],
    }


def _states(story: Story) -> Iterator[tuple[str, str, str | None]]:
    """Each recipient, its state and the reply behind it; in the end exactly one final state (promise P1). An alias, and
    a mailbox at two backends, has the state of each address and copy that it stands for."""
    targets = _find_targets(story)
    for one in story.trace.envelope.rcpts:
        rcpt = str(one.mailbox)
        found = targets.get(rcpt, [])
        if story.held and not any(state != "waiting" for _, state, _ in found):
            yield rcpt, "held", None
        elif found:
            for at, state, reply in found:
                yield (rcpt if at == rcpt else f"{rcpt} -> {at}"), state, reply
        elif story.trace.routes:
            yield rcpt, "unknown", None
        else:
            yield rcpt, "refused", str(story.trace.decision.reply)


def _find_targets(story: Story) -> dict[str, list[tuple[str, str, str | None]]]:
    """By the address that the client named: the addresses it went to, each with its state and reply. A forwarded copy
    names its recipient of ours as its original recipient (RFC 3461 section 5.2.5)."""
    named = {str(one.mailbox) for one in story.trace.envelope.rcpts}
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    done = [(ending.rcpt, ending.state.value, str(ending.reply)) for ending in story.endings]
    left = [(rcpt, "waiting", None) for transfer in story.waiting for rcpt in transfer.rcpts]
    originals = {one.orcpt or f"rfc822;{encode_xtext(str(one.mailbox))}": str(one.mailbox)
                 for one in story.trace.envelope.rcpts}  # fmt: skip
    for rcpt, state, reply in (*done, *left):
        at = str(rcpt.mailbox)
        whose = at if at in named else originals.get(rcpt.orcpt, at)
        found.setdefault(whose, []).append((at, state, reply))
    return found


def render_story(story: Story, checked: Checked, everything: bool = False) -> Group:
    """The story for people; `everything`: with the rules that did not match."""
    trace = story.trace
    parts: list[Text] = [Text(texts.TITLE.format(id=clean(trace.id), when=show_times(trace.received)), "bold")]
    parts += [Text(line) for line in _header_lines(trace)]
    parts.append(Text())
    parts += [Text(sentence) for sentence in narrate(trace)]
    states = (
        texts.STATE.format(rcpt=rcpt, state=state, why=_reply_note(reply)) for rcpt, state, reply in _states(story)
    )
    parts += render_section(texts.SECTIONS["rcpts"], states)
    parts += render_section(texts.SECTIONS["routes"], route_lines(trace))
    parts += render_section(texts.SECTIONS["acts"], (_tell_act(act) for act in story.acts))
    parts += render_section(texts.SECTIONS["attempts"], attempt_lines(story))
    parts += render_section(texts.SECTIONS["damaged"], story.damaged)
    parts += render_evidence(trace, everything)
    parts += render_section(texts.SECTIONS["checked"], _checked_lines(story, checked))
    return Group(*parts)


_SHOWN_FIELDS = ("From", "Subject", "Message-ID")


def _header_lines(trace: Trace) -> Iterator[str]:
    """The fields by which people recognise a message."""
    header = parse_header(trace.evidence.header) if trace.evidence else ()
    for name in _SHOWN_FIELDS:
        for field in fields(header, name)[:2]:
            value = decode_words(unfold(field.value))[:_MOST_SHOWN]
            yield clean(texts.FIELD.format(name=name, value=value))


def route_lines(trace: Trace) -> Iterator[str]:
    return (texts.ROUTE.format(rcpt=rcpt, backend=backend) for rcpt, backend in trace.routes)


def render_evidence(trace: Trace, everything: bool = False) -> list[Text]:
    """The evidence of the decision: rules, DNS, and the fields put above."""
    decision = trace.decision
    hits = [(hit, "") for hit in decision.considered if hit.matched or everything]
    hits += [(hit, texts.SHADOW) for hit in decision.shadow]
    rules = (
        texts.RULE_LINE.format(
            matched=texts.MATCHED["yes" if hit.matched else "no"], rule=hit.rule, stage=hit.stage, shadow=shadow
        )
        for hit, shadow in hits
    )
    dns = (
        texts.LOOKUP.format(
            name=one.question.name,
            type=one.question.type,
            answer=" | ".join(one.answer.records) or one.answer.status.value,
        )
        for one in trace.lookups
    )
    added = (line.strip() if number == 0 else f"  {line.strip()}" for field in trace.added
             for number, line in enumerate(field.split("\r\n")))  # fmt: skip
    aside = decision.shadow_set
    others = [texts.BESIDE.format(rule_set=aside.rule_set, action=aside.action, rule=aside.rule)] if aside else []
    return [
        *render_section(texts.SECTIONS["rules" if everything else "rule"], rules),
        *render_section(texts.SECTIONS["beside"], others),
        *render_section(texts.SECTIONS["dns"], dns),
        *render_section(texts.SECTIONS["added"], added),
        *render_section(texts.SECTIONS["sealed"], iter(trace.sealed)),
        *render_section(texts.SECTIONS["omitted"], iter(trace.omitted)),
    ]


def _reply_note(reply: str | None) -> str:
    return texts.WHY.format(reason=reply) if reply else ""


def _tell_act(act: Act) -> str:
    by = texts.ACT_BY.format(who=act.by) if act.by else ""
    return texts.ACT.format(when=show_time(act.at), what=act.what, by=by)


def _tell_content(story: Story, content: ContentState) -> str:
    if content is ContentState.IDENTICAL:
        return texts.IDENTICAL
    return texts.ALTERED if content is ContentState.ALTERED else tell_gone(story)


def tell_gone(story: Story) -> str:
    """The reason why the content is not here."""
    if any(ending.state is Final.DELIVERED for ending in story.endings):
        return texts.DELIVERED
    kept = story.endings or story.acts or story.trace.decision.action.keeps
    return texts.DONE_WITH if kept else texts.NEVER_KEPT


def _checked_lines(story: Story, checked: Checked) -> Iterator[str]:
    trace = story.trace
    yield texts.CONTENT.format(state=_tell_content(story, checked.content))
    if trace.content is not None:
        yield texts.RECEIVED.format(octets=trace.content.size, digest=trace.content.sha256.hex())
    if trace.dropped and trace.evidence is not None:
        starts = {span.start for span in trace.dropped}
        header = parse_header(trace.evidence.header)
        names = [field.name or texts.NO_FIELD for field in header if field.start in starts]
        yield texts.REMOVED.format(fields=", ".join(names))
    if checked.replayed is None:
        yield texts.NOT_REPLAYED
    elif trace.version == TRACE_VERSION:
        what = texts.SAME_DECISION if checked.replayed is Replayed.SAME else texts.OTHER_DECISION
        yield texts.REPLAYED.format(word=checked.replayed, what=what)
    else:
        yield texts.OTHER_VERSION.format(word=checked.replayed, then=trace.version, now=TRACE_VERSION)
