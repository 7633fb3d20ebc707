"""Bounces of any mail system -> who could not be reached, and the replies that say why.

Delivery status notifications (RFC 3464) give it in fields; qmail, Exim, older Exchange and others in prose alone. Read
leniently and in linear time; nothing raises.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from gateway.diagnosis.hops import organisation, read_hops
from gateway.diagnosis.mime import MimePart
from gateway.mail.header import Field, fields, parse_header, unfold
from gateway.mail.refusal import Cause, Refusal, classify, classify_text
from gateway.mail.refusal.nesting import unwrap
from gateway.model.reply import Reply
from gateway.model.value import Value

_MOST_RECIPIENTS = 200
_MOST_TEXT = 50_000
_REPORTS = ("message/delivery-status", "message/global-delivery-status")
_STATUS = re.compile(r"([245])\.(\d{1,3}\.\d{1,3})")
_IN_BRACKETS = re.compile(r"\(?#\s*([45])\.(\d{1,3}\.\d{1,3})\)?")
_MAILBOX = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}"
_NAMED = re.compile(
    rf"^[ \t]{{0,8}}['\"<]?(?P<mailbox>{_MAILBOX})['\">]?(?:[ \t]*\([^)\n]*\))?:?(?=[ \t]*$| on | \.\.\.|:)", re.M
)
_ANYWHERE = re.compile(_MAILBOX)
_COPY = re.compile(
    r"^-{2,}.{0,60}(?:copy of|original message|returned message|unsent message|message header|below this line)"
    r"|^Original message headers",
    re.IGNORECASE | re.MULTILINE,
)
_PROSE = re.compile(
    r"could ?n[o']t be delivered|not be delivered|unable to deliver|delivery (?:has )?failed|failed to deliver"
    r"|undeliver(?:able|ed)|did not reach|returned to sender|delivery to the following|n't able to deliver"
    r"|permanent (?:fatal )?error|message blocked|delivery incomplete|delivery status notification",
    re.IGNORECASE,
)
_ROBOT = re.compile(r"mailer-?daemon|postmaster|mail ?delivery|microsoftexchange|<>", re.IGNORECASE)
_TAG = re.compile(
    r"<(?:style|script)\b(?:[^<]|<(?!/(?:style|script)\b))*|<[^<>]*>",
    re.IGNORECASE,
)
"""A style or a script that is not closed reaches to the end."""


class Bounced(Value):
    """What became of one recipient."""

    recipient: str
    """Empty where the bounce does not say."""
    action: str
    """failed, delayed, delivered, relayed or expanded."""
    status: str
    """The enhanced code that the bounce gives in a field of its own; empty without one."""
    diagnostic: str
    """The words that the reply was found in, on one line."""
    remote: str
    """The server that the reporter talked to, as it says."""
    refusal: Refusal | None
    """None when nothing failed."""


class Bounce(Value):
    """One bounce."""

    form: str
    """`dsn` with fields, `text` without."""
    reporter: str
    """The server that could not deliver; empty when it names none."""
    recipients: tuple[Bounced, ...]


def read_bounce(message: MimePart) -> Bounce | None:
    """The bounce; None for a message that is none."""
    reports = [part for part in message.walk() if part.type in _REPORTS]
    prose = _prose(message)
    if reports:
        # Some put their prose into a part of this type, too.
        report = next((part for part in reports if b"-recipient" in part.octets().lower()), reports[0])
        return _read_report(
            report, message, "\n".join([prose, *(part.text() for part in reports if part is not report)])
        )
    subject = message.value("subject")
    robot = _ROBOT.search(f"{message.value('from')} {message.value('return-path')}")
    failed = message.value("x-failed-recipients")
    if not failed and not (robot and (_PROSE.search(prose) or _PROSE.search(subject))):
        return None
    host = re.search(r"@([A-Za-z0-9.-]+)", message.value("from"))
    return Bounce("text", host[1].lower() if host else "", tuple(_read_prose(prose, failed)))


def _prose(message: MimePart) -> str:
    """What people are told; without the copy of the message that follows it in older bounces."""
    parts = [part for part in message.walk() if part.type in ("text/plain", "text/html") and not part.children]
    plain = [part.text() for part in parts if part.type == "text/plain"]
    text = "\n".join(plain) if any(piece.strip() for piece in plain) else "\n".join(map(_strip_tags, parts))
    text = text[:_MOST_TEXT].replace("\r\n", "\n")
    copy = _COPY.search(text)
    return text[: copy.start()] if copy else text


def _strip_tags(part: MimePart) -> str:
    return html.unescape(_TAG.sub("\n", part.text()[:_MOST_TEXT]))


def _read_report(report: MimePart, message: MimePart, prose: str) -> Bounce:
    """RFC 3464 section 2: fields of the message, then those of each recipient."""
    groups = [
        parse_header(group + b"\r\n") for group in re.split(rb"\r\n(?:[ \t]*\r\n)+", report.octets()) if group.strip()
    ]
    reporter = _typed(groups[0], "reporting-mta") if groups else ""
    handed = _was_handed_on(message, reporter)
    rows = [group for group in groups if fields(group, "final-recipient") or fields(group, "original-recipient")]
    rows = rows[:_MOST_RECIPIENTS]
    alone = len(rows) == 1
    return Bounce("dsn", reporter, tuple(_read_row(row, prose if alone else "", reporter, handed) for row in rows))


def _read_row(group: tuple[Field, ...], prose: str, reporter: str, handed: bool) -> Bounced:
    recipient = _typed(group, "final-recipient") or _typed(group, "original-recipient")
    # Only a server of the recipient's is known to be a relay of others' mail: another may send for its own people.
    relayed = handed and organisation(reporter) == organisation(recipient.rpartition("@")[2])
    diagnostic = _typed(group, "diagnostic-code")
    status = _STATUS.search(_value(group, "status"))
    remote = _typed(group, "remote-mta").split(" ")[0].lower()
    action = _value(group, "action").lower() or "failed"
    refusal = None
    if action in ("failed", "delayed"):
        refusal = _find_refusal(diagnostic, status, prose, _Talk(remote, reporter, relayed))
    return Bounced(
        recipient=recipient,
        action=action,
        status=status[0] if status else "",
        diagnostic=diagnostic,
        remote=remote,
        refusal=refusal,
    )


class _Talk(Value):
    """Between which servers it happened."""

    remote: str
    reporter: str
    relayed: bool

    def read(self, words: str) -> Refusal | None:
        return classify_text(words, self.remote, self.relayed, self.reporter)


def _find_refusal(diagnostic: str, status: re.Match[str] | None, prose: str, talk: _Talk) -> Refusal:
    """The most telling of what the field, the prose and the status say: the field, unless the prose quotes a reply
    that was passed on and the field does not."""
    given, told = talk.read(diagnostic), talk.read(prose)
    found = [refusal for refusal in (given, told) if refusal is not None]
    if told is not None and given is not None and "->" in prose and len(told.layers) > len(given.layers):
        found.reverse()
    known = [refusal for refusal in found if refusal.cause is not Cause.UNKNOWN]
    if known:
        return known[0]
    last = classify(_by_status(diagnostic or prose, status), talk.remote, talk.relayed)
    return last if last.cause is not Cause.UNKNOWN or not found else found[0]


def _by_status(text: str, status: re.Match[str] | None) -> Reply:
    """A reply made of words and a status field, for a reporter that quotes none."""
    mark = status or _IN_BRACKETS.search(text)
    digit, detail = (mark[1], mark[2]) if mark else ("5", "")
    return Reply(450 if digit == "4" else 550, "" if detail == "0.0" else detail, " ".join(text[:2000].split()))


def _read_prose(prose: str, failed: str) -> Iterator[Bounced]:
    """A paragraph for each recipient, each beginning with the address."""
    starts = list(_NAMED.finditer(prose))[:_MOST_RECIPIENTS]
    wanted = {found[0].lower() for found in _ANYWHERE.finditer(failed[:4000])}
    starts = [start for start in starts if not wanted or start["mailbox"].lower() in wanted] or starts
    if not starts:
        recipient = next(iter(wanted), "") or next((found[0] for found in _ANYWHERE.finditer(prose)), "")
        yield _told(recipient, prose)
        return
    seen: set[str] = set()
    for at, start in enumerate(starts):
        end = starts[at + 1].start() if at + 1 < len(starts) else len(prose)
        if start["mailbox"].lower() not in seen:
            seen.add(start["mailbox"].lower())
            words = prose[start.start() : end]
            yield _told(start["mailbox"], words if _says_why(words) else prose)


def _says_why(words: str) -> bool:
    return bool(unwrap(words)) or len(words.split()) > 3


def _told(recipient: str, words: str) -> Bounced:
    refusal = classify_text(words)
    if refusal is None or refusal.cause is Cause.UNKNOWN:
        bare = classify(_by_status(words.replace(recipient, "<>", 1) if recipient else words, None))
        refusal = bare if refusal is None or bare.cause is not Cause.UNKNOWN else refusal
    action = "delayed" if refusal.reply.transient and re.search(r"delay|still be|will be retried", words) else "failed"
    return Bounced(recipient, action, "", " ".join(words[:2000].split()), "", refusal)


def _was_handed_on(message: MimePart, reporter: str) -> bool:
    """The returned header shows that the reporter had the message from a server of another name, and not from someone
    who logged in."""
    returned = message.find("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers")
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


def _typed(group: Sequence[Field], name: str) -> str:
    """A value without its type, `dns; host` -> `host`."""
    value = _value(group, name)
    type, semicolon, rest = value.partition(";")
    return rest.strip().strip("<>") if semicolon and " " not in type.strip() else value


def _value(group: Sequence[Field], name: str) -> str:
    found = fields(tuple(group), name)
    return " ".join(unfold(found[0].value).encode("utf-8", "replace").decode().split()) if found else ""
