"""The words by which a message is found, from its story; and whether a message is what a query asks for.

The index holds the terms of each message. A query becomes terms, too, which every message that matches has: the index
proposes messages, and `matches` decides.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

from gateway.mail.author import read_mailboxes
from gateway.mail.domain import a_label
from gateway.mail.header import decode_words, fields, parse_header, unfold
from gateway.mail.path import encode_xtext
from gateway.model.decision import Action
from gateway.model.delivery import Final, Story
from gateway.model.envelope import IPText
from gateway.model.result import Authentication, DkimVerdict
from gateway.model.search import UNSETTLED, DeliveryState, FoundMessage, FoundRecipient, MessageQuery

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_SIMPLE_FROM = re.compile(
    rb"[ \t]*(?:[\w .\-]*|\"[\w .,\-]*\")[ \t]*<([\w.+\-]+@[a-z0-9.\-]+)>[ \t]*", re.ASCII | re.IGNORECASE
)
"""The usual form of a From field, which has one reading."""
_MOST_FIELD = 2000
"""Octets of a field that are read, so that a hostile one costs no more than others."""
_MOST_AUTHORS = 5
_MOST_TERM = 100
"""Characters of a term; a longer one is cut, and `matches` compares the rest."""
_MOST_WORDS = 20
"""Words of a subject that can be searched for."""
_SHORTEST_BEGINNING = 3
_PLAIN = re.compile(r"[!#$&()*+,\-./0-9:;<=>?@A-Z\[\\\]^_`a-z{|}~]*")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\"'%]")
_WORD = re.compile(r"\w+")
_ENDED = {
    Final.DELIVERED: DeliveryState.DELIVERED,
    Final.FAILED: DeliveryState.FAILED,
    Final.WITHHELD: DeliveryState.WITHHELD,
    Final.EXPIRED: DeliveryState.EXPIRED,
    Final.DELETED: DeliveryState.DELETED,
    Final.RETURNED: DeliveryState.DEFERRED,
}
_DECIDED = {
    Action.REJECT: DeliveryState.REFUSED,
    Action.DEFER: DeliveryState.DEFERRED,
    Action.GREYLIST: DeliveryState.GREYLISTED,
}


def summarize(story: Story) -> FoundMessage:
    """The message as a list shows it."""
    trace, results = story.trace, story.trace.authentication
    header = trace.evidence.header if trace.evidence else b""
    lower = b"\r\n" + header.lower()
    ingress = trace.edge or trace.internal
    return FoundMessage(
        id=trace.id,
        received=trace.received,
        client=(ingress.client if ingress else None) or "",
        mail_from=str(trace.envelope.mail_from or ""),
        author=_read_author(_read_field(header, lower, b"from")),
        rcpts=tuple(_find_recipients(story)),
        subject=decode_words(unfold(_read_field(header, lower, b"subject"))),
        message_id=unfold(_read_field(header, lower, b"message-id")).strip("<> \t"),
        size=trace.content.size if trace.content else None,
        action=trace.decision.action.value,
        rule=trace.decision.rule,
        reply=str(trace.decision.reply),
        spf=results.spf.result.value if results else "",
        dkim=_choose_dkim(results) if results else "",
        dmarc=results.dmarc.result.value if results else "",
    )


def _read_field(header: bytes, lower: bytes, name: bytes) -> bytes:
    """The first field of that name; empty without one. `lower` is the header in lower case after a line end."""
    at = lower.find(b"\r\n%b:" % name)
    if at >= 0:
        start = at + len(name) + 1
        end = _FIELD_END.search(header, start, start + _MOST_FIELD)
        return header[start : end.start() if end else start + _MOST_FIELD]
    if name not in lower:
        return b""
    # Obsolete syntax has white space before the colon.
    found = fields(parse_header(header), name.decode("ascii"))
    return found[0].value[:_MOST_FIELD] if found else b""


def _read_author(value: bytes) -> str:
    usual = _SIMPLE_FROM.fullmatch(value)
    if usual:
        return usual[1].decode("ascii")
    mailboxes = read_mailboxes(value) if value else None
    if mailboxes is None:
        return unfold(value)
    return ", ".join(str(one) for one in mailboxes[:_MOST_AUTHORS])


def _choose_dkim(results: Authentication) -> str:
    verdicts = [one.result for one in results.dkim]
    if DkimVerdict.PASS in verdicts:
        return DkimVerdict.PASS.value
    return verdicts[0].value if verdicts else "none"


def _find_recipients(story: Story) -> Iterator[FoundRecipient]:
    """Each recipient that the client named, once for each address and copy that it stands for. A forwarded copy names
    it as its original recipient (RFC 3461 section 5.2.5)."""
    trace = story.trace
    marked = trace.decision.action is Action.QUARANTINE
    named = {str(one.mailbox): one for one in trace.envelope.rcpts}
    routes = dict(trace.routes)
    if not story.endings and not story.waiting:
        # A rule holds the whole message: its transfers are made at its release.
        decided = _DECIDED.get(trace.decision.action, DeliveryState.WAITING)
        state = DeliveryState.HELD if story.held else decided
        reply = "" if trace.decision.action.keeps else str(trace.decision.reply)
        for one in trace.envelope.rcpts:
            yield FoundRecipient(str(one.mailbox), routes.get(one.mailbox.canonical, ""), state, reply)
        return
    originals = {one.orcpt or f"rfc822;{encode_xtext(name)}": name for name, one in named.items()}
    said: dict[str, tuple[str, str]] = {}
    for attempt in story.attempts:
        for outcome in attempt.outcomes:
            said[str(outcome.rcpt.mailbox)] = attempt.backend, str(outcome.reply)
    for ending in story.endings:
        at = str(ending.rcpt.mailbox)
        state = _ENDED[ending.state]
        if marked and state is DeliveryState.DELIVERED:
            state = DeliveryState.QUARANTINED
        name = at if at in named else originals.get(ending.rcpt.orcpt, at)
        backend = said[at][0] if at in said else routes.get(ending.rcpt.mailbox.canonical, "")
        yield FoundRecipient(name, backend, state, str(ending.reply))
    held = frozenset(story.held_transfers)
    for transfer in story.waiting:
        for rcpt in transfer.rcpts:
            at = str(rcpt.mailbox)
            name = at if at in named else originals.get(rcpt.orcpt, at)
            state = DeliveryState.HELD if transfer.id in held else DeliveryState.WAITING
            yield FoundRecipient(name, transfer.backend, state, said.get(at, ("", ""))[1])


def find_terms(found: FoundMessage, subjects: bool) -> frozenset[str]:
    """The terms of a message that never change; those of its subject only if `subjects` may be searched."""
    terms = {f"x:{found.id}", f"rule{found.rule}", f"spf{found.spf}", f"dmarc{found.dmarc}"}
    for sender in {found.mail_from, *_split_authors(found)}:
        terms.add(f"s:{_fold(sender)}" if sender else "s:<>")
        terms.update(f"sd:{domain}" for domain in _zones(sender))
    for one in found.rcpts:
        terms.add(f"r:{_fold(one.address)}")
        terms.update(f"rd:{domain}" for domain in _zones(one.address))
    if found.client:
        terms.add(_spell(found.client))
    if found.message_id:
        terms.add(_hash(found.message_id))
    if subjects:
        terms.update(f"w:{word}" for word in _words(found.subject))
    return _escape_all(terms) | find_late_terms(found)


def find_late_terms(found: FoundMessage) -> frozenset[str]:
    """The terms that a message may get later. It never loses one."""
    states = {f"z:{one.state}" for one in found.rcpts if one.state not in UNSETTLED}
    return _escape_all(states | {f"b:{one.backend}" for one in found.rcpts if one.backend})


def ask_terms(query: MessageQuery, subjects: bool) -> tuple[tuple[str, ...], ...]:
    """Terms that a matching message has: one of each tuple. A term that ends in a blank is the beginning of one."""
    asked = [_ask_word(_fold(word.strip("<>")), subjects) for word in query.words]
    if query.sender:
        asked.append(("s:<>",) if query.sender == "<>" else (_ask_address("s", query.sender),))
    if query.rcpt:
        asked.append((_ask_address("r", query.rcpt),))
    if query.domain:
        domain = _domain(query.domain)
        asked.append((f"sd:{domain}", f"rd:{domain}"))
    if query.message_id:
        asked.append((_hash(query.message_id.strip("<> ")),))
    if query.network:
        asked.append((_ask_network(query.network),))
    if query.subject and subjects:
        asked += [(_begin("w", word),) for word in _words(query.subject)]
    for name in ("rule", "spf", "dmarc"):
        if value := getattr(query, name):
            asked.append((f"{name}{value}",))
    if query.backend:
        asked.append((f"b:{query.backend}",))
    if query.state is not None and query.state not in UNSETTLED:
        asked.append((f"z:{query.state}",))
    return tuple(tuple(map(_escape_asked, terms)) for terms in asked)


def _ask_word(word: str, subjects: bool) -> tuple[str, ...]:
    domain = _domain(word)
    terms = [f"x:{word}", _begin("s", word), _begin("r", word), f"sd:{domain}", f"rd:{domain}", _hash(word)]
    if subjects:
        terms += [_begin("w", part) for part in _words(word)[:1]]
    if _network(word) is not None:
        terms.append(_ask_network(word))
    return tuple(terms)


def _begin(kind: str, word: str) -> str:
    return f"{kind}:{word}{' ' if len(word) >= _SHORTEST_BEGINNING else ''}"


def _ask_address(kind: str, text: str) -> str:
    local, _, domain = text.strip("<>").rpartition("@")
    return f"{kind}:{_fold(text.strip('<>'))}" if local else f"{kind}d:{_domain(domain)}"


def matches(query: MessageQuery, found: FoundMessage, subjects: bool) -> bool:
    """The message is what the query asks for."""
    if query.since is not None and found.received < query.since:
        return False
    if query.until is not None and found.received > query.until:
        return False
    senders = [found.mail_from, *_split_authors(found)]
    rcpts = [one.address for one in found.rcpts]
    if query.sender and not any(_is_address(query.sender, sender) for sender in senders):
        return False
    if query.rcpt and not any(_is_address(query.rcpt, rcpt) for rcpt in rcpts):
        return False
    if query.domain and not any(_domain(query.domain) in _zones(one) for one in (*senders, *rcpts)):
        return False
    if query.message_id and found.message_id.lower() != query.message_id.strip("<> ").lower():
        return False
    if query.network and not _is_inside(query.network, found.client):
        return False
    if query.subject and not (subjects and _has_words(query.subject, found.subject)):
        return False
    if query.state is not None and not any(one.state is query.state for one in found.rcpts):
        return False
    if query.backend and not any(one.backend == query.backend for one in found.rcpts):
        return False
    said = ((query.rule, found.rule), (query.spf, found.spf), (query.dmarc, found.dmarc))
    if any(asked and asked != is_there for asked, is_there in said):
        return False
    return all(_has_word(_fold(word.strip("<>")), found, (*senders, *rcpts), subjects) for word in query.words)


def _has_word(word: str, found: FoundMessage, addresses: Sequence[str], subjects: bool) -> bool:
    if word in (found.id, found.message_id.lower()):
        return True
    long = len(word) >= _SHORTEST_BEGINNING
    for address in map(_fold, addresses):
        if address == word or (long and address.startswith(word)) or _domain(word) in _zones(address):
            return True
    if subjects and _words(word) and _has_words(word, found.subject):
        return True
    return _network(word) is not None and _is_inside(word, found.client)


def _is_address(asked: str, address: str) -> bool:
    if asked == "<>":
        return not address
    local, _, domain = asked.strip("<>").rpartition("@")
    return _fold(address) == _fold(asked.strip("<>")) if local else _domain(domain) in _zones(address)


def _has_words(asked: str, subject: str) -> bool:
    words = _words(subject)
    return all(
        any(word == one or (len(one) >= _SHORTEST_BEGINNING and word.startswith(one)) for word in words)
        for one in _words(asked)
    )


def _is_inside(asked: str, client: str) -> bool:
    network = _network(asked)
    return network is not None and bool(client) and ipaddress.ip_address(client) in network


def _split_authors(found: FoundMessage) -> list[str]:
    return [one for one in found.author.split(", ") if one]


def _words(text: str) -> list[str]:
    return [word[:_MOST_TERM] for word in _WORD.findall(text.lower())[:_MOST_WORDS]]


def _fold(address: str) -> str:
    """An address for comparison: lower case, its domain in A-labels."""
    local, at, domain = address.lower().rpartition("@")
    return f"{local}{at}{_domain(domain)}"


@lru_cache(maxsize=8192)
def _domain(text: str) -> str:
    text = text.strip().strip(".@")
    return (a_label(text) or text).lower()


@lru_cache(maxsize=8192)
def _zones(address: str) -> tuple[str, ...]:
    """The domain of an address, and those above it of two labels and more."""
    domain = _domain(address.rpartition("@")[2])
    labels = domain.split(".")
    above = (".".join(labels[at:]) for at in range(1, len(labels) - 1))
    return (domain, *above) if domain and "@" in address else ()


@lru_cache(maxsize=8192)
def _spell(client: IPText | str) -> str:
    """An address in hexadecimal digits, so that a network is a beginning."""
    if ":" not in client:
        return "i4" + "".join([f"{int(octet):02x}" for octet in client.split(".")])
    address = ipaddress.ip_address(client)
    return f"i{address.version}{address.packed.hex()}"


@lru_cache(maxsize=64)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _ask_network(text: str) -> str:
    """The beginning that the spelled addresses of a network share. Raises ValueError."""
    network = ipaddress.ip_network(text, strict=False)
    spelled = _spell(str(network.network_address))
    whole = network.prefixlen == network.max_prefixlen
    return spelled if whole else f"{spelled[: 2 + network.prefixlen // 4]} "


def _hash(message_id: str) -> str:
    digest = blake2b(message_id.lower().encode("utf-8", "surrogateescape"), digest_size=6)
    return f"m{digest.hexdigest()}"


def _escape_all(terms: set[str]) -> frozenset[str]:
    if _PLAIN.fullmatch("".join(terms)) and max(map(len, terms), default=0) <= _MOST_TERM:
        return frozenset(terms)
    return frozenset(map(_escape, terms))


def _escape(term: str) -> str:
    """A term without blanks, quotes and control characters, so that it is one word to the index."""
    safe = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02x}", term[:_MOST_TERM])
    return safe if safe.isascii() else safe.encode("utf-8", "backslashreplace").decode("utf-8")


def _escape_asked(term: str) -> str:
    begins = term.endswith(" ")
    return _escape(term[:-1]) + " " if begins else _escape(term)
