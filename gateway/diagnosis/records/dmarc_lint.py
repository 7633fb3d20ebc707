"""A DMARC record tag by tag: what it says, what it leaves to defaults, what is wrong (RFC 9989 section 4.7).

What a receiver makes of a record is decided in `dmarc_record`; this explains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gateway.diagnosis.records.typography import find_odd, repair
from gateway.model.value import Value

_URI = re.compile(r"mailto:[^@\s,!]+@[^@\s,!]+(?:![0-9]+[kmgt]?)?", re.IGNORECASE)
_PERCENT = re.compile(r"\d{1,3}")


class Tag(Value):
    """One tag of the record, or one that it leaves out."""

    name: str
    value: str
    """As it counts."""
    source: str
    """`record`, `default`, or `ignored` for one that receivers do not read."""
    meaning: str


class Lint(Value):
    """Something to mend."""

    weight: str
    """`error` where the record or a tag is void, else `warning`."""
    text: str


_POLICIES = ("none", "quarantine", "reject")
_MODES = {"r": "relaxed: a domain of the same organisation is enough", "s": "strict: only the same domain counts"}
_PSD = {"y": "the domain is a public suffix", "n": "the domain is an organisation's own", "u": "found by the tree walk"}
_OLD = {
    "pct": "removed by RFC 9989: receivers apply the whole policy; use t=y for a test",
    "rf": "removed by RFC 9989: failure reports have one format",
    "ri": "removed by RFC 9989: reports come once a day",
}
_ORDER = ("v", "p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf")


def explain(record: str) -> tuple[Tag, ...]:
    """All tags with the values that count, those left out with their defaults. `record` is in people's characters."""
    given = _split(record)
    policy = _known(given, "p", _POLICIES, "none")
    sub = _known(given, "sp", _POLICIES, policy)
    values: dict[str, tuple[str, str]] = {
        # name: value that counts, meaning
        "v": ("DMARC1", "the version"),
        "p": (policy, f"what to do with mail of this domain that fails: {_deed(policy)}"),
        "sp": (sub, f"the same for its subdomains: {_deed(sub)}"),
        "np": (_known(given, "np", _POLICIES, sub), "the same for subdomains that do not exist"),
        "adkim": _mode(given, "adkim", "DKIM"),
        "aspf": _mode(given, "aspf", "SPF"),
        "psd": _choice(given, "psd", _PSD, "u"),
        "t": _choice(given, "t", {"y": "a test: the policy one step lower", "n": "no test"}, "n"),
        "fo": (
            given.get("fo", "0"),
            "when failure reports are wanted" if "ruf" in given else "without ruf= it says nothing",
        ),
        "rua": (given.get("rua", ""), "where daily reports go" if given.get("rua") else "nobody gets reports"),
        "ruf": (
            given.get("ruf", ""),
            "where failure reports go" if given.get("ruf") else "nobody gets failure reports",
        ),
    }
    known = [
        Tag(name, values[name][0], "record" if _counts(given, name, values[name][0]) else "default", values[name][1])
        for name in _ORDER
    ]
    rest = [name for name in given if name not in _ORDER]
    return (*known, *(Tag(name, given[name], "ignored", _OLD.get(name, "no tag of DMARC")) for name in rest))


def _counts(given: dict[str, str], name: str, value: str) -> bool:
    return name in given and given[name].lower() == value.lower()


def _deed(policy: str) -> str:
    return {"none": "nothing", "quarantine": "suspect it", "reject": "refuse it"}[policy]


def _known(given: dict[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    value = given.get(name, "").lower()
    return value if value in words else default


def _mode(given: dict[str, str], name: str, method: str) -> tuple[str, str]:
    value = _known(given, name, tuple(_MODES), "r")
    return value, f"{method} alignment is {_MODES[value]}"


def _choice(given: dict[str, str], name: str, words: dict[str, str], default: str) -> tuple[str, str]:
    value = _known(given, name, tuple(words), default)
    return value, words[value]


def lint(record: str, *, exact: bool) -> tuple[Lint, ...]:
    """What is wrong with a record. `exact`: it stands at the domain that was asked about, so its sp= is for others."""
    return tuple(_lint(record, exact))


def _lint(record: str, exact: bool) -> Iterator[Lint]:
    odd = find_odd(record)
    if odd:
        yield Lint("error", f"holds {', '.join(odd)}, which void what they touch; meant is probably: {repair(record)}")
    if record.startswith(('"', "'")):
        yield Lint("error", f"begins with a quote inside the record: receivers ignore it; publish {repair(record)}")
    given, names = _split(record), [part.partition("=")[0].strip().lower() for part in record.split(";")]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        yield Lint("error", f"has {name}= twice: only the first counts, and some receivers drop the record")
    for part in record.split(";"):
        if part.strip() and "=" not in part:
            yield Lint("warning", f"has {part.strip()!r}, which is no tag")
    for name, check in _CHECKS:
        if name in given:
            problem = check(given[name])
            if problem:
                yield Lint("error", f"{name}={given[name]}: {problem}")
    if "p" not in given:
        yield Lint("error", "has no p=: it is read as p=none, and only if it has a valid rua=")
    elif names[1:2] != ["p"] and given["p"].lower() in _POLICIES:
        yield Lint("warning", "p= is not right after the version: older receivers want it there")
    yield from _advice(given, exact)


def _advice(given: dict[str, str], exact: bool) -> Iterator[Lint]:
    for name, text in _OLD.items():
        if name in given:
            yield Lint("warning", f"{name}={given[name]} is {text}")
    policy = given.get("p", "none").lower()
    if policy != "none" and given.get("sp", policy).lower() == "none" and exact:
        yield Lint("warning", "sp=none leaves subdomains open: anyone can send in the name of one")
    if "rua" not in given:
        yield Lint("warning", "has no rua=: nobody tells you who sends in your name and what fails")
    if "fo" in given and "ruf" not in given:
        yield Lint("warning", "fo= says nothing without ruf=")
    if policy == "none":
        yield Lint("warning", "p=none asks for nothing: forged mail is delivered")


def _is_policy(value: str) -> str:
    return "" if value.lower() in _POLICIES else "is none of none, quarantine, reject"


def _is_mode(value: str) -> str:
    return "" if value.lower() in _MODES else "is neither r nor s, so r counts"


def _is_flag(value: str) -> str:
    return "" if value.lower() in ("y", "n") else "is neither y nor n, so n counts"


def _is_psd(value: str) -> str:
    return "" if value.lower() in _PSD else "is none of y, n, u"


def _are_uris(value: str) -> str:
    bad = [uri.strip() for uri in value.split(",") if not _URI.fullmatch(uri.strip())]
    if any(":" not in uri and "@" in uri for uri in bad):
        return "an address needs mailto: before it"
    return f"{bad[0]!r} is no mailto: address" if bad else ""


def _are_options(value: str) -> str:
    return "" if {item.strip().lower() for item in value.split(":")} <= {"0", "1", "d", "s"} else "takes 0, 1, d, s"


def _is_percent(value: str) -> str:
    return "" if _PERCENT.fullmatch(value) and int(value) <= 100 else "is no percentage"


_CHECKS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("p", _is_policy),
    ("sp", _is_policy),
    ("np", _is_policy),
    ("adkim", _is_mode),
    ("aspf", _is_mode),
    ("t", _is_flag),
    ("psd", _is_psd),
    ("rua", _are_uris),
    ("ruf", _are_uris),
    ("fo", _are_options),
    ("pct", _is_percent),
)


def _split(record: str) -> dict[str, str]:
    """As receivers do: the first of a name counts (RFC 9989 section 4.8)."""
    tags: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags
