"""The Author Domain: what the header From says (RFC 5322 section 3.6.2, RFC 9989 section 5.3.1).

Where an entry is so malformed that readers may differ on its address, every domain it could have is given: DMARC then
judges the strictest. What stands outside the brackets of an entry is its display name, whatever it looks like. What
has no domain that could be judged, a group above all, is told in `reason`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.mail.domain import a_label
from gateway.mail.header import Field, fields, unfold
from gateway.mail.path import mailbox as parse_mailbox
from gateway.model.address import Mailbox
from gateway.model.value import Value

_MOST_DOMAINS = 5
_MOST_CHARACTERS = 16_384
"""Of all From fields together."""
_MOST_DISTINCT = 50
"""Spellings of domains that are looked at."""
_TOKEN = re.compile(r"""(?P<open>["\[(]) | (?P<special>[<>@,;:]) | (?P<atom>[^ \t\r\n"\[\]()<>@,;:\\]+)""", re.VERBOSE)
_QUOTED = {
    '"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL),
    "[": re.compile(r"\[(?:[^\[\]\\]|\\.)*\]", re.DOTALL),
}
_SPECIALS = frozenset('<>@,;:"[(')
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)


class Author(Value):
    """Who wrote the message, by its From."""

    fields: int
    """Number of From fields; RFC 5322 section 3.6 demands one."""
    domains: tuple[str, ...]
    """Distinct domains of the addresses as A-labels, in order; at most 5."""
    reason: str
    """Why there is no domain, or why `domains` does not tell all; empty when From was read whole."""


def find_author(header: tuple[Field, ...]) -> Author:
    """The domains of all From fields. Never raises; linear in the size of the header."""
    found = fields(header, "from")
    if not found:
        return Author(0, (), "no From field")
    seen, cut = _collect(found)
    names = {domain: a_label(domain) for domain in seen}
    domains = dict.fromkeys(name for name in names.values() if name is not None)
    if len(domains) > _MOST_DOMAINS:
        reason = f"more than {_MOST_DOMAINS} domains in From"
    elif cut:
        reason = "From is too long"
    elif any(name is None and domain for domain, name in names.items()):
        reason = "address without a domain name in From"
    elif "" in names:
        reason = "group in From"
    else:
        reason = "" if domains else "no address in From"
    return Author(len(found), tuple(domains)[:_MOST_DOMAINS], reason)


def read_mailboxes(value: bytes) -> tuple[Mailbox, ...] | None:
    """The addresses of one From or Sender field, for who must own them all: None where a reader could see any other
    (RFC 5322 section 3.4 without its groups and obsolete forms), and when there is none."""
    text = unfold(value)
    if len(text) > _MOST_CHARACTERS:
        return None
    found = []
    for tokens in _split_list(list(_split(text, strays=True)), ","):
        mailbox = _read_mailbox(tokens)
        if mailbox is None:
            return None
        found.append(mailbox)
    return tuple(found)


def _read_mailbox(tokens: list[str]) -> Mailbox | None:
    """`name <local@domain>` or `local@domain`: no mark that does not belong there, in the name above all."""
    inner = tokens
    if "<" in tokens:
        at = tokens.index("<")
        name, inner = tokens[:at], tokens[at + 1 :]
        if not inner or inner.pop() != ">" or any(token in _SPECIALS for token in name):
            return None
    return parse_mailbox("".join(inner)) if len(inner) == 3 and inner[1] == "@" else None


def _collect(found: tuple[Field, ...]) -> tuple[list[str], bool]:
    """What stands in the place of a domain, each once, in order, and whether something was left unread."""
    seen: dict[str, None] = {}
    room = _MOST_CHARACTERS
    for field in found:
        text = unfold(field.value)
        for domain in _read_addresses(text[:room]):
            seen[domain] = None
            if len(seen) > _MOST_DISTINCT:
                return list(seen), True
        room -= len(text) + 1
        if room < 0:
            return list(seen), True
    return list(seen), False


def _read_addresses(text: str) -> Iterator[str]:
    """The domain of each address in an address list (RFC 5322 sections 3.4 and 4.4), as it stands; empty for a group.

    A group's members are no author whom DMARC could judge, but a colon alone makes no group: it needs its semicolon.
    """
    entries: list[list[str]] = []
    entry: list[str] = []
    in_brackets = False
    group: int | None = None
    for token in _split(text):
        if in_brackets:
            in_brackets = token != ">"
            entry.append(token)
        elif token == ":":
            group = len(entries)
        elif token in {",", ";"}:
            entries.append(entry)
            entry = []
            if token == ";" and group is not None:
                del entries[group:]
                entries.append([])
                group = None
                yield ""
        else:
            in_brackets = token == "<"
            entry.append(token)
    entries.append(entry)
    for tokens in entries:
        yield from _read_entry(tokens)


def _read_entry(tokens: list[str]) -> Iterator[str]:
    """The domains of one entry: of its bracketed parts, or of all of it when it has none."""
    if "<" not in tokens:
        yield from _read_domains(tokens)
        return
    for part in _split_list(tokens, "<")[1:]:
        inner = part[: part.index(">")] if ">" in part else part
        # An obsolete route ends at the colon (RFC 5322 section 4.4): `<@relay.example:user@domain.example>`.
        routed = inner[:1] == ["@"] and ":" in inner
        yield from _read_domains(inner[inner.index(":") :] if routed else inner)


def _read_domains(tokens: list[str]) -> Iterator[str]:
    """What follows each `@`, white space around its dots removed (RFC 5322 section 4.4, obs-domain)."""
    for part in _split_list(tokens, "@")[1:]:
        domain: list[str] = []
        for token in part:
            if domain and not (domain[-1].endswith(".") or token.startswith(".")):
                break
            domain.append(token)
        yield "".join(domain) or "@"


def _split_list(tokens: list[str], mark: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _split(text: str, strays: bool = False) -> Iterator[str]:
    """Atoms, specials, quoted strings and domain literals; white space and comments are left out, and marks that
    nothing closes unless `strays` are wanted."""
    position = 0
    unclosed: set[str] = set()
    while mark := _TOKEN.search(text, position):
        position = mark.end()
        opening = mark["open"]
        if opening is None:
            yield mark.group()
        elif opening not in unclosed:
            end = _skip_comment(text, mark.start()) if opening == "(" else _skip_quoted(text, mark.start(), opening)
            if end is None:
                # Nothing later closes it either, so what follows is read as it stands, and no scan is made twice.
                unclosed.add(opening)
                if strays:
                    yield opening
                continue
            if opening != "(":
                yield text[mark.start() : end]
            position = end


def _skip_quoted(text: str, position: int, opening: str) -> int | None:
    mark = _QUOTED[opening].match(text, position)
    return mark.end() if mark else None


def _skip_comment(text: str, position: int) -> int | None:
    """Where the comment that opens at `position` ends; comments nest (RFC 5322 section 3.2.2)."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, position):
        if mark.group() == "(":
            depth += 1
        elif mark.group() == ")":
            depth -= 1
            if depth == 0:
                return mark.end()
    return None
