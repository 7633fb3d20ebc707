"""DNS as a table: the answers of a zone file, without a network.

A name exists when it or a name below it is listed; every other name is NXDOMAIN. No wildcards, no delegation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from gateway.mail.domain import a_label
from gateway.model.dnsdata import Answer, DnsStatus, Question

MOST_CNAMES = 8
_FAILURES = {"TIMEOUT": Answer(DnsStatus.TIMEOUT), "SERVFAIL": Answer(DnsStatus.SERVFAIL)}

Entry: TypeAlias = Answer | dict[str, Answer]
"""The entry of a name: an answer for each type, or one failure for all of them."""


class ZoneError(ValueError):
    """A zone that cannot be read; the text names the place."""


class Zone:
    """Answers by name and type."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """`entries` by lower-case name without final dot."""
        self._entries = entries
        self._above = {above for name in entries for above in _ancestors(name)}

    def find(self, question: Question) -> Answer:
        """The answer, aliases in the zone followed. As from a real resolver, only the queried name can be NXDOMAIN: a
        name that has a CNAME exists."""
        name = fold_name(question.name)
        kind = question.type.upper()
        for hop in range(MOST_CNAMES + 1):
            entry = self._entries.get(name)
            if isinstance(entry, Answer):
                return entry
            if entry is None:
                exists = hop > 0 or name in self._above
                return Answer(DnsStatus.NODATA if exists else DnsStatus.NXDOMAIN)
            answer = entry.get(kind)
            if answer is not None and (answer.records or answer.failed):
                return answer
            alias = entry.get("CNAME")
            if alias is None or not alias.records:
                return alias if alias is not None and alias.failed else Answer(DnsStatus.NODATA)
            name = fold_name(alias.records[0])
        return Answer(DnsStatus.SERVFAIL)


def build_zone(data: object) -> Zone:
    """A zone from JSON data: `{"name": {"TXT": ["..."], "MX": ["10 host"]}}`. Raises ZoneError.

    `"TIMEOUT"` or `"SERVFAIL"` in place of a type's list, or of a whole name's object, makes that lookup fail so.
    """
    if not isinstance(data, dict):
        raise ZoneError("a zone is an object of names")
    entries: dict[str, Entry] = {}
    for name, value in data.items():
        key = fold_name(name)
        if isinstance(value, str):
            entries[key] = _read_failure(value, name)
        elif isinstance(value, dict):
            answers = {kind.upper(): _read_answer(kind.upper(), items, name) for kind, items in value.items()}
            there = entries.get(key)
            entries[key] = {**there, **answers} if isinstance(there, dict) else answers
        else:
            raise ZoneError(f'{name}: an object of record types, "TIMEOUT" or "SERVFAIL" is wanted')
    return Zone(entries)


def collect_zone(records: Iterable[tuple[str, str, str]]) -> Zone:
    """A zone from (name, type, presentation) rows that are known to be valid."""
    table: dict[str, dict[str, list[str]]] = {}
    for name, kind, record in records:
        table.setdefault(fold_name(name), {}).setdefault(kind, []).append(record)
    return Zone({name: {kind: _found(rows) for kind, rows in kinds.items()} for name, kinds in table.items()})


def fold_name(name: str) -> str:
    """Lower case, no final dot, U-labels as A-labels."""
    return (name if name.isascii() else a_label(name) or name).lower().removesuffix(".")


def _ancestors(name: str) -> Iterable[str]:
    while above := name.partition(".")[2]:
        yield above
        name = above


def _found(records: Iterable[str]) -> Answer:
    # An RRset holds a record once (RFC 2181 section 5).
    distinct = tuple(dict.fromkeys(records))
    return Answer(DnsStatus.FOUND, distinct) if distinct else Answer(DnsStatus.NODATA)


def _read_failure(value: str, place: str) -> Answer:
    if value not in _FAILURES:
        raise ZoneError(f'{place}: "{value}" is neither "TIMEOUT" nor "SERVFAIL"')
    return _FAILURES[value]


def _read_answer(kind: str, items: object, name: str) -> Answer:
    place = f"{name} {kind}"
    if isinstance(items, str):
        return _read_failure(items, place)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ZoneError(f"{place}: a list of strings is wanted")
    try:
        return _found(_PRESENT.get(kind, _present_words)(item) for item in items)
    except ValueError as error:
        raise ZoneError(f"{place}: {error}") from error


def _present_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("latin-1")


def _present_words(text: str) -> str:
    return " ".join(text.split())


def _present_name(text: str) -> str:
    return fold_name(text.strip()) or "."


def _present_mx(text: str) -> str:
    preference, host = text.split()
    return f"{int(preference)} {_present_name(host)}"


def _present_srv(text: str) -> str:
    *numbers, target = text.split()
    return " ".join([*numbers, _present_name(target)])


def _present_tlsa(text: str) -> str:
    usage, selector, matching, *octets = text.split()
    return f"{usage} {selector} {matching} {''.join(octets).lower()}"


_PRESENT: Mapping[str, Callable[[str], str]] = {
    "A": lambda text: str(IPv4Address(text.strip())),
    "AAAA": lambda text: str(IPv6Address(text.strip())),
    "CNAME": _present_name,
    "MX": _present_mx,
    "NS": _present_name,
    "PTR": _present_name,
    "SRV": _present_srv,
    "TLSA": _present_tlsa,
    "TXT": _present_text,
}
