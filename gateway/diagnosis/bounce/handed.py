"""The input of `waypost bounce`: a bounce, a forwarded or pasted one, a .msg of Outlook, a log line.

The order of trial: the message itself and the messages attached to it, the outermost first; fields of a report anywhere
in the text; log lines; words around a reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.diagnosis.bounce.arf import Feedback, read_feedback
from gateway.diagnosis.bounce.bounced import Bounce, Bounced, find_refusal, shorten
from gateway.diagnosis.bounce.dsn import read_pasted, read_report
from gateway.diagnosis.bounce.logline import read_log
from gateway.diagnosis.bounce.prose import cut_copy, read_prose, read_words, strip_tags, tell
from gateway.diagnosis.mime import MimePart, read_mime
from gateway.diagnosis.outlook import is_outlook, read_outlook
from gateway.mail.header import fields
from gateway.mail.refusal import Cause, Witness
from gateway.mail.refusal.nesting import find_status, unwrap

_MOST_DEPTH = 4
_MOST_TEXT = 200_000
_MESSAGES = ("message/rfc822", "message/global", "application/vnd.ms-outlook")
_SAVED = re.compile(r"\.(?:eml|msg|txt)$", re.IGNORECASE)
_MAIL = ("from", "received", "subject", "return-path", "mime-version")
_QUOTED = re.compile(rb"^[ \t]*(?:[>|][ \t]?)+", re.MULTILINE)
_INVISIBLE = str.maketrans(
    {"\u00a0": " ", "\u200b": None, "\u200e": None, "\u200f": None, "\ufeff": None, "\u202f": " "}
)
_WIDE = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_HEADER_LINE = re.compile(rb"^(?:From|Return-Path|Received|X-Failed-Recipients):", re.IGNORECASE | re.MULTILINE)
_SUCCESS = re.compile(r"\s*2\d\d\b")


def decode(octets: bytes) -> bytes:
    """A file's octets in the form of mail: UTF-16, the UTF-8 mark of editors, and .msg files are converted."""
    if is_outlook(octets):
        return read_outlook(octets)
    for mark, charset in _WIDE:
        if octets.startswith(mark):
            return octets[2:].decode(charset, "replace").encode()
    zeros = (octets[:400:2].count(0), octets[1:400:2].count(0))
    if max(zeros) > len(octets[:400]) // 4:
        return octets.decode("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be", "replace").encode()
    return octets.removeprefix(b"\xef\xbb\xbf")


def read_handed(octets: bytes) -> Bounce | Feedback | None:
    """The bounce or the feedback report in the input; None when there is none. Lines end in CRLF."""
    message = read_mime(octets)
    vague: Bounce | None = None
    for one in _messages(message, _MOST_DEPTH):
        feedback = read_feedback(one)
        if feedback is not None:
            return feedback
        prose = tell(one)
        found = read_report(one, prose) or read_pasted(_clean(_text_of(one))) or read_prose(one, prose)
        if found is not None and not found.recipients:
            found = read_prose(one, prose) or found
        if found is None:
            continue
        causes = [row.refusal.cause for row in found.recipients if row.refusal is not None]
        if found.recipients and (found.form == "dsn" or set(causes) != {Cause.UNKNOWN}):
            return found
        # A notice may contain the bounce with more details.
        vague = vague or found
    if vague is not None:
        return vague
    mail = any(fields(message.header, name) for name in _MAIL)
    return _read_text(_clean(_text_of(message) if mail else _as_text(octets)))


def read_reply(text: str) -> Bounce:
    """The bounce when only its reply, or a log line, is known."""
    logged = read_log(text)
    if logged is not None:
        return logged
    words = shorten(text)
    if _SUCCESS.match(words):
        return Bounce("reply", "", (Bounced("", "delivered", "", words, "", None),))
    refusal = find_refusal(words, "", "", Witness(), "failed")
    if refusal.quote and refusal.reply.transient:
        refusal = find_refusal(words, "", "", Witness(), "delayed")
    action = "delayed" if refusal.quote and refusal.reply.transient else "failed"
    status = refusal.reply.enhanced if refusal.quote else ""
    return Bounce("reply", "", (Bounced("", action, status, words, refusal.refuser, refusal),))


def _messages(message: MimePart, depth: int) -> Iterator[MimePart]:
    """The message and those attached to it, the outermost first."""
    yield message
    for part in message.walk() if depth else ():
        if part.type in _MESSAGES or _SAVED.search(part.parameters.get("name", "") or _file_name(part)):
            yield from _messages(read_mime(_with_crlf(decode(part.octets()))), depth - 1)


def _file_name(part: MimePart) -> str:
    found = re.search(r'filename="?([^";]+)', part.value("content-disposition"))
    return found[1].strip() if found else ""


def _with_crlf(octets: bytes) -> bytes:
    octets = octets.lstrip(b"\r\n")
    return octets if b"\r\n" in octets else octets.replace(b"\n", b"\r\n")


def _text_of(message: MimePart) -> str:
    """All text in a mail's parts."""
    texts = [part.text() for part in message.walk() if part.type == "text/plain" and not part.children]
    texts += [strip_tags(part.text()) for part in message.walk() if part.type == "text/html"]
    texts += [part.text() for part in message.walk() if part.type.startswith("multipart/") and not part.children]
    return "\n".join(texts)


def _as_text(octets: bytes) -> str:
    text = octets[:_MOST_TEXT].decode("utf-8", "replace")
    return strip_tags(text) if "<html" in text[:2000].lower() else text


def _clean(text: str) -> bytes:
    """A text without a mail program's quoting, with CRLF."""
    plain = text[:_MOST_TEXT].translate(_INVISIBLE).replace("\r\n", "\n").encode("utf-8", "replace")
    return _QUOTED.sub(b"", plain).replace(b"\n", b"\r\n")


def _read_text(octets: bytes) -> Bounce | None:
    """A bounce that was pasted or forwarded within a text."""
    plain = octets.decode("utf-8").replace("\r\n", "\n")
    pasted = read_pasted(octets)
    if pasted is not None:
        return pasted
    logged = read_log(plain)
    if logged is not None:
        return logged
    inner = read_mime(octets[_start(octets) :])
    found = read_prose(inner, tell(inner)) if inner.header else None
    head = cut_copy(plain)
    return found or read_words(head if unwrap(head) or find_status(head) else plain)


def _start(octets: bytes) -> int:
    """The start of a pasted message's header below other text."""
    found = _HEADER_LINE.search(octets)
    return found.start() if found else 0
