"""An SPF record as terms (RFC 7208 section 4.6.1), for display: verdicts come from `spf` alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from gateway.diagnosis.records import texts
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
    """The domain or network; empty for the record's own domain."""
    four: int
    """Prefix lengths."""
    six: int
    problem: str
    """The fault; empty when there is none."""

    @property
    def counts(self) -> bool:
        return self.name in LOOKUPS

    @property
    def macro(self) -> bool:
        """The term depends on the message."""
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
        return Term(text, "", "+", "", 32, 128, texts.TERM_PROBLEMS["term"])
    name, mark = found["name"].lower(), found["mark"]
    qualifier = found["qualifier"] or "+"
    value, cidr = found["value"], found["cidr"]
    if text[-1] in _SEPARATORS:
        return Term(text, name, qualifier, "", 32, 128, texts.TERM_PROBLEMS["separator"].format(mark=text[-1]))
    if name in ("ip4", "ip6"):
        return Term(text, name, qualifier, value + cidr, 32, 128, _find_ip_problem(name, mark, value + cidr))
    if mark == "=":
        # RFC 7208 section 6: unknown modifiers are ignored, but a mechanism takes a colon.
        wrong = texts.TERM_PROBLEMS["colon"].format(name=name, value=value) if name in _MECHANISMS else ""
        if name in _MODIFIERS and found["qualifier"]:
            wrong = texts.TERM_PROBLEMS["qualifier"]
        return Term(text, name, qualifier, value + cidr, 32, 128, wrong)
    lengths = _CIDR.fullmatch(cidr)
    four = int(lengths["four"] or 32) if lengths else 32
    six = int(lengths["six"] or 128) if lengths else 128
    problem = _find_problem(name, mark, value, cidr, lengths is not None and four <= 32 and six <= 128)
    return Term(text, name, qualifier, value, min(four, 32), min(six, 128), problem)


_SEPARATORS = ",;"


def _find_problem(name: str, mark: str, value: str, cidr: str, fits: bool) -> str:
    """The fault of a mechanism other than ip4 and ip6. `fits`: its prefix lengths are possible."""
    if name in _MODIFIERS:
        return texts.TERM_PROBLEMS["equals"].format(name=name, value=value)
    if name in ("ipv4", "ipv6"):
        return texts.TERM_PROBLEMS["meant"].format(version=name[3])
    if name not in _MECHANISMS:
        return texts.TERM_PROBLEMS["mechanism"]
    if name in _NAMED and not value:
        return texts.TERM_PROBLEMS["domain"]
    if name == "all" and mark:
        return texts.TERM_PROBLEMS["value"]
    if name in ("a", "mx", "include") and (version := _version(value)):
        return texts.TERM_PROBLEMS["address"].format(version=version, value=value + cidr)
    if not fits or (cidr and name not in ("a", "mx")):
        return texts.TERM_PROBLEMS["prefix"]
    return ""


def _version(value: str) -> int:
    """The version of an IP address in the place of a name; 0 for anything else."""
    try:
        return ip_address(value).version
    except ValueError:
        return 0


def _find_ip_problem(name: str, mark: str, value: str) -> str:
    if mark != ":":
        return texts.TERM_PROBLEMS["colon"].format(name=name, value=value)
    address, slash, _ = value.partition("/")
    version = _version(address)
    if version and version != int(name[2]):
        return texts.TERM_PROBLEMS["version"].format(version=version)
    try:
        ip_network(value, strict=False)
    except ValueError:
        return texts.TERM_PROBLEMS["prefix" if slash and version else "network"]
    return ""


def find_cut_terms(terms: tuple[Term, ...]) -> tuple[str, ...]:
    """Terms that a blank after the colon has cut in two, each with the intended term."""
    return tuple(
        texts.TERM_PROBLEMS["blank"].format(name=upper.text.rstrip(":"), value=lower.text)
        for upper, lower in itertools.pairwise(terms)
        if upper.text.endswith(":") and not upper.value and lower.name not in _MECHANISMS | _MODIFIERS
    )


def merge_records(records: Sequence[str]) -> str:
    """One record for several: all their terms once, and the milder ending."""
    terms: dict[str, None] = {}
    endings = []
    for record in records:
        for term in read_terms(record):
            if term.name == "all":
                endings.append(term.qualifier)
            elif term.name == "redirect":
                terms[f"include:{term.value}"] = None
                endings.append("~")
            else:
                terms[term.text] = None
    ending = "~" if "~" in endings or not endings else max(endings, key="-~?+".index)
    return " ".join(["v=spf1", *terms, f"{ending}all"])
