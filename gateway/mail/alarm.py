"""Alarms as text, and as a message to the admin."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.mail.received import format_date
from gateway.model.envelope import Mailbox
from gateway.model.event import Alarm

_MOST_VALUE = 1000
"""Characters of one value that are shown."""
_MOST_SUBJECT = 150


def describe(alarm: Alarm) -> str:
    """The alarm for people to read, lines separated by LF."""
    lines = [alarm.title, f"  at: {format_date(alarm.at)}"]
    lines += [f"  {key}: {value[:_MOST_VALUE]}" for key, value in alarm.fields if value]
    if alarm.id:
        lines.append(f"  id: {alarm.id} (waypost explain {alarm.id})")
    if alarm.repeated:
        lines.append(f"  since it was last told it has happened {alarm.repeated} times more")
    return "\n".join(" ".join(line.splitlines()) for line in lines)


def compose(alarms: Sequence[Alarm], to: Mailbox, hostname: str, id: str, now: float) -> bytes:
    """A message that reports these alarms (at least one), in ASCII with CRLFs."""
    more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
    lines = [
        f"Date: {format_date(now)}",
        f"From: Waypost <mailer-daemon@{hostname}>",
        f"To: <{_clean(str(to))}>",
        f"Subject: {_clean(f'[waypost] {alarms[0].title}'[:_MOST_SUBJECT])}{more}",
        f"Message-ID: <{id}@{hostname}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"The mail gateway {hostname} needs attention.",
    ]
    for alarm in alarms:
        lines += ["", *(_clean(line) for line in describe(alarm).split("\n"))]
    return "".join(f"{piece}\r\n" for line in lines for piece in _cut(line)).encode("ascii")


def _clean(text: str) -> str:
    """Printable ASCII: no value can end a line or begin a field."""
    plain = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in plain)


def _cut(line: str) -> list[str]:
    """Pieces that SMTP can carry (RFC 5321 section 4.5.3.1.6)."""
    return [line[at : at + 900] for at in range(0, max(len(line), 1), 900)]
