"""Delivery status notifications (RFC 3464): the fields of a report, in a part of their own or pasted into a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.diagnosis.bounce.bounced import Bounce, Bounced, find_action, find_refusal, shorten
from gateway.diagnosis.bounce.prose import cut_copy
from gateway.diagnosis.hops import organisation, read_hops
from gateway.diagnosis.mime import MimePart
from gateway.mail.header import Field, fields, parse_header, unfold
from gateway.mail.refusal import Cause, Refusal, Witness
from gateway.mail.refusal.advice import advise
from gateway.mail.refusal.nesting import unwrap
from gateway.model.value import replace

REPORTS = ("message/delivery-status", "message/global-delivery-status", "text/delivery-status", "message/delivery-stat")
_RETURNED = ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers")
_MOST_RECIPIENTS = 200
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
_NAMES = (
    rb"reporting-mta|original-envelope-id|received-from-mta|arrival-date|dsn-gateway|final-recipient|original-recipient"
    rb"|action|status|remote-mta|diagnostic-code|last-attempt-date|will-retry-until|final-log-id|x-[a-z0-9-]+"
)
_FIELD = re.compile(rb"[ \t]*(?:" + _NAMES + rb")[ \t]*:", re.IGNORECASE)
_PASTED = re.compile(
    rb"^[ \t]*(?:final-recipient|original-recipient|diagnostic-code|reporting-mta)[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_OWN_WORDS = re.compile(r"x-(?:waypost|unix|postfix|sendmail|local)\b[^;]*;", re.IGNORECASE)
"""Types of a Diagnostic-Code that is never another server's reply (RFC 3464 section 2.3.6)."""
_CAUSES = {cause.value: cause for cause in Cause}
_CODED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")


def read_report(message: MimePart, prose: str) -> Bounce | None:
    """The bounce of a message with a report; None without one."""
    reports = [part for part in message.walk() if part.type in REPORTS]
    if not reports:
        return None
    # Some servers put their prose into a part of this type, too.
    report = next((part for part in reports if b"-recipient" in part.octets().lower()), reports[0])
    told = "\n".join([prose, *(part.text() for part in reports if part is not report)])
    groups = list(_split_groups(report.octets()))
    reporter = next((found for group in groups if (found := _host(group, "reporting-mta"))), "")
    return read_groups(groups, reporter, told, _was_handed_on(message, reporter))


def read_pasted(text: bytes) -> Bounce | None:
    """The bounce whose fields are in a text, among other text; None without such fields."""
    if not _PASTED.search(text):
        return None
    lines: list[bytes] = []
    around: list[bytes] = []
    inside = False
    for line in text.split(b"\r\n"):
        begins = _FIELD.match(line) is not None
        inside = begins or (inside and line[:1] in (b" ", b"\t") and bool(line.strip()))
        lines.append(line.strip() if begins else line if inside else b"")
        around.append(b"" if inside else line)
    groups = list(_split_groups(b"\r\n".join(lines)))
    reporter = next((found for group in groups if (found := _host(group, "reporting-mta"))), "")
    prose = cut_copy(b"\n".join(around).decode("utf-8", "replace"))
    bounce = read_groups(groups, reporter, prose, False)
    return bounce if any(one.recipient or one.diagnostic for one in bounce.recipients) else None


def read_groups(groups: Sequence[tuple[Field, ...]], reporter: str, prose: str, handed: bool) -> Bounce:
    """RFC 3464 section 2: fields of the message, then those of each recipient. If there are none of a recipient, the
    fields that report the event."""
    rows = [group for group in groups if fields(group, "final-recipient") or fields(group, "original-recipient")]
    rows = rows or [group for group in groups if fields(group, "diagnostic-code") or fields(group, "status")]
    rows = rows[:_MOST_RECIPIENTS]
    return Bounce("dsn", reporter, tuple(_read_row(row, _share(row, rows, prose), reporter, handed) for row in rows))


def _split_groups(octets: bytes) -> Iterator[tuple[Field, ...]]:
    """Each group's fields. A line that begins no field continues the field before it, because some servers do not
    fold."""
    for block in re.split(rb"\r\n(?:[ \t]*\r\n)+", octets):
        lines: list[bytes] = []
        for line in block.split(b"\r\n"):
            if lines and not _FIELD.match(line) and line[:1] not in (b" ", b"\t"):
                line = b" " + line
            lines.append(line.lstrip() if _FIELD.match(line) else line)
        group = parse_header(b"\r\n".join(lines) + b"\r\n")
        if group:
            # Each recipient begins a group of its own, even without an empty line before it.
            yield from _split_recipients(group)


def _split_recipients(group: tuple[Field, ...]) -> Iterator[tuple[Field, ...]]:
    starts = [at for at, field in enumerate(group) if field.name.lower() == "final-recipient"]
    if len(starts) < 2:
        yield group
        return
    yield group[: starts[1]]
    for at, start in enumerate(starts[1:], 1):
        yield group[start : starts[at + 1] if at + 1 < len(starts) else None]


def _share(row: tuple[Field, ...], rows: Sequence[tuple[Field, ...]], prose: str) -> str:
    """The prose about this recipient: the paragraph or line that begins with its address, and for a single recipient
    all the rest."""
    recipient = _recipient(row)
    if not recipient:
        return prose if len(rows) == 1 else ""
    others = [re.escape(name) for other in rows if (name := _recipient(other)) and name.lower() != recipient.lower()]
    start = re.search(rf"^[ \t]*[<'\"]?{re.escape(recipient)}(?=[>'\":\s])", prose, re.IGNORECASE | re.MULTILINE)
    if start is None:
        return prose if len(rows) == 1 else ""
    if len(rows) == 1:
        rest = prose[start.end() :].lstrip(" >:")
        return rest if unwrap(rest) else f"{rest}\n\n{prose}"
    rest = prose[start.end() :]
    stop = re.search(rf"^[ \t]*[<'\"]?(?:{'|'.join(others)})", rest, re.IGNORECASE | re.MULTILINE) if others else None
    return rest[: stop.start()] if stop else rest


def _read_row(group: tuple[Field, ...], prose: str, reporter: str, handed: bool) -> Bounced:
    recipient = _recipient(group)
    # Only a server of the recipient's is known to relay others' mail: another may send for its own people.
    relayed = handed and organisation(reporter) == organisation(recipient.rpartition("@")[2])
    given = _value(group, "status")
    comment = given.partition("(")[2].strip(") ")
    diagnostic = _typed(group, "diagnostic-code") or comment
    status = _STATUS.search(given)
    remote = _host(group, "remote-mta").lower()
    action = find_action(_value(group, "action"), status[0] if status else "", prose)
    refusal = None
    if action in ("failed", "delayed"):
        witness = Witness("" if remote == reporter.lower() else remote, reporter, relayed)
        own = _OWN_WORDS.match(_value(group, "diagnostic-code")) is not None
        refusal = find_refusal(diagnostic, status[0] if status else "", prose, witness, action, own)
        refusal = _name_cause(refusal, group)
    words = diagnostic or (shorten(prose) if refusal is not None and not refusal.quote else "")
    return Bounced(recipient, action, status[0] if status else "", words, remote, refusal)


def _name_cause(refusal: Refusal | None, group: tuple[Field, ...]) -> Refusal | None:
    """A notification of this gateway names the cause where no other server replied: the text may be the words of an
    administrator."""
    cause = _CAUSES.get(_value(group, "x-waypost-cause"))
    if refusal is None or cause is None or not _value(group, "diagnostic-code").lower().startswith("x-waypost"):
        return refusal
    return replace(refusal, cause=cause, advice=advise(cause, refusal.relayed))


def _recipient(group: tuple[Field, ...]) -> str:
    """Final-Recipient, unless it is not an address and the original one is."""
    found = [_typed(group, name) for name in ("final-recipient", "original-recipient")]
    best = next((name for name in found if "@" in name), next((name for name in found if name), ""))
    # RFC 6533 section 3: letters outside ASCII in a form for ASCII
    return _CODED.sub(lambda code: chr(min(int(code[1], 16), 0x10FFFF)), best)


def _was_handed_on(message: MimePart, reporter: str) -> bool:
    """The returned header shows that the reporter received the message from a server of another name, and not from an
    authenticated user."""
    returned = message.find(*_RETURNED)
    place = organisation(reporter)
    if returned is None or not place:
        return False
    body = returned.octets()
    header = parse_header(body[: body.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in body else body)
    return any(
        organisation(hop.by) == place
        and organisation(hop.rdns or hop.sender) not in ("", place)
        and not hop.protocol.upper().endswith("A")
        for hop in read_hops(header)
    )


def _host(group: Sequence[Field], name: str) -> str:
    value = _typed(group, name)
    found = _HOST.search(value)
    return (found[0] if found else value.partition(" ")[0]).strip(".")


def _typed(group: Sequence[Field], name: str) -> str:
    """A value without its type, `dns; host` -> `host`."""
    value = _value(group, name)
    type, semicolon, rest = value.partition(";")
    return rest.strip().strip("<>") if semicolon and " " not in type.strip() else value


def _value(group: Sequence[Field], name: str) -> str:
    found = fields(tuple(group), name)
    return " ".join(unfold(found[0].value).encode("utf-8", "replace").decode().split()) if found else ""
