"""An SPF record as terms (RFC 7208 section 4.6.1), read to be shown: verdicts come from `spf` alone."""

from __future__ import annotations

import re
from ipaddress import ip_network

from gateway.model.value import Value

RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
LOOKUPS = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
"""Terms that count against the limit of ten (RFC 7208 section 4.6.4)."""
_TERM = re.compile(
    r"(?P<qualifier>[-+~?]?)(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?P<mark>[:=]?)(?P<value>[^/]*)(?P<cidr>(?:/.*)?)"
)
_CIDR = re.compile(r"(?:/(?P<four>\d{1,2}))?(?://(?P<six>\d{1,3}))?")
_NAMED = frozenset({"include", "exists"})
_MECHANISMS = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})
_MODIFIERS = frozenset({"redirect", "exp"})


class Term(Value):
    """One term."""

    text: str
    name: str
    """Lower case: a mechanism, or a modifier."""
    qualifier: str
    """One of + - ~ ?."""
    value: str
    """The domain or network; empty where the record's own domain is meant."""
    four: int
    """Prefix lengths."""
    six: int
    problem: str
    """What is wrong with it; empty when nothing is."""

    @property
    def counts(self) -> bool:
        return self.name in LOOKUPS

    @property
    def macro(self) -> bool:
        """It depends on the message."""
        return "%" in self.value


def is_spf(record: str) -> bool:
    """RFC 7208 section 4.5: the version is the first term."""
    return record[:6].lower() == "v=spf1" and record[6:7] in ("", " ")


def read_terms(record: str) -> tuple[Term, ...]:
    """The terms after the version."""
    return tuple(_read(text) for text in record.split(" ")[1:] if text)


def _read(text: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        return Term(text, "", "+", "", 32, 128, "is no term of SPF")
    name, mark = found["name"].lower(), found["mark"]
    qualifier = found["qualifier"] or "+"
    value, cidr = found["value"], found["cidr"]
    if name in ("ip4", "ip6"):
        return Term(text, name, qualifier, value + cidr, 32, 128, _find_ip_problem(name, mark, value + cidr))
    if mark == "=":
        # RFC 7208 section 6: unknown modifiers are ignored, but a mechanism takes a colon.
        wrong = f"takes a colon: {name}:{value}" if name in _MECHANISMS else ""
        if name in _MODIFIERS and found["qualifier"]:
            wrong = "takes no qualifier"
        return Term(text, name, qualifier, value + cidr, 32, 128, wrong)
    lengths = _CIDR.fullmatch(cidr)
    problem = ""
    if name not in _MECHANISMS:
        problem = f"takes an equals sign: {name}={value}" if name in _MODIFIERS else "is no mechanism of SPF"
        problem += f"; ip{name[3]}: is meant" if name in ("ipv4", "ipv6") else ""
    elif name in _NAMED and not value:
        problem = "names no domain"
    elif name == "all" and mark:
        problem = "takes no value"
    elif lengths is None or (cidr and name not in ("a", "mx")):
        problem = "has a prefix length that cannot be"
    four = int(lengths["four"] or 32) if lengths else 32
    six = int(lengths["six"] or 128) if lengths else 128
    if four > 32 or six > 128:
        problem = "has a prefix length that cannot be"
    return Term(text, name, qualifier, value, min(four, 32), min(six, 128), problem)


def _find_ip_problem(name: str, mark: str, value: str) -> str:
    if mark != ":":
        return f"takes a colon: {name}:{value}"
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return "holds no network"
    return "" if network.version == int(name[2]) else f"holds an address of IPv{network.version}"
