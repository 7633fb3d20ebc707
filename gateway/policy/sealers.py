"""ARC sealers that the admin listed as trusted (RFC 8617 section 7.2). ARC is moving to Historic: removing this file
removes two facts, one rule and a setting.

In: the header and the chain's result. Out: the chain as an aggregate report shows it, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gateway.mail.author import Author
from gateway.mail.authres import ParsedResult, parse
from gateway.mail.domain import a_label
from gateway.mail.header import Field, fields, unfold
from gateway.mail.tokens import parse_tags
from gateway.model.envelope import ip_text
from gateway.model.result import ArcResult, ArcVerdict, DmarcVerdict

_MOST_CHARACTERS = 1000
_MOST_OCTETS = 8192
"""Of an ARC field that is read: sealed or not, it comes from outside."""

_PIECE = re.compile(r'(?P<open>\()|(?P<quoted>"(?:[^"\\]|\\.)*+")|(?P<plain>[^"()\\]++)', re.DOTALL)
_COMMENT_MARK = re.compile(r"[()]|\\.", re.DOTALL)
_QUOTED = '""'
"""Stands for any quoted string, because the sender of the message may have chosen its text."""
_INSTANCE = re.compile(r"\s*+i\s*+=\s*+([0-9]{1,2})\s*+;", re.ASCII)
_AUTHSERV_ID = re.compile(r'\s*+[^\s="]++(?:\s++[0-9]++)?+\s*+', re.ASCII)
_VALUE = r'(?:[^\s"]|"")++'
_PROPERTY = re.compile(rf"\s++([A-Za-z][A-Za-z0-9._-]*+)\s*+=\s*+({_VALUE})", re.ASCII)
_RESULT = re.compile(
    rf"\s*+([A-Za-z][A-Za-z0-9-]*+)(?:/[0-9]++)?+\s*+=\s*+([A-Za-z]++)((?:{_PROPERTY.pattern})*+)\s*+", re.ASCII
)
_NAME_OR_ADDRESS = re.compile(r"[A-Za-z0-9@._+-]*")


def find_trusted(header: Sequence[Field], arc: ArcResult, author: Author, trusted: Collection[str]) -> str:
    """The chain in the words of RFC 8617 section 7.2.2 if it may be trusted for this author; empty if not.

    It may be trusted under three conditions. The chain passes; the newest seal's d= is among `trusted` (A-labels); and
    that sealer's own set reports a DMARC pass for the one domain in From. The newest message signature must cover From:
    otherwise the results could belong to another author of the same domain.
    """
    if arc.result is not ArcVerdict.PASS or not arc.sealers or arc.sealers[-1] not in trusted:
        return ""
    if author.fields != 1 or len(author.domains) != 1 or author.reason:
        return ""
    newest = len(arc.sealers)
    if "from" not in _signed_names(header, newest):
        return ""
    said = [unfold(field.value) for field in _find_results(header, newest)]
    if len(said) != 1 or not _says_passed(said[0], author.domains[0]):
        return ""
    return _describe(header, arc.sealers)


def _says_passed(text: str, domain: str) -> bool:
    """True when the results, read strictly, hold one DMARC result, a pass for this domain. A sealer that quotes the
    sender's text without escaping lets the sender open a comment or a string over its results. So any irregular result
    counts as no pass."""
    plain = _drop_comments(text)
    if plain is None:
        return False
    _, authserv_id, *rows = plain.split(";")
    if rows and not rows[-1].strip():
        rows.pop()
    read = [_RESULT.fullmatch(row) for row in rows]
    if not _AUTHSERV_ID.fullmatch(authserv_id) or None in read:
        return False
    results = [(row[1].lower(), row[2].lower(), _PROPERTY.findall(row[3])) for row in read if row]
    dmarc = [(result, properties) for method, result, properties in results if method == "dmarc"]
    if len(dmarc) != 1 or dmarc[0][0] != DmarcVerdict.PASS:
        return False
    authors = [value for name, value in dmarc[0][1] if name.lower() == "header.from"]
    if len(authors) != 1 or a_label(authors[0]) != domain:
        return False
    # A result inside a comment or a string still has its name in the text.
    accounted = [authserv_id, "dmarc"]
    for _, _, properties in results:
        accounted += [name for name, _ in properties if "." in name]
        accounted += [value for _, value in properties if _NAME_OR_ADDRESS.fullmatch(value)]
    return text.lower().count("dmarc") <= sum(word.lower().count("dmarc") for word in accounted)


def _drop_comments(text: str) -> str | None:
    """Each comment as a space and each quoted string as an empty one; None when one of them is open at the end."""
    at, kept = 0, []
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            return None
        at = piece.end()
        if piece.lastgroup == "open":
            end = _comment_end(text, at)
            if end is None:
                return None
            at = end
            kept.append(" ")
        else:
            kept.append(piece[0] if piece.lastgroup == "plain" else _QUOTED)
    return "".join(kept)


def _comment_end(text: str, start: int) -> int | None:
    depth = 1
    for mark in _COMMENT_MARK.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return None


def _describe(header: Sequence[Field], sealers: Sequence[str]) -> str:
    """`arc=pass as[2].d=... as[2].s=... as[1].d=... as[1].s=... remote-ip[1]=...`, newest first."""
    selectors = {_number(tags): tags.get("s", "") for tags in _read_tags(header, "arc-seal")}
    words = ["arc=pass"]
    for instance in range(len(sealers), 0, -1):
        selector = a_label(selectors.get(instance, "")) or ""
        words += [f"as[{instance}].d={sealers[instance - 1]}", f"as[{instance}].s={selector}"]
    for result in _read_first(header):
        address = result.value("smtp", "remote-ip")
        if result.method == "arc" and address:
            words += _say_client(address)
            break
    return " ".join(words)[:_MOST_CHARACTERS]


def _read_first(header: Sequence[Field]) -> tuple[ParsedResult, ...]:
    """The results of the first sealer, for display: read leniently."""
    for field in _find_results(header, 1):
        said = parse(unfold(field.value).partition(";")[2])
        return said.results if said else ()
    return ()


def _signed_names(header: Sequence[Field], instance: int) -> list[str]:
    """h= of a set's message signature."""
    for tags in _read_tags(header, "arc-message-signature"):
        if _number(tags) == instance:
            return [name.strip().lower() for name in tags.get("h", "").split(":")]
    return []


def _read_tags(header: Sequence[Field], name: str) -> list[dict[str, str]]:
    found = (parse_tags(unfold(field.value)) for field in fields(header, name) if len(field.value) <= _MOST_OCTETS)
    return [tags for tags in found if tags]


def _number(tags: dict[str, str]) -> int:
    text = tags.get("i", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else 0


def _find_results(header: Sequence[Field], instance: int) -> list[Field]:
    """The results of a set. The chain has passed, so i= is first. A field that is too long is ignored."""
    found = []
    for field in fields(header, "arc-authentication-results"):
        number = _INSTANCE.match(unfold(field.value)) if len(field.value) <= _MOST_OCTETS else None
        if number and int(number[1]) == instance:
            found.append(field)
    return found


def _say_client(text: str) -> list[str]:
    try:
        return [f"remote-ip[1]={ip_text(text)}"]
    except ValueError:
        return []
