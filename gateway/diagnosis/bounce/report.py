"""`waypost bounce`: the refusing server, the cause, and the remedy; as text, as JSON, and as a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.diagnosis.bounce import texts
from gateway.diagnosis.bounce.arf import Feedback
from gateway.diagnosis.bounce.bounced import Bounce, Bounced
from gateway.mail.refusal import Provider, Refusal
from gateway.mail.refusal.provider import recognise_host
from gateway.tools.narrative import clean
from gateway.tools.results import Json, Newlines, safe_json

_CHECKED = re.compile(
    r"\b(?P<check>SPF|DKIM|DMARC)\b\s*(?:\[[^\]]*\]|[\w.-]+)?\s*(?:with ip(?: address)?: ?\[?[^\]=]*\]?)?\s*=\s*"
    r"(?P<result>pass|fail|did not pass|none|softfail|neutral)",
    re.IGNORECASE,
)
_MOST_SHOWN = 90
"""Characters of a reply in a table."""


def bounce_json(bounce: Bounce, newlines: Newlines) -> dict[str, Json]:
    """Everything, for programs."""
    return safe_json(
        {
            "kind": "bounce",
            "form": bounce.form,
            "reporter": bounce.reporter or None,
            "recipients": [_bounced_json(one, bounce.reporter) for one in bounce.recipients],
            "newlines": newlines.value,
        }
    )


def _bounced_json(one: Bounced, reporter: str) -> dict[str, Json]:
    return {
        "recipient": one.recipient or None,
        "action": one.action,
        "status": one.status or None,
        "diagnostic": one.diagnostic or None,
        "remote": one.remote or None,
        "expired": one.expired,
        "refusal": _refusal_json(one, one.refusal, reporter) if one.refusal else None,
    }


def _refusal_json(one: Bounced, refusal: Refusal, reporter: str) -> dict[str, Json]:
    return {
        "cause": refusal.cause.value,
        "blames": refusal.cause.blame.value,
        "provider": refusal.provider.value,
        "refuser": refusal.refuser or None,
        "refused": (refusal.relay.value if refusal.relay else reporter) or None,
        "relayed": refusal.relayed,
        "reply": refusal.quote or None,
        "layers": [str(reply) for reply in refusal.layers],
        "summary": refusal.advice.summary,
        "notes": list(_notes(one, refusal)),
        "admin": refusal.advice.admin,
        "sender": _advise_sender(one, refusal),
        "never": refusal.advice.never or None,
    }


def render_bounce(bounce: Bounce, newlines: Newlines) -> Group:
    """One paragraph for each recipient; the common parts of several appear once."""
    parts = [Text(_title(bounce), "bold")]
    if not bounce.recipients:
        parts.append(Text(f"  {texts.NO_RECIPIENT}"))
    told: dict[tuple[object, ...], list[Bounced]] = {}
    for one in bounce.recipients:
        key = (one.action, one.refusal.cause, one.refusal.reply) if one.refusal else (one.action, one.diagnostic)
        told.setdefault(key, []).append(one)
    for alike in told.values():
        unnamed = texts.THE_MESSAGE if bounce.form == "reply" else texts.UNNAMED
        who = ", ".join(one.recipient or unnamed for one in alike)
        parts += [Text(), Text(clean(f"{who}: {alike[0].action}"), "bold")]
        parts += [Text(f"  {clean(line)}", style) for line, style in _lines(alike[0], bounce)]
    if newlines is Newlines.CONVERTED:
        parts += [Text(), Text(texts.NEWLINES)]
    return Group(*parts)


def _title(bounce: Bounce) -> str:
    if bounce.form == "reply":
        return texts.TITLE_REPLY
    named, unnamed = (texts.TITLE_LOG_OF, texts.TITLE_LOG) if bounce.form == "log" else (texts.TITLE_BY, texts.TITLE)
    return clean(named.format(reporter=bounce.reporter)) if bounce.reporter else unnamed


def _lines(one: Bounced, bounce: Bounce) -> Iterator[tuple[str, str]]:
    refusal = one.refusal
    if refusal is None:
        yield one.diagnostic or texts.NOTHING_REFUSED, ""
        return
    yield tell_parties(refusal, bounce.reporter, one.action), ""
    yield texts.CAUSE.format(summary=refusal.advice.summary, cause=refusal.cause), "bold red"
    if refusal.quote:
        yield texts.REPLY.format(reply=refusal.quote), ""
    elif one.diagnostic:
        yield texts.WORDS.format(words=one.diagnostic), ""
    for outer in refusal.layers[:-1]:
        yield texts.AROUND.format(reply=outer), "dim"
    for note in _notes(one, refusal):
        yield note, ""
    yield texts.ADMIN.format(advice=refusal.advice.admin), ""
    yield texts.SENDER.format(advice=_advise_sender(one, refusal)), ""
    if refusal.advice.never:
        yield texts.NEVER.format(advice=refusal.advice.never), "yellow"


def _advise_sender(one: Bounced, refusal: Refusal) -> str:
    return texts.STILL_TRIED if one.action == "delayed" and refusal.advice.waits else refusal.advice.sender


def _notes(one: Bounced, refusal: Refusal) -> Iterator[str]:
    """The bounce's statements beyond the cause."""
    if one.expired:
        yield texts.EXPIRED
    checked = {found["check"].upper(): found["result"].lower() for found in _CHECKED.finditer(refusal.reply.text)}
    failed = [check for check, result in checked.items() if result in ("fail", "did not pass", "none", "softfail")]
    passed = [check for check, result in checked.items() if result == "pass"]
    if failed and passed:
        yield texts.ONLY_FAILED.format(failed=texts.AND.join(failed), passed=texts.AND.join(passed))
    elif failed:
        yield texts.ALL_FAILED.format(failed=texts.AND.join(failed))


def tell_parties(refusal: Refusal, reporter: str, action: str) -> str:
    """The refusing and the refused party."""
    if not refusal.quote:
        return texts.OWN_REASON.format(reporter=reporter) if reporter else texts.OWN_REASON_UNNAMED
    name = refusal.provider.label
    refuser = f"{name} ({refusal.refuser})" if name and refusal.refuser else name or refusal.refuser
    if refusal.relay is None and reporter and not refusal.refuser and recognise_host(reporter) is refusal.provider:
        own = f"{name} ({reporter})" if name else reporter
        return (texts.OWN_REFUSAL if name else texts.QUOTED).format(reporter=own)
    if refusal.relay is None and not refuser:
        return texts.QUOTED.format(reporter=reporter) if reporter else texts.QUOTED_ALONE
    relay = refusal.relay.label if refusal.relay and refusal.relay is not Provider.OTHER else ""
    if relay and relay == name:
        relay = texts.ANOTHER_OF_THEM.format(relay=relay)
    refused = relay or (texts.SOME_RELAY if refusal.relay else reporter)
    later = action == "delayed"
    if not refused:
        return (texts.DEFERRED_FROM_US if later else texts.REFUSED_FROM_US).format(refuser=refuser)
    return (texts.DEFERRED if later else texts.REFUSED).format(refuser=refuser or texts.NEXT_SERVER, refused=refused)


def render_folder(rows: Sequence[tuple[Path, Bounce | Feedback | str]]) -> Table:
    """A line for each recipient of each file; a text is the reason why a file has none."""
    table = Table(box=None)
    for heading in texts.COLUMNS:
        table.add_column(heading, overflow="fold")
    for file, found in rows:
        for cells in _cells(found):
            table.add_row(*(Text(clean(cell)) for cell in (file.name, *cells)))
    return table


def _cells(found: Bounce | Feedback | str) -> Iterator[tuple[str, str, str, str, str]]:
    if isinstance(found, str):
        yield "", "", "", "", found
    elif isinstance(found, Feedback):
        yield found.recipient, "feedback", found.failure or found.type, found.reporter, ""
    else:
        for one in found.recipients:
            refusal = one.refusal
            if refusal is None:
                yield one.recipient, one.action, "", "", one.diagnostic[:_MOST_SHOWN]
            else:
                who = refusal.refuser or refusal.provider.label
                yield one.recipient, one.action, refusal.cause, who, (refusal.quote or one.diagnostic)[:_MOST_SHOWN]
