"""Bounces in prose: qmail, Exim, sendmail, Exchange, Gmail, Mimecast and other servers that write no fields for
programs."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from gateway.diagnosis.bounce.bounced import Bounce, Bounced, find_action, find_refusal, shorten
from gateway.diagnosis.mime import MimePart
from gateway.mail.refusal import Cause, Witness
from gateway.mail.refusal.nesting import unwrap

_MOST_RECIPIENTS = 200
_MOST_TEXT = 50_000
_MAILBOX = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}"
_NAMED = re.compile(
    r"^[ \t]{0,8}(?:--[ \t]|\*[ \t]|To:[ \t]|Recipient(?: address)?:[ \t])?['\"<(\[]{0,2}(?:mailto:|rfc822;)?"
    rf"(?P<mailbox>{_MAILBOX})['\">)\]]{{0,2}}(?:[ \t]*\([^)\n]*\))?:?,?"
    r"(?=[ \t]*$|[ \t]+on |[ \t]*\.\.\.|:|,|[ \t]*[;-][ \t]|[ \t]+\[?[45]\d\d)",
    re.MULTILINE,
)
_ANYWHERE = re.compile(_MAILBOX)
_COPY = re.compile(
    r"^[ \t]*-{2,}.{0,60}(?:copy of|original message|returned message|unsent message|message header|below this line"
    r"|message follows|undelivered message|headers? follow|message text)"
    r"|^[ \t]*(?:Original message headers|Original message follows|Your original message|Returned message follows"
    r"|(?:The )?(?:header|text)s? of (?:the |your )(?:original )?message)|^Received:[ \t]+from "
    r"|^[ \t]*-{2,}.{0,30}(?:元のメッセージ|メッセージのコピー)",
    re.IGNORECASE | re.MULTILINE,
)
_PROSE = re.compile(
    r"could ?n[o']t be (?:successfully )?(?:delivered|sent|reached)|n[o']t (?:yet )?(?:be(?:en)? )?delivered"
    r"|unable to deliver|deliver\w* .{0,20}fail|failed .{0,20}deliver|undeliver(?:able|ed)|did not reach"
    r"|return(?:ed|ing) (?:mail|message|to)"
    r"|delivery to the following|n't able to deliver|permanent (?:fatal )?error|message blocked|delivery incomplete"
    r"|delivery (?:status )?(?:notification|report|error|problem|subsystem)|non-?delivery|not delivered|mail failure"
    r"|cannot (?:be )?deliver|mail delivery|bounce|delayed|rejected your message|following (?:recipient|address)"
    r"|konnte nicht|nicht zugestellt|unzustellbar|Übermittlung|non remis|n'a pas pu être|échec de la remise"
    r"|no se (?:pudo|ha podido) entregar|no entregad|error de entrega|non recapitat|não foi (?:possível )?entreg"
    r"|配信|送信できません|届けられません|エラーメール|宛先|退信|не доставлено",
    re.IGNORECASE,
)
_CERTAIN = re.compile(
    r"(?:message|mail)\b.{0,120}?(?:could not|cannot|can ?not|couldn't|was not) (?:be )?delivered to"
    r"|(?:following|these) (?:recipient|address)\w*.{0,40}(?:fail|could not|undeliver)|no such user here"
    r"|automatically generated delivery status",
    re.IGNORECASE | re.DOTALL,
)
"""Words of a bounce from any server."""
_MOST_OPENING = 1500
_ROBOT = re.compile(
    r"mailer-?daemon|postmaster|mail ?(?:delivery|system|administrator|router)|microsoftexchange|<>|mdaemon"
    r"|system administrator|no-?reply|daemon|bounce|delivery|mailmaster|mxd@|robot|root@",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(?:style|script)\b(?:[^<]|<(?!/(?:style|script)\b))*|<[^<>]*>", re.IGNORECASE)
"""An unclosed style or script ends at the end of the text."""
_NO_BREAK = re.compile(r"</?(?:b|i|u|em|strong|span|font|a|code|wbr)\b[^<>]*>", re.IGNORECASE)
_HOST = re.compile(r"@([A-Za-z0-9.-]+)")


def read_prose(message: MimePart, prose: str) -> Bounce | None:
    """The bounce that a message reports without fields; None for a message that is not a bounce."""
    failed = message.value("x-failed-recipients")
    robot = _ROBOT.search(f"{message.value('from')} {message.value('return-path')} {message.value('sender')}")
    told = _PROSE.search(prose) or _PROSE.search(message.text_of("subject"))
    if not failed and not (robot and told):
        return None
    host = _HOST.search(message.value("from"))
    own = {found[0].lower() for name in ("to", "from", "sender") for found in _ANYWHERE.finditer(message.value(name))}
    subject = message.text_of("subject")
    rows = tuple(_read_recipients(prose, failed, own, subject))
    return Bounce("text", host[1].lower().strip(".") if host else "", rows)


def read_words(prose: str) -> Bounce | None:
    """The bounce in a text without a mail's header: it quotes a reply, or names a failed delivery and a cause. None
    when there is none."""
    rows = tuple(_read_recipients(prose, "", set(), ""))
    refusals = [row.refusal for row in rows if row.refusal is not None]
    quoted = any(refusal.quote for refusal in refusals)
    told = _PROSE.search(prose) and any(refusal.cause is not Cause.UNKNOWN for refusal in refusals)
    certain = _CERTAIN.search(prose[:_MOST_OPENING])
    return Bounce("text", "", rows) if quoted or told or certain else None


def tell(message: MimePart) -> str:
    """The text for people, without the copy of the message that follows it in older bounces."""
    parts = [part for part in message.walk() if part.type in ("text/plain", "text/html") and not part.children]
    plain = [part.text() for part in parts if part.type == "text/plain"]
    marked = [strip_tags(part.text()) for part in parts if part.type == "text/html"]
    # A damaged delimiter leaves a multipart without parts.
    plain += [part.text() for part in message.walk() if part.type.startswith("multipart/") and not part.children]
    text = "\n".join(plain) if any(piece.strip() for piece in plain) else "\n".join(marked)
    if plain and marked and not unwrap(text):
        # Exchange Online puts little into the plain text, and the reply for administrators into the HTML.
        text = "\n".join([text, *marked])
    return cut_copy(text)


def cut_copy(text: str) -> str:
    """A text up to the copy of the message that bounced."""
    text = text[:_MOST_TEXT].replace("\r\n", "\n")
    copy = _COPY.search(text)
    return text[: copy.start()] if copy and copy.start() > 0 else text


def strip_tags(text: str) -> str:
    """HTML as plain text."""
    return html.unescape(_TAG.sub("\n", _NO_BREAK.sub("", text[:_MOST_TEXT])))


def _read_recipients(prose: str, failed: str, own: set[str], subject: str) -> Iterator[Bounced]:
    """A paragraph for each recipient, each beginning with the address."""
    starts = list(_NAMED.finditer(prose))[:_MOST_RECIPIENTS]
    wanted = {found[0].lower() for found in _ANYWHERE.finditer(failed[:4000])}
    fitting = [start for start in starts if start["mailbox"].lower() in wanted] if wanted else []
    fitting = fitting or [start for start in starts if start["mailbox"].lower() not in own]
    if not fitting:
        named = (found[0] for found in _ANYWHERE.finditer(prose) if found[0].lower() not in own)
        recipient = next(iter(wanted), "") or next(named, "")
        yield _judge(recipient, prose, prose, subject)
        return
    seen: set[str] = set()
    for at, start in enumerate(fitting):
        if start["mailbox"].lower() in seen:
            continue
        seen.add(start["mailbox"].lower())
        following = (later for later in fitting[at + 1 :] if later["mailbox"].lower() not in seen)
        end = next((later.start() for later in following), len(prose))
        words = prose[start.start() : end]
        if len(fitting) == 1 and unwrap(prose) and not unwrap(words):
            # Some servers put the reply first, and its recipient below.
            words = prose
        if not _says_why(words):
            words = _lines_about(start["mailbox"], prose) if len(fitting) > 1 else prose
        yield _judge(start["mailbox"].strip("."), words if _says_why(words) else prose, prose, subject)


def _says_why(words: str) -> bool:
    return bool(unwrap(words)) or len(words.split()) > 3


def _lines_about(recipient: str, prose: str) -> str:
    """The lines below a list of recipients that belong to this one."""
    wanted = recipient.lower()
    return "\n".join(line for line in prose.split("\n") if wanted in line.lower())


def _judge(recipient: str, words: str, prose: str, subject: str) -> Bounced:
    action = find_action("", "", f"{subject}\n{prose}")
    bare = words.replace(recipient, "<>") if recipient else words
    refusal = find_refusal("", "", bare, Witness(), action)
    if recipient and refusal.quote:
        refusal = find_refusal("", "", words, Witness(), action)
    return Bounced(recipient, action, "", shorten(words), "", refusal)
