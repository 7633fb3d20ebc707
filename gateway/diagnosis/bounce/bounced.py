"""The result for each recipient, and the way from a bounce's words to the refusal behind it."""

from __future__ import annotations

import re

from gateway.mail.refusal import Cause, Provider, Refusal, Witness, classify_text, classify_words
from gateway.mail.refusal.advice import advise
from gateway.mail.refusal.nesting import find_status, says_nothing
from gateway.model.reply import Reply
from gateway.model.value import Value, replace

_STATUS = re.compile(r"([245])\.(\d{1,3}\.\d{1,3})")
_IN_BRACKETS = re.compile(r"\(?#\s*([45])\.(\d{1,3}\.\d{1,3})\)?")
_MOST_WORDS = 2000
_WAITS = re.compile(
    r"not yet been delivered|not been delivered yet|has been delayed|delayed \d|\bdelay(?:ed)?\b|warning message only"
    r"|will (?:be retried|keep trying|retry|continue|be repeated|try again)"
    r"|still (?:being )?(?:try|tried|retr|queued|be)"
    r"|delivery attempts will continue|temporarily (?:undelivered|delayed)|verzögert|noch nicht zugestellt|retardée?\b"
    r"|n'a pas encore|retrasad|todavía no|遅延|遅れ",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"permanent|failed permanently|giving up|given up|gave up|could not be delivered|couldn't be delivered"
    r"|will not be retried|won't be (?:retried|delivered)|n't going to try again|undeliverable",
    re.IGNORECASE,
)

_FIRST = re.compile(r"(?<=[^\s>:])\n[ \t]*\n")
"""The end of the first paragraph that is longer than an address."""


class Bounced(Value):
    """The result for one recipient."""

    recipient: str
    """Empty when the bounce does not name one."""
    action: str
    """failed, delayed, delivered, relayed or expanded."""
    status: str
    """The enhanced code that the bounce has in a field of its own; empty without one."""
    diagnostic: str
    """The words that contain the refusal, on one line."""
    remote: str
    """The server that the reporter connected to, as it says."""
    refusal: Refusal | None
    """None when nothing failed."""

    @property
    def expired(self) -> bool:
        """It was tried until its time was over, for a temporary cause."""
        gave_up = self.status.endswith(".4.7") and self.action == "failed"
        return gave_up and self.refusal is not None and self.refusal.cause is not Cause.EXPIRED


class Bounce(Value):
    """One bounce."""

    form: str
    """The form of the bounce: `dsn` with fields, `text` without, `log` a server's log line, `reply` an SMTP reply
    alone."""
    reporter: str
    """The server that could not deliver; empty when it names none."""
    recipients: tuple[Bounced, ...]


def find_action(given: str, status: str, prose: str) -> str:
    """The result for a recipient. Without a field for it the words decide, before the status: 4.4.7 occurs both in
    warnings and in final reports."""
    action = given.lower().strip(" <>.").partition(" ")[0]
    if action in ("failed", "delayed", "delivered", "relayed", "expanded"):
        return action
    if action in ("fail", "failure", "expired", "deleted", "bounced"):
        return "failed"
    if status.startswith("2"):
        return "delivered"
    return "delayed" if _WAITS.search(prose) and not _ENDS.search(prose) else "failed"


def find_refusal(diagnostic: str, status: str, prose: str, witness: Witness, action: str, own: bool = False) -> Refusal:
    """The most informative refusal in the field, the prose and the status: the field, unless the prose says more of the
    same reply, or quotes a forwarded reply and the field does not.

    `own`: the field's type says that its words are the reporter's own, even if they have the form of a reply.
    """
    given, told = classify_text(diagnostic, witness), classify_text(prose, witness)
    if own and given is not None and len(given.layers) == 1:
        told = told if told is not None and told.reply != given.reply else None
        given = replace(given, quote="", layers=(), refuser="", provider=Provider.OTHER)
    found = [refusal for refusal in (given, told) if refusal is not None]
    if given is not None and told is not None and _tells_more(given, told, prose):
        found.reverse()
    known = [one for one in found if one.cause is not Cause.UNKNOWN and not says_nothing(one.reply)]
    words = _by_words(diagnostic, status, prose, witness)
    refusal = known[0] if known else found[0] if found and words.cause is Cause.UNKNOWN else words
    if found and not known and words.cause is not Cause.UNKNOWN:
        # The words around a reply may name a cause that the reply itself does not.
        refusal = replace(found[0], cause=words.cause, advice=words.advice, scope=words.scope)
    if refusal.cause is Cause.EXPIRED and action == "delayed":
        refusal = replace(refusal, cause=Cause.DELAYED, advice=advise(Cause.DELAYED, False))
    return refusal


def _tells_more(given: Refusal, told: Refusal, prose: str) -> bool:
    if "->" in prose and len(told.layers) > len(given.layers):
        return True
    same = (given.reply.code, given.reply.detail) == (told.reply.code, told.reply.detail)
    start = given.reply.text[:40].rstrip(". ")
    return same and len(told.reply.text) > len(given.reply.text) and told.reply.text.startswith(start)


def _by_words(diagnostic: str, status: str, prose: str, witness: Witness) -> Refusal:
    """For a reporter that quotes no reply in full: its words in the field, else those of the prose."""
    for words in (diagnostic, prose):
        quoted = find_status(words)
        refusal = classify_words(*quoted, witness) if quoted else None
        if refusal is not None and refusal.cause is not Cause.UNKNOWN:
            return refusal
    first = _FIRST.split(prose.strip(), maxsplit=1)[0]
    told = [words for words in (diagnostic, first, prose) if words.strip()] or [""]
    refusals = [classify_words(_make_reply(words, status), "", witness) for words in told]
    return next((refusal for refusal in refusals if refusal.cause is not Cause.UNKNOWN), refusals[0])


def _make_reply(words: str, status: str) -> Reply:
    """A reply made of words and a status field, for the lookup of its cause; it is never shown as a reply."""
    mark = _STATUS.search(status) or _IN_BRACKETS.search(words)
    digit, detail = (mark[1], mark[2]) if mark else ("5", "")
    return Reply(450 if digit == "4" else 550, "" if detail == "0.0" else detail, shorten(words))


def shorten(words: str) -> str:
    """Words on one line, of a length that people read."""
    return " ".join(words[:_MOST_WORDS].split())
