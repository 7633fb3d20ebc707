"""Replies inside replies: a relay that reports the next server's refusal puts it behind a status of its own."""

from __future__ import annotations

import re

from gateway.model.reply import Reply
from gateway.model.value import Value

_MOST_TEXT = 8000
"""Characters that are looked at."""
_ENHANCED = r"(?P<class>[245])\.(?P<detail>\d{1,3}\.\d{1,3})(?![\w.])"
_MARKER = re.compile(
    # What may stand before a reply that has no enhanced code, or that is another server's for certain
    r"(?P<lead>->\s*|\bsmtp;\s*|\bSMTP (?:error|reply|code)\s+|LED=|<<<\s|\]:\s*|^\s*['\"<]?"
    r"|\b(?:said|says|returned|was|response|reply|answered|error)\s*(?::\s*['\"<]?|['\"<])\s*)?"
    rf"(?<![\w.])(?P<code>[245]\d\d)(?P<more>-)?(?:[ \t]*#?\s*{_ENHANCED})?(?=[\s:;,'\"-]|$|(?<=-))",
    re.IGNORECASE,
)
_WORDS_AFTER = re.compile(
    r"\s*(?:\((?:in reply to|state \d|after|during)[^)]*\)|\[[A-Za-z]+=.*|\};\{.*|Giving up on [^ ]+)\s*$",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"\bhost\s+(?P<named>[A-Za-z0-9._-]+)\s*\[[^\]\s]*\]\s*(?:said)?:?\s*$"
    r"|(?:server|by|talking to|from)\s+(?P<plain>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"
    r"[^A-Za-z0-9]*(?:\([^)]*\))?[^()]{0,40}$",
    re.IGNORECASE,
)
_LAST_SERVER = re.compile(r"(?:LastAttemptedServerName=|\bFQDN=)(?P<name>[A-Za-z0-9._-]+)")


class Layer(Value):
    """One server's reply."""

    reply: Reply
    host: str
    """The server that said it, as the text around names it; empty when it does not."""


def unwrap(text: str) -> tuple[Layer, ...]:
    """The failing replies in a text, outermost first; () when there is none. Linear time, never raises."""
    text = " ".join(text[:_MOST_TEXT].split())
    starts = _starts(text)
    layers: list[Layer] = []
    for at, found in enumerate(starts):
        end = starts[at + 1].start() if at + 1 < len(starts) else len(text)
        if found["code"][0] == "2":
            continue
        words = _WORDS_AFTER.sub("", text[found.end() : end])
        host = _host(text[: found.start("code")], text[found.end() : end])
        layers.append(Layer(Reply(int(found["code"]), found["detail"] or "", _tidy(words, found)), host))
    # "Bad sequence of commands" only follows from a refusal before it.
    telling = [layer for layer in layers if layer.reply.code != 503]
    return tuple(telling or layers)


def _starts(text: str) -> list[re.Match[str]]:
    """Where a reply begins. A number counts if an enhanced code follows or words before it announce a reply; the same
    status again is a further line of the same reply, unless words announce it."""
    starts: list[re.Match[str]] = []
    for found in _MARKER.finditer(text):
        if not found["detail"] and found["lead"] is None:
            continue
        if starts and _continues(found, starts[-1]):
            continue
        starts.append(found)
    return starts


def _continues(found: re.Match[str], last: re.Match[str]) -> bool:
    announced = (found["lead"] or "").startswith("->")
    return not announced and found["code"] == last["code"] and found["detail"] in (last["detail"], None)


def _tidy(words: str, found: re.Match[str]) -> str:
    """The reply's text on one line: the status that begins each further line goes."""
    status = rf"(?<![\w.]){found['code']}[- ]" + (
        rf"#?{found['class']}\.{re.escape(found['detail'])}\s" if found["detail"] else r"(?<=-)"
    )
    text = re.sub(r"\s{2,}", " ", re.sub(status, "", words)).strip(" '\";:,-")
    return text.rstrip(">'\" ") if text.count(">") > text.count("<") else text


def _host(before: str, after: str) -> str:
    found = _LAST_SERVER.search(after) or _HOST.search(before[-200:])
    if found is None:
        return ""
    return next(name for name in found.groups() if name).rstrip(".").lower()
