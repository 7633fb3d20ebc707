"""`waypost queue`: waiting mail and the commands on it, for people and as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.header import decode_header, make_header
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.mail.header import parse_header, unfold
from gateway.mail.refusal import classify_outcome
from gateway.model.delivery import Failure, Final, HeldEntry, QueueEntry, Story
from gateway.model.envelope import Recipient
from gateway.model.value import Value, asdict, replace
from gateway.tools.explain import tell_gone
from gateway.tools.narrative import clean, narrate
from gateway.tools.results import Json, render_section, safe_json, show_time

_WORDS = {
    Final.FAILED: "told",
    Final.EXPIRED: "told",
    Final.WITHHELD: "DSN withheld",
    Final.DELETED: "deleted",
}


def failures_json(failures: Sequence[Failure]) -> Json:
    """One object for each recipient; times are epoch seconds."""
    return [
        safe_json(
            {
                "id": one.message_id,
                "at": one.at,
                "mail_from": one.mail_from,
                "rcpt": one.rcpt,
                "backend": one.backend,
                "state": one.state.value,
                "reply": str(one.reply),
                "cause": classify_outcome(one.reply, one.remote_mta).cause.value,
            }
        )
        for one in failures
    ]


def render_failures(failures: Sequence[Failure]) -> Table | Text:
    """A line for each recipient, the newest message first."""
    if not failures:
        return Text("Nothing has failed, as far as it is kept.")
    table = Table(box=None)
    for heading in ("id", "when", "from", "to", "sender", "answer"):
        table.add_column(heading)
    for one in failures:
        cells = (one.message_id, show_time(one.at), one.mail_from or "<>", one.rcpt, _WORDS.get(one.state, one.state))
        table.add_row(*(Text(clean(cell)) for cell in (*cells, str(one.reply))))
    return table


_MOST_NAMED = 20
"""Ids that an answer for people names individually."""


class Filter(Value):
    """The choice of entries. An address means itself, `@domain` the whole domain; empty means any."""

    backend: str = ""
    sender: str = ""
    rcpt: str = ""
    held: bool = False
    """Held entries only."""

    @property
    def chooses(self) -> bool:
        """True when it chooses some of the waiting mail, not all."""
        return bool(self.backend or self.sender or self.rcpt)

    def takes(self, entry: QueueEntry) -> bool:
        return (
            self.backend in ("", entry.backend)
            and _means(self.sender, entry.mail_from or "<>")
            and (not self.rcpt or any(_means(self.rcpt, rcpt) for rcpt in entry.rcpts))
            and self.held <= entry.held
        )


def _means(wanted: str, address: str) -> bool:
    lower = address.lower()
    return lower.endswith(wanted.lower()) if wanted.startswith("@") else wanted.lower() in ("", lower)


def merge_answers(shards: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The answers of all shards about each id; a message is in one of them."""
    return [
        {
            "id": answers[0]["id"],
            "done": [one for answer in answers for one in answer["done"]],
            "refused": [one for answer in answers for one in answer["refused"]],
        }
        for answers in zip(*shards, strict=True)
    ]


_DONE = {
    "hold": "Held",
    "release": "Released",
    "retry": "Made due now",
    "reroute": "Rerouted",
    "bounce": "Bounced",
    "delete": "Deleted",
}


def render_answers(command: str, answers: Sequence[Mapping[str, Any]]) -> Group:
    """The changed transfers, then the unchanged ones with the reasons."""
    done = [one for answer in answers for one in answer["done"]]
    named = f": {', '.join(done)}" if 0 < len(done) <= _MOST_NAMED else ""
    lines = [f"{_DONE[command]} {len(done)} {'transfer' if len(done) == 1 else 'transfers'}{named}."]
    for answer in answers:
        lines += [f"Not done: {one}." for one in answer["refused"]]
        if not answer["done"] and not answer["refused"]:
            lines.append(f"Not done: {answer['id']}: nothing of it waits here.")
    return Group(*(Text(clean(line)) for line in lines))


def states_json(story: Story) -> Json:
    """Each recipient of a message and the one state it is in; times are epoch seconds."""
    return [safe_json(one) for one in _states(story)]


def render_states(story: Story) -> Group:
    """The same for people, a line for each recipient."""
    trace = story.trace
    lines = [
        f"{trace.id}  from {trace.envelope.mail_from or '<>'}, received {show_time(trace.received)}, "
        f"{trace.decision.action} by rule {trace.decision.rule}"
    ]
    for one in _states(story):
        due = f", due {show_time(float(str(one['due'])))}" if one["due"] is not None else ""
        reply = f": {one['reply']}" if one["reply"] else ""
        lines.append(f"    {one['rcpt']}  ({one['backend']})  {one['state']}{due}{reply}")
    lines += [f"    {one}" for one in story.damaged]
    if not story.content_kept:
        lines.append(f"    The content was {tell_gone(story)}.")
    return Group(*(Text(clean(line)) for line in lines))


def _states(story: Story) -> list[dict[str, Json]]:
    """Every recipient once: waiting ones, then finished ones."""
    last: dict[tuple[str, str], str] = {}
    backends: dict[str, str] = {}
    for attempt in story.attempts:
        for outcome in attempt.outcomes:
            rcpt = str(outcome.rcpt.mailbox)
            last[attempt.transfer_id, rcpt] = str(outcome.reply)
            backends[rcpt] = attempt.backend
    states = [
        _state_of(rcpt, transfer.backend, "held" if held else "waiting", last.get((transfer.id, str(rcpt.mailbox))))
        | {"due": None if held else transfer.due, "attempts": transfer.attempts}
        for transfer in story.waiting
        for held in (transfer.id in story.held_transfers,)
        for rcpt in transfer.rcpts
    ]
    states += [
        _state_of(ending.rcpt, backends.get(str(ending.rcpt.mailbox), ""), ending.state, str(ending.reply))
        for ending in story.endings
    ]
    if story.held and not states:
        # A rule holds the whole message: its transfers are made at its release.
        states = [_state_of(rcpt, "", "held", None) for rcpt in story.trace.envelope.rcpts]
    return states


def _state_of(rcpt: Recipient, backend: str, state: str, reply: str | None) -> dict[str, Json]:
    address = str(rcpt.mailbox)
    return {"rcpt": address, "backend": backend, "state": state, "due": None, "attempts": None, "reply": reply}


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


class Pile(Value):
    """The transfers to one backend that wait in the same state for the same reason."""

    backend: str
    state: str
    """`waiting`, `sending` or `held`."""
    reason: str
    """The reason of a hold, or the last reply of the first transfer; empty before the first attempt."""
    transfers: int
    recipients: int
    created: float
    """Epoch seconds of the reception of the oldest message."""
    due: float
    """Epoch seconds of the next attempt."""


def sum_queue(entries: Sequence[QueueEntry]) -> tuple[Pile, ...]:
    """The entries by route and reason, the largest pile first. Replies with the same code and the same enhanced status
    code are one reason: their texts name messages and hosts."""
    piles: dict[tuple[str, ...], Pile] = {}
    for one in entries:
        state = _state(one)
        reason = one.last_reply if one.held else " ".join(_REPLY_CODE.findall(one.last_reply)[:1]) or one.last_reply
        key = (one.backend, state, reason)
        pile = piles.get(key, Pile(one.backend, state, one.last_reply, 0, 0, one.created, one.due))
        piles[key] = replace(
            pile,
            transfers=pile.transfers + 1,
            recipients=pile.recipients + len(one.rcpts),
            created=min(pile.created, one.created),
            due=min(pile.due, one.due),
        )
    return tuple(sorted(piles.values(), key=lambda pile: (-pile.transfers, pile.backend)))


_REPLY_CODE = re.compile(r"^[245][0-9]{2}(?:[ -][245]\.[0-9]{1,3}\.[0-9]{1,3})?")


def sums_json(piles: Sequence[Pile], held_by_rule: int, now: float) -> Json:
    """The sums for programs; `next` is in epoch seconds, as in `queue list --json`."""
    totals = {state: sum(one.transfers for one in piles if one.state == state) for state in _STATES}
    routes: list[Json] = [
        safe_json(
            {
                "backend": one.backend,
                "state": one.state,
                "reason": one.reason or None,
                "transfers": one.transfers,
                "recipients": one.recipients,
                "oldest_seconds": int(now - one.created),
                "next": one.due if one.state == "waiting" else None,
            }
        )
        for one in piles
    ]
    return {**totals, "held_by_rule": held_by_rule, "routes": routes}


def render_sums(piles: Sequence[Pile], held_by_rule: int, now: float) -> Group:
    """Totals, then two lines for each pile: the number and the next attempt, and the reason."""
    totals = [(state, sum(one.transfers for one in piles if one.state == state)) for state in _STATES]
    said = ", ".join(f"{count} {_STATE_WORDS[state]}" for state, count in totals if count)
    lines = [Text(f"Transfers: {said}." if said else "The queue is empty.")]
    if held_by_rule:
        lines.append(Text(f"Messages that a rule holds: {held_by_rule}; `waypost hold list` shows them."))
    for one in piles:
        following = f", next attempt {show_time(one.due)}" if one.state == "waiting" else ""
        age = show_span(now - one.created)
        counts = f"{one.transfers} {_STATE_WORDS[one.state]}, {one.recipients} recipients, oldest {age} old"
        lines.append(Text(clean(f"{one.backend}: {counts}{following}"), "bold"))
        lines.append(Text(clean(f"    {one.reason or 'not tried yet'}")))
    return Group(*lines)


_STATES = ("waiting", "sending", "held")
_STATE_WORDS = {"waiting": "waiting", "sending": "being sent", "held": "held by hand or for a fault"}


def render_queue(entries: Sequence[QueueEntry], now: float) -> Group:
    """Two lines for each transfer; a single line when nothing waits. An address is never broken over lines."""
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


_SHOWN = ("date", "from", "sender", "reply-to", "to", "cc", "subject", "message-id", "list-id")
"""The fields by which people recognise a message."""
_MOST_CHARACTERS = 500


def held_json(entries: Sequence[HeldEntry]) -> list[Json]:
    """The entries as plain values; times are epoch seconds, `mail_from` null for the null sender."""
    return [safe_json({**asdict(one), "rcpts": list(one.rcpts), "mail_from": one.mail_from or None}) for one in entries]


def render_held(entries: Sequence[HeldEntry], now: float) -> Group:
    """Three lines for each message; a single line when none is held."""
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
    """The basis of an admin's decision: the message's own fields, and the results."""
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
    """A field's text as people see it (RFC 2047); unchanged when it cannot be decoded."""
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, UnicodeError, ValueError):
        return text


def _to(entry: HeldEntry) -> str:
    return ", ".join(entry.rcpts)
