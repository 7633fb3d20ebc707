"""Replies inside replies: a relay reports the next server's refusal after a status of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.model.reply import Reply
from gateway.model.value import Value

_MOST_TEXT = 8000
"""Characters that are examined."""
_ENHANCED = r"(?P<class>[245])\.(?P<detail>\d{1,3}\.\d{1,3})(?![\w.])"
_MARKER = re.compile(
    # Text that may stand before a reply without an enhanced code, or that is certainly another server's
    r"(?:(?P<nested>->\s*|\bsmtp;\s*|LED=|\b(?:said|says|returned|was|response|reply|answered|replied|error)\s*"
    r"(?::\s*['\"<]?|['\"<])\s*)"
    r"|(?P<heard><<<\s*)|(?P<told>\bSMTP (?:error|reply|code)\s+|[\]:;)(]\s*['\"<(]?|^[ \t]*(?:--\s)?['\"<]?#?))?"
    rf"(?<![\w.])(?P<code>[245]\d\d)(?P<more>-)?(?:[ \t]*['\"(]?#?\s*{_ENHANCED}\)?)?(?=[\s:;,'\"-]|$|(?<=-))",
    re.IGNORECASE | re.MULTILINE,
)
_WORDS_AFTER = re.compile(
    r"\s*(?:\((?:in reply to|state \d|after|during)[^)]*\)|\[[A-Za-z]+=.*|\};\{.*|Giving up on [^ ]+)\s*$",
    re.IGNORECASE,
)
_STOP = re.compile(
    r"\n[ \t]*\n|\n>>> |\n?\.\.\. while talking|\s+I'm not going to try again|\n?Giving up on ", re.IGNORECASE
)
_COMMAND = re.compile(
    r"(?:in reply to|after|response to|during|pipelined)\s+(?:the\s+|end of\s+)?"
    r"(?P<command>MAIL FROM|RCPT TO|MAIL|RCPT|HELO|EHLO|DATA|initial)"
    r"|>>> (?P<sent>MAIL|RCPT|HELO|EHLO|DATA)|my (?P<name>name) was rejected",
    re.IGNORECASE,
)
_COMMANDS = {"MAIL FROM": "MAIL", "RCPT TO": "RCPT", "HELO": "EHLO", "NAME": "EHLO"}
_HOST = re.compile(
    r"\bhost\s+(?P<named>[A-Za-z0-9._-]+)\s*\[[^\]\s]*\](?::\d+)?\s*(?:said)?:?\s*"
    r"(?:SMTP error[^:]*:?(?:<[^>]*>:)?\s*)?$"
    r"|(?:server|by|talking to|from|connected to)\s+(?P<plain>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"
    r"[^A-Za-z0-9]*(?:\([^)]*\))?[^()]{0,40}$",
    re.IGNORECASE,
)
_LAST_SERVER = re.compile(r"(?:LastAttemptedServerName=|\bFQDN=)(?P<name>[A-Za-z0-9._-]+)")
_STATUS_ALONE = re.compile(
    r"(?:^|[\s(<:;#-])#?(?P<class>[45])\.(?P<detail>\d{1,3}\.\d{1,3})[ \t]+(?P<text>[^\n]{3,500})", re.MULTILINE
)
_SAYS_NOTHING = re.compile(
    r"(?:<[^>]*>[. ]*|Error: )?(?:service unavailable|need (?:rcpt|mail)|bad sequence|no valid recipients)\b",
    re.IGNORECASE,
)
"""Words of a server, or of the program that quotes it, that only follow from an earlier refusal."""
_MOST_PLAIN = "5"
"""Without words that announce a reply, a number is a reply only up to x5z (RFC 5321 section 4.2.1)."""


class Layer(Value):
    """One server's reply."""

    reply: Reply
    command: str
    """The command that was answered, in upper case; empty when the surrounding text does not name it."""
    host: str
    """The server that replied, as the surrounding text names it; empty when it does not."""


def unwrap(text: str) -> tuple[Layer, ...]:
    """The failing replies in a text, outermost first; () when there is none. Linear time, never raises.

    Replies that merely follow one another, as in a transcript, are not layers: the first permanent one counts.
    """
    text = "\n".join(" ".join(line.split()) for line in text[:_MOST_TEXT].split("\n"))
    groups = [group for group in _group(text, *_starts(text)) if group]
    telling = [group for group in groups if not says_nothing(group[-1].reply)] or groups
    final = [group for group in telling if group[-1].reply.permanent] or telling
    return tuple(final[0]) if final else ()


def says_nothing(reply: Reply) -> bool:
    """The reply only follows from a refusal before it."""
    return _SAYS_NOTHING.match(reply.text) is not None


def find_status(text: str) -> tuple[Reply, str] | None:
    """A reply quoted by its enhanced code alone: as a reply, and as written. None when there is none."""
    found = _STATUS_ALONE.search(text[:_MOST_TEXT])
    if found is None:
        return None
    words = " ".join(found["text"].split())
    reply = Reply(450 if found["class"] == "4" else 550, found["detail"], words)
    return reply, f"{found['class']}.{found['detail']} {words}"


def _starts(text: str) -> tuple[list[re.Match[str]], list[int]]:
    """The starts of replies, and the latest ends. A number counts if an enhanced code follows or words before it
    announce a reply. The same status again is a further line of the same reply, unless words announce it."""
    markers = [found for found in _MARKER.finditer(text) if _counts(found)]
    # A transcript shows the other server's own words; the text around it is about that server.
    heard = [found for found in markers if found["heard"] is not None] or markers
    starts: list[re.Match[str]] = []
    ends: list[int] = []
    for found in markers:
        first = not starts or not _continues(found, starts[-1])
        if first:
            ends.append(found.start())
        if first and found in heard:
            starts.append(found)
    return starts, [*ends, len(text)]


def _counts(found: re.Match[str]) -> bool:
    announced = found["nested"] is not None or found["heard"] is not None
    plain = found["told"] is not None and found["code"][1] <= _MOST_PLAIN
    return bool(found["detail"]) or announced or plain


def _continues(found: re.Match[str], last: re.Match[str]) -> bool:
    announced = (found["nested"] or "").startswith("->")
    return not announced and found["code"] == last["code"] and found["detail"] in (last["detail"], None)


def _group(text: str, starts: Sequence[re.Match[str]], ends: Sequence[int]) -> Iterator[list[Layer]]:
    """Layers of one refusal each: a reply belongs to the one before when words there pass it on."""
    group: list[Layer] = []
    for found in starts:
        end = next(end for end in ends if end > found.start())
        if found["code"][0] == "2":
            continue
        said = _STOP.split(text[found.end() : end], maxsplit=1)[0]
        words = _WORDS_AFTER.sub("", " ".join(said.split()))
        before = " ".join(text[: found.start("code")][-400:].split())
        host = _host(before, text[found.end() : end])
        command = _command(said) or _command(before[-120:])
        layer = Layer(Reply(int(found["code"]), found["detail"] or "", _tidy(words, found)), command, host)
        if found["nested"] is None:
            yield group
            group = []
        group.append(layer)
    yield group


def _tidy(words: str, found: re.Match[str]) -> str:
    """The reply's text on one line, without the status at the start of each further line."""
    status = rf"(?:<<< )?(?<![\w.]){found['code']}[- ]" + (
        rf"(?:#?{found['class']}\.{re.escape(found['detail'])}(?:\s|$)|(?<=-))"
        if found["detail"]
        else r"(?:(?<=-)|(?<=<<< ....))"
    )
    text = re.sub(r"\s{2,}", " ", re.sub(status, "", words)).strip(" '\";:,-")
    return text.rstrip(">'\" ") if text.count(">") > text.count("<") else text


def _command(text: str) -> str:
    """The last command that the words name."""
    names = [next(name for name in found.groups() if name).upper() for found in _COMMAND.finditer(text)]
    return _COMMANDS.get(names[-1], names[-1]) if names else ""


def _host(before: str, after: str) -> str:
    found = _LAST_SERVER.search(after) or _HOST.search(before[-300:])
    if found is None:
        return ""
    return next(name for name in found.groups() if name).rstrip(".").lower()
