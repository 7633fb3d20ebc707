"""`waypost hold`: what waits for an admin's decision, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from email.header import decode_header, make_header

from rich.console import Group
from rich.text import Text

from gateway.mail.header import parse_header, unfold
from gateway.model.delivery import Story
from gateway.model.holding import HeldEntry
from gateway.model.value import asdict
from gateway.tools.narrative import clean, narrate
from gateway.tools.queue import show_span
from gateway.tools.results import Json, safe_json
from gateway.tools.text import render_section, show_time

_SHOWN = ("date", "from", "sender", "reply-to", "to", "cc", "subject", "message-id", "list-id")
"""The fields by which people know a message."""
_MOST_CHARACTERS = 500


def held_json(entries: Sequence[HeldEntry]) -> list[Json]:
    """The entries as plain values; times are epoch seconds, `mail_from` null for the null sender."""
    return [safe_json({**asdict(one), "rcpts": list(one.rcpts), "mail_from": one.mail_from or None}) for one in entries]


def render_held(entries: Sequence[HeldEntry], now: float) -> Group:
    """Three lines for each message; one line in all when none is held."""
    if not entries:
        return Group(Text("Nothing is held."))
    lines: list[Text] = []
    for entry in entries:
        lines += [
            Text(clean(f"{entry.id}  {decode(entry.subject) or '(no subject)'}"), "bold"),
            Text(clean(f"    from {entry.mail_from or '<>'}, author domain {entry.domain or 'none'}, to {_to(entry)}")),
            Text(
                f"    {entry.size} octets, {show_span(now - entry.received)} old, held by {clean(entry.reason)}, "
                f"until {show_time(entry.expires)}"
            ),
        ]
    return Group(*lines)


def render_held_message(story: Story) -> Group:
    """What an admin decides by: how the message presents itself, and what was found."""
    trace = story.trace
    header = parse_header(trace.evidence.header) if trace.evidence else ()
    shown = (
        f"{field.name}: {decode(unfold(field.value).strip())[:_MOST_CHARACTERS]}"
        for field in header
        if field.lower in _SHOWN
    )
    parts = [Text(clean(f"Message {trace.id}, received {show_time(trace.received)}"), "bold"), Text()]
    parts += [Text(sentence) for sentence in narrate(trace)]
    return Group(*parts, *render_section("As it presents itself", shown))


def decode(text: str) -> str:
    """A field's text as people see it (RFC 2047); as it is when that cannot be told."""
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, UnicodeError, ValueError):
        return text


def _to(entry: HeldEntry) -> str:
    return ", ".join(entry.rcpts)
