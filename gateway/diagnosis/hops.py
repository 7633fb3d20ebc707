"""Received fields of any writer, read leniently for people (RFC 5321 section 4.4): each field is only a claim.

Nothing here proves a message's origin; for that see `received` and `relay_formats`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from gateway.mail.header import Field, fields, unfold
from gateway.model.envelope import IPText, ip_text
from gateway.model.value import Value

_MOST_OCTETS = 8192
"""Of one field; the rest is ignored."""
_MOST_HOPS = 200
"""Only the newest are read: mail with more hops is in a loop."""
_SHORT = 3
"""Letters of a second-level name below which registries assign names, as in `co.uk`."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(
    r"(?P<day>\d{1,2})\s+(?P<month>[A-Za-z]{3})[a-z]*\.?\s+(?P<year>\d{4}|\d\d)\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:\.\d+)?\s*(?P<zone>[+-]\d{4}|[A-Za-z]{1,5})?"
)
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
"""RFC 5322 section 4.3; every other name is read as UTC."""
_FROM = re.compile(r"^\s*from\s+(?P<name>\[[^\]\s]{1,64}\]|[^\s()]{1,255})", re.IGNORECASE)
_BY = re.compile(r"(?:^|\s)by\s+(?P<by>[^\s();]{1,255})", re.IGNORECASE)
_WITH = re.compile(r"(?:^|[\s)])with\s+(?P<with>Microsoft SMTP Server|[A-Za-z0-9._-]{1,40})", re.IGNORECASE)
_ID = re.compile(r"(?:^|[\s)])id\s+(?P<id>[^\s();]{1,255})", re.IGNORECASE)
_FOR = re.compile(r"(?:^|[\s)])for\s+<?(?P<for>[^\s<>();]{1,320})", re.IGNORECASE)
_COMMENT = re.compile(r"\([^()]*\)")
_ADDRESS = re.compile(r"[\[(](?:IPv6:)?(?P<address>[0-9A-Fa-f:.]{2,45})[\])]", re.IGNORECASE)
_RDNS = re.compile(r"\((?P<rdns>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)\.?\s*[\[(]")
_TLS = re.compile(r"\bTLS_?v?(?P<version>1(?:[._][0-3])?)\b", re.IGNORECASE)
_SECURE = re.compile(
    r"\bE?SMTPSA?\b|\bUTF8SMTPSA?\b|Google Transport Security|\bHTTPS\b|\bwith cipher\b|\(TLS\)", re.IGNORECASE
)


class ReceivedHop(Value):
    """One Received field's claims; missing values are empty or None."""

    sender: str
    """The client's own name."""
    rdns: str
    address: IPText | None
    by: str
    protocol: str
    tls: str
    """`1.3` and the like; `yes` without a version; empty without TLS."""
    id: str
    recipient: str
    time: float | None
    """Epoch seconds."""
    delay: float | None
    """Seconds since the hop before it; negative when clocks differ."""
    start: int
    """Start of the field in the header block."""


def read_hops(header: Sequence[Field]) -> tuple[ReceivedHop, ...]:
    """All hops, the oldest first."""
    hops: list[ReceivedHop] = []
    last: float | None = None
    for field in reversed(fields(header, "received")[:_MOST_HOPS]):
        hop = _read(field, last)
        hops.append(hop)
        last = hop.time if hop.time is not None else last
    return tuple(hops)


def organisation(name: str) -> str:
    """The part of a host name that belongs to one organisation, by rule of thumb; empty for a text that is not a
    name."""
    labels = name.lower().strip(".[]").split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return ""
    shared = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= _SHORT
    return ".".join(labels[-3 if shared else -2 :])


def is_internal(address: IPText) -> bool:
    """An address that no other network can reach. Those of examples (RFC 5737, RFC 3849) count as reachable."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _INTERNAL)


_INTERNAL = [
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
]


def read_date(text: str) -> float | None:
    """The moment in a date-time (RFC 5322 section 3.3), obsolete forms and missing seconds allowed; None when there is
    none. Epoch seconds."""
    found = _DATE.search(text[-200:])
    if found is None or found["month"].lower() not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 2000 if year < 50 else 1900
    zone = found["zone"] or "+0000"
    if zone[0] in "+-":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        offset = -offset if zone[0] == "-" else offset
    else:
        offset = timedelta(hours=_ZONES.get(zone.upper(), 0))
    try:
        moment = datetime(
            year,
            _MONTHS.index(found["month"].lower()) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(int(found["second"] or 0), 59),
            tzinfo=UTC,
        )
        return (moment - offset).timestamp()
    except (ValueError, OverflowError):
        return None


def _read(field: Field, last: float | None) -> ReceivedHop:
    text = unfold(field.value[:_MOST_OCTETS])
    text = text.encode("utf-8", "replace").decode()
    trace, _, date = text.rpartition(";")
    trace = trace or text
    time = read_date(date)
    named = _FROM.match(trace)
    by = _BY.search(trace)
    # Text before `by` is the client's part: an address after it is the writer's own.
    client = (trace[named.end() : by.start()] if by else trace[named.end() :]) if named else ""
    tls = _TLS.search(trace)
    # Comments, one inside another, describe ciphers and clients in the same words.
    plain = _COMMENT.sub(" ", _COMMENT.sub(" ", trace))
    return ReceivedHop(
        sender=named["name"] if named else "",
        rdns=_first(_RDNS, client, "rdns").lower(),
        address=_address(client) or _address(named["name"] if named else ""),
        by=(by["by"] if by else "").lower(),
        protocol=_first(_WITH, plain, "with"),
        tls=tls["version"].replace("_", ".") if tls else "yes" if _SECURE.search(trace) else "",
        id=_first(_ID, plain, "id"),
        recipient=_first(_FOR, plain, "for"),
        time=time,
        delay=time - last if time is not None and last is not None else None,
        start=field.start,
    )


def _first(pattern: re.Pattern[str], text: str, name: str) -> str:
    found = pattern.search(text)
    return found[name] if found else ""


def _address(text: str) -> IPText | None:
    for found in _ADDRESS.finditer(text):
        try:
            return ip_text(found["address"])
        except ValueError:
            continue
    return None
