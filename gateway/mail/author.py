"""The Author Domain, read from the header From (RFC 5322 section 3.6.2, RFC 9989 section 5.3.1).

A From that follows the grammar has one reading. When it breaks the grammar, mail programs disagree about the address
that they show. So every domain that a program could show is returned, and DMARC judges the strictest. `reason` reports
anything without a domain to judge, above all a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from gateway.mail.domain import a_label
from gateway.mail.header import Field, decode_words, find_fields, unfold
from gateway.mail.path import mailbox as parse_mailbox
from gateway.model.envelope import Mailbox
from gateway.model.value import Value

_MOST_DOMAINS = 5
_MOST_CHARACTERS = 16_384
"""Of all From fields together."""
_MOST_DISTINCT = 50
"""Spellings of domains that are examined."""
_TOKEN = re.compile(
    r"""(?P<open>["\[(]) | (?P<special>[<>@,;:]) | (?P<stray>[)\]\\]) | (?P<atom>[^ \t\r\n"\[\]()<>@,;:\\]+)""",
    re.VERBOSE,
)
_QUOTED = {
    '"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL),
    "[": re.compile(r"\[(?:[^\[\]\\]|\\.)*\]", re.DOTALL),
}
_SPECIALS = frozenset('<>@,;:"[()]\\')
_DROPPED = re.compile(r"""[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060\ufeff\ufffd\udc80-\udcff"()\[\]\\]""")
"""Invisible characters, octets that are not UTF-8, and quoting marks: some reader drops each of them."""
_BETWEEN_WORDS = re.compile(r"\?=\s*=\?")
"""The border of two encoded words: some readers join the words, others read each by itself."""
_AT = "@\uff20\ufe6b"
"""The sign with its wide and its small form, which readers fold to it (UTS 46)."""
_AFTER_AT = re.compile(rf"""[{_AT}]([^<>,;:"()\[\]\\{_AT}]*)""")
_EMPTY_BRACKETS = re.compile(r"<[ \t]*>")
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)


class Author(Value):
    """The author of the message, as its From names it."""

    fields: int
    """Number of From fields; RFC 5322 section 3.6 demands one."""
    domains: tuple[str, ...]
    """Distinct domains of the addresses as A-labels, in order; at most 5."""
    reason: str
    """The reason why there is no domain, or why `domains` is incomplete; empty when From was read whole."""
    doubtful: int = 0
    """Number of domains at the end of `domains` that only some readers see."""


def find_author(header: Sequence[Field]) -> Author:
    """The domains of all From fields. Never raises; linear in the size of the header."""
    found, hidden = find_fields(header, "from", within=True)
    if not found and not hidden:
        return Author(0, (), "no From field")
    names, other, cut = _collect((*found, *hidden))
    read = [name for name in names.values() if name is not None]
    domains = dict.fromkeys((*read, *other))
    if hidden:
        reason = "a line that is no From field reads as one"
    elif len(domains) > _MOST_DOMAINS:
        reason = f"more than {_MOST_DOMAINS} domains in From"
    elif cut:
        reason = "From is too long"
    elif any(name is None and domain for domain, name in names.items()):
        reason = "address without a domain name in From"
    elif "" in names:
        reason = "group in From"
    else:
        reason = "" if read else "no address in From"
    doubtful = max(0, min(len(domains), _MOST_DOMAINS) - len(set(read)))
    return Author(len(found) + len(hidden), tuple(domains)[:_MOST_DOMAINS], reason, doubtful)


def find_domains(header: Sequence[Field], name: str) -> tuple[str, ...]:
    """Every domain that a reader could see in the fields of that name, of as much of them as is read."""
    found, hidden = find_fields(header, name, within=True)
    names, other, _ = _collect((*found, *hidden))
    return tuple(dict.fromkeys((*filter(None, names.values()), *other)))


def read_mailboxes(value: bytes) -> tuple[Mailbox, ...] | None:
    """The addresses of one From or Sender field, if it has one reading. None when a reader could see any other (RFC
    5322 section 3.4 without its groups and obsolete forms), and when there is none."""
    text = unfold(value)
    if len(text) > _MOST_CHARACTERS:
        return None
    found = []
    for tokens in _split_list(list(_split(text, strays=True)), ","):
        mailbox = _read_mailbox(tokens)
        if mailbox is None:
            return None
        found.append(mailbox)
    # Python's email ends a quoted string or comment at a fold.
    folded = b"\r" in value and text.count("@") != len(found)
    return None if folded else tuple(found)


def _read_mailbox(tokens: list[str]) -> Mailbox | None:
    """`name <local@domain>` or `local@domain`, without any mark that does not belong there, above all in the name."""
    inner = tokens
    if "<" in tokens:
        at = tokens.index("<")
        name, inner = tokens[:at], tokens[at + 1 :]
        odd = any(token in _SPECIALS or (token[0] == "[" and "@" in token) for token in name)
        if not inner or inner.pop() != ">" or odd:
            return None
    # A hasty reader takes the first @ as the separator: `"a@x.example"@y.example`.
    one_at = len(inner) == 3 and inner[1] == "@" and "@" not in inner[0]
    return parse_mailbox("".join(inner)) if one_at else None


def _collect(found: tuple[Field, ...]) -> tuple[dict[str, str | None], list[str], bool]:
    """Three results: the texts in the position of a domain, each once, in order, each with its A-labels if it is a
    name; further domains that some reader could see; and whether anything was left unread."""
    seen: dict[str, str | None] = {}
    other: dict[str, None] = {}
    room = _MOST_CHARACTERS
    for field in found:
        mailboxes = read_mailboxes(field.value)
        if mailboxes is not None:
            for mailbox in mailboxes:
                literal = mailbox.ascii_domain.startswith("[")
                seen[mailbox.ascii_domain] = None if literal else mailbox.ascii_domain
            room -= len(field.value) + 1
        else:
            text = unfold(field.value)
            for domain in _read_addresses(text[:room]):
                seen[domain] = a_label(domain)
                if len(seen) > _MOST_DISTINCT:
                    return seen, list(other), True
            for domain in _read_anyhow(text[:room]):
                other[domain] = None
                if len(other) > _MOST_DISTINCT:
                    return seen, list(other), True
            room -= len(text) + 1
        if room < 0:
            return seen, list(other), True
    return seen, list(other), False


def _read_anyhow(text: str) -> Iterator[str]:
    """Every domain that a reader could find in a field which breaks the grammar: a reader that ignores brackets, quotes
    or comments, decodes before it reads (RFC 2047), drops invisible characters, or joins text across white space. A
    single label is left out: no reader takes it for a domain, and names like `Sales @ Work` are common."""
    parted = decode_words(_BETWEEN_WORDS.sub("?=,=?", text))
    closed = _drop_comments(text)
    decoded = (decode_words(text), decode_words(text, " "), decode_words("".join(text.split())), decode_words(closed))
    plain = (text, *decoded, parted, closed)
    for form in dict.fromkeys((*plain, *(_DROPPED.sub(put, one) for one in plain for put in ("", " ")))):
        tokens = list(_split(form))
        candidates = [*_read_domains(tokens), *("".join(_take_atoms(part)) for part in _split_list(tokens, "@")[1:])]
        for mark in _AFTER_AT.finditer(form):
            words = mark[1].split()
            candidates += (*words[:1], "".join(words))
        for candidate in dict.fromkeys(candidates):
            name = a_label(candidate)
            if name is not None and "." in name:
                yield name


def _read_addresses(text: str) -> Iterator[str]:
    """The domain of each address in an address list (RFC 5322 sections 3.4 and 4.4), as written; empty for a group.

    DMARC cannot judge the members of a group as authors. A colon alone does not make a group: it needs its semicolon.
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
    """The domains of one entry: of its bracketed parts, or of the whole entry when it has none."""
    if "<" not in tokens:
        yield from _read_domains(tokens)
        return
    for part in _split_list(tokens, "<")[1:]:
        inner = part[: part.index(">")] if ">" in part else part
        # An obsolete route ends at the colon (RFC 5322 section 4.4): `<@relay.example:user@domain.example>`.
        routed = inner[:1] == ["@"] and ":" in inner
        yield from _read_domains(inner[inner.index(":") :] if routed else inner)


def _read_domains(tokens: list[str]) -> Iterator[str]:
    """The text after each `@`, white space around its dots removed (RFC 5322 section 4.4, obs-domain)."""
    for part in _split_list(tokens, "@")[1:]:
        domain: list[str] = []
        for token in part:
            if domain and not (domain[-1].endswith(".") or token.startswith(".")):
                break
            domain.append(token)
        yield "".join(domain) or "@"


def _take_atoms(tokens: list[str]) -> Iterator[str]:
    return takewhile(lambda token: token not in _SPECIALS and not _AFTER_AT.match(token), tokens)


def _split_list(tokens: list[str], mark: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _split(text: str, strays: bool = False) -> Iterator[str]:
    """Atoms, specials, quoted strings and domain literals. White space and comments are left out, and unclosed marks
    too unless `strays` are wanted."""
    position = 0
    unclosed: set[str] = set()
    while mark := _TOKEN.search(text, position):
        position = mark.end()
        opening = mark["open"]
        if opening is None:
            if strays or mark["stray"] is None:
                yield mark.group()
        elif opening not in unclosed:
            end = _skip_comment(text, mark.start()) if opening == "(" else _skip_quoted(text, mark.start(), opening)
            if end is None:
                # No later mark closes it either, so the rest is read as it stands, and no scan is repeated.
                unclosed.add(opening)
                if strays:
                    yield opening
                while text.startswith(opening, position):
                    position += 1
                continue
            if opening != "(":
                yield text[mark.start() : end]
            position = end


def _skip_quoted(text: str, position: int, opening: str) -> int | None:
    mark = _QUOTED[opening].match(text, position)
    return mark.end() if mark else None


def _drop_comments(text: str) -> str:
    """The text without its comments and empty brackets. Text directly after one is joined to the text before it, as
    mailparser does: `a@x.example (note)via b` becomes `a@x.examplevia b`. A comment that never ends hides the rest."""
    parts: list[str] = []
    depth = start = 0
    for mark in _COMMENT_MARK.finditer(text):
        if mark.group() == "(":
            if depth == 0:
                parts.append(text[start : mark.start()])
            depth += 1
        elif mark.group() == ")" and depth > 0:
            depth -= 1
            start = mark.end()
    if depth == 0:
        parts.append(text[start:])
    joined = ""
    for part in (piece for one in parts for piece in _EMPTY_BRACKETS.split(one)):
        joined = (joined if part[:1].isspace() else joined.rstrip()) + part
    return joined


def _skip_comment(text: str, position: int) -> int | None:
    """The end of the comment that opens at `position`; comments nest (RFC 5322 section 3.2.2)."""
    if ")" not in text[position:]:
        return None  # thousands of marks are not counted in vain
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, position):
        if mark.group() == "(":
            depth += 1
        elif mark.group() == ")":
            depth -= 1
            if depth == 0:
                return mark.end()
    return None
