"""`waypost queue`: what waits, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from gateway.model.delivery import QueueEntry
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json
from gateway.tools.text import show_time


def queue_json(entries: Sequence[QueueEntry]) -> list[Json]:
    """The entries as plain values; times are epoch seconds, `mail_from` null for the null sender."""
    return [
        safe_json(
            {
                "transfer": entry.transfer_id,
                "message": entry.message_id,
                "backend": entry.backend,
                "mail_from": entry.mail_from or None,
                "rcpts": list(entry.rcpts),
                "size": entry.size,
                "created": entry.created,
                "due": entry.due,
                "attempts": entry.attempts,
                "last_reply": entry.last_reply or None,
                "state": _state(entry),
            }
        )
        for entry in entries
    ]


def render_queue(entries: Sequence[QueueEntry], now: float) -> Group:
    """Two lines for each transfer; one line in all when nothing waits. An address is never broken over lines."""
    if not entries:
        return Group(Text("The queue is empty."))
    lines: list[Text] = []
    for entry in entries:
        state = _state(entry) if entry.claimed or entry.held else f"due {show_time(entry.due)}"
        lines += [
            Text(clean(f"{entry.message_id}  {', '.join(entry.rcpts)}  ({entry.backend})"), "bold"),
            Text(
                clean(
                    f"    from {entry.mail_from or '<>'}, {entry.size} octets, {show_span(now - entry.created)} old, "
                    f"tried {entry.attempts} times, {state}"
                )
            ),
        ]
        if entry.last_reply:
            lines.append(Text(clean(f"    {entry.last_reply}")))
    return Group(*lines)


def show_span(seconds: float) -> str:
    """A span of time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _state(entry: QueueEntry) -> str:
    if entry.held:
        return "held"
    return "sending" if entry.claimed else "waiting"
