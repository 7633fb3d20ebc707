"""`waypost bounce`: who refused a message, why, and who should do what about it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.bounce import Bounce, Bounced
from gateway.mail.refusal import Provider, Refusal
from gateway.tools.narrative import clean
from gateway.tools.newlines import Newlines
from gateway.tools.results import Json, safe_json


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
        "refusal": _refusal_json(one.refusal, reporter) if one.refusal else None,
    }


def _refusal_json(refusal: Refusal, reporter: str) -> dict[str, Json]:
    return {
        "cause": refusal.cause.value,
        "blames": refusal.cause.blame.value,
        "provider": refusal.provider.value,
        "refuser": refusal.refuser or None,
        "refused": (refusal.relay.value if refusal.relay else reporter) or None,
        "relayed": refusal.relayed,
        "reply": str(refusal.reply),
        "layers": [str(reply) for reply in refusal.layers],
        "summary": refusal.advice.summary,
        "admin": refusal.advice.admin,
        "sender": refusal.advice.sender,
        "never": refusal.advice.never or None,
    }


def render_bounce(bounce: Bounce, newlines: Newlines) -> Group:
    """One paragraph for each recipient; what several have in common is told once."""
    parts = [Text(f"Bounce{f' by {clean(bounce.reporter)}' if bounce.reporter else ''}", "bold")]
    if not bounce.recipients:
        parts.append(Text("  It names no recipient."))
    told: dict[tuple[object, ...], list[str]] = {}
    for one in bounce.recipients:
        key = (one.action, one.refusal.cause, one.refusal.reply) if one.refusal else (one.action, one.diagnostic)
        told.setdefault(key, []).append(one.recipient)
    for one in bounce.recipients:
        key = (one.action, one.refusal.cause, one.refusal.reply) if one.refusal else (one.action, one.diagnostic)
        names = told.pop(key, None)
        if names:
            who = ", ".join(name or "(recipient not named)" for name in names)
            parts += [Text(), Text(clean(f"{who}: {one.action}"), "bold")]
            parts += [Text(f"  {clean(line)}", style) for line, style in _lines(one, bounce.reporter)]
    if newlines is Newlines.CONVERTED:
        parts += [Text(), Text("newlines: converted")]
    return Group(*parts)


def _lines(one: Bounced, reporter: str) -> Iterator[tuple[str, str]]:
    refusal = one.refusal
    if refusal is None:
        yield one.diagnostic or "Nothing was refused.", ""
        return
    yield tell_parties(refusal, reporter), ""
    yield f"{refusal.advice.summary} ({refusal.cause})", "bold red"
    yield f"The reply: {refusal.reply}", ""
    for outer in refusal.layers[:-1]:
        yield f"Around it: {outer}", "dim"
    yield f"Administrator: {refusal.advice.admin}", ""
    yield f"Sender: {refusal.advice.sender}", ""
    if refusal.advice.never:
        yield f"Not this: {refusal.advice.never}", "yellow"


def tell_parties(refusal: Refusal, reporter: str) -> str:
    """Who refused whom."""
    name = refusal.provider.label
    refuser = f"{name} ({refusal.refuser})" if name and refusal.refuser else name or refusal.refuser
    if refusal.relay is None and not refuser:
        return f"{reporter or 'The server'} itself gave this reason."
    relay = refusal.relay.label if refusal.relay and refusal.relay is not Provider.OTHER else ""
    refused = relay or ("a server between" if refusal.relay else reporter) or "the sending server"
    return f"{refuser or 'The next server'} refused what {refused} handed on."
