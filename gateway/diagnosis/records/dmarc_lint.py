"""A DMARC record tag by tag: its values, its defaults, and its faults (RFC 9989 section 4.7).

`dmarc` decides a receiver's view of a record; this explains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gateway.authentication.dmarc import select_records
from gateway.diagnosis.records import texts
from gateway.diagnosis.records.typography import find_slips, missing_semicolon, repair_tags
from gateway.model.value import Value

_URI = re.compile(r"mailto:[^@\s,!]+@[^@\s,!]+(?:![0-9]+[kmgt]?)?", re.IGNORECASE)
_PERCENT = re.compile(r"\d{1,3}")


class Tag(Value):
    """One tag of the record, or a missing one."""

    name: str
    value: str
    """The effective value."""
    source: str
    """`record`, `default`, or `ignored` for one that receivers do not read."""
    meaning: str


class Lint(Value):
    """A fault to fix."""

    weight: str
    """`error` when the record or a tag is void, else `warning`."""
    text: str


_POLICIES = ("none", "quarantine", "reject")
_ORDER = ("v", "p", "sp", "np", "adkim", "aspf", "psd", "t", "fo", "rua", "ruf")


def explain(record: str, applies: str = "", domain: str = "") -> tuple[Tag, ...]:
    """All tags with their effective values, missing ones with their defaults. `record` is decoded text; `applies`: the
    tag with the policy for `domain`."""
    given = _split(record)
    policies = _policies(record, given)
    values: dict[str, tuple[str, str]] = {"v": ("DMARC1", texts.TAGS["v"])}
    for name, value in policies.items():
        meaning = texts.TAGS[name].format(deed=texts.TAG_DEEDS[value])
        values[name] = value, f"{meaning}; {texts.APPLIES.format(domain=domain)}" if name == applies else meaning
    values |= {
        "adkim": _mode(given, "adkim", "DKIM"),
        "aspf": _mode(given, "aspf", "SPF"),
        "psd": _choice(given, "psd", texts.PSD, "u"),
        "t": _choice(given, "t", {"y": texts.TAGS["t"], "n": texts.TAGS["not t"]}, "n"),
        "fo": (given.get("fo", "0"), texts.TAGS["fo" if "ruf" in given else "not fo"]),
        "rua": (given.get("rua", ""), texts.TAGS["rua" if given.get("rua") else "not rua"]),
        "ruf": (given.get("ruf", ""), texts.TAGS["ruf" if given.get("ruf") else "not ruf"]),
    }
    known = [
        Tag(name, values[name][0], "record" if _counts(given, name, values[name][0]) else "default", values[name][1])
        for name in _ORDER
    ]
    rest = [name for name in given if name not in _ORDER]
    return (*known, *(Tag(name, given[name], "ignored", _meaning(name)) for name in rest))


def _policies(record: str, given: dict[str, str]) -> dict[str, str]:
    """p, sp and np as receivers read them: one bad value makes the whole record p=none."""
    for parsed in select_records([record]):
        return {
            "p": parsed.policy.value,
            "sp": parsed.subdomain_policy.value,
            "np": parsed.nonexistent_policy.value,
        }
    policy = _known(given, "p", _POLICIES, "none")
    sub = _known(given, "sp", _POLICIES, policy)
    return {"p": policy, "sp": sub, "np": _known(given, "np", _POLICIES, sub)}


def _meaning(name: str) -> str:
    return texts.OBSOLETE.get(name, texts.TAGS["unknown"])


def _counts(given: dict[str, str], name: str, value: str) -> bool:
    return name in given and given[name].lower() == value.lower()


def _known(given: dict[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    value = given.get(name, "").lower()
    return value if value in words else default


def _mode(given: dict[str, str], name: str, method: str) -> tuple[str, str]:
    value = _known(given, name, tuple(texts.MODES), "r")
    return value, texts.TAGS["adkim"].format(method=method, mode=texts.MODES[value])


def _choice(given: dict[str, str], name: str, words: dict[str, str], default: str) -> tuple[str, str]:
    value = _known(given, name, tuple(words), default)
    return value, words[value]


def lint(record: str, *, exact: bool) -> tuple[Lint, ...]:
    """The faults of a record. `exact`: it is at the queried domain itself, so its sp= is for others."""
    return tuple(_lint(record, exact))


def _lint(record: str, exact: bool) -> Iterator[Lint]:
    for slip in find_slips(record):
        yield Lint("error", f"the record {slip}; {texts.PUBLISH.format(record=repair_tags(record))}")
    given, names = _split(record), [part.partition("=")[0].strip().lower() for part in record.split(";")]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        yield Lint("error", texts.TWICE.format(name=name))
    for part in record.split(";"):
        if part.strip() and "=" not in part:
            yield Lint("warning", texts.NOT_A_TAG.format(part=part.strip()))
    yield from _lint_values(given)
    if "p" not in given:
        yield Lint("error", texts.NO_P)
    elif names[1:2] != ["p"] and given["p"].lower() in _POLICIES:
        yield Lint("warning", texts.P_LATER)
    yield from _advice(given, exact)


def _lint_values(given: dict[str, str]) -> Iterator[Lint]:
    for name, check in _CHECKS:
        if name not in given:
            continue
        within = missing_semicolon(given[name])
        problem = texts.TAG_PROBLEMS["semicolon"].format(tag=within) if within else check(given[name])
        if problem:
            yield Lint("error", texts.BAD_TAG.format(name=name, value=given[name], problem=problem))
    bad = next((name for name in ("p", "sp", "np") if name in given and given[name].lower() not in _POLICIES), "")
    if bad:
        yield Lint("error", texts.ALL_NONE.format(name=bad, value=given[bad]))


def _advice(given: dict[str, str], exact: bool) -> Iterator[Lint]:
    for name, meaning in texts.OBSOLETE.items():
        if name in given:
            yield Lint("warning", texts.OBSOLETE_TAG.format(name=name, value=given[name], meaning=meaning))
    policy = given.get("p", "none").lower()
    if policy != "none" and given.get("sp", policy).lower() == "none" and exact:
        yield Lint("warning", texts.SP_NONE)
    if "rua" not in given:
        yield Lint("warning", texts.NO_RUA)
    if "fo" in given and "ruf" not in given:
        yield Lint("warning", texts.FO_ALONE)
    if policy == "none":
        yield Lint("warning", texts.P_NONE)


def _is_policy(value: str) -> str:
    return "" if value.lower() in _POLICIES else texts.TAG_PROBLEMS["policy"]


def _is_mode(value: str) -> str:
    return "" if value.lower() in texts.MODES else texts.TAG_PROBLEMS["mode"]


def _is_flag(value: str) -> str:
    return "" if value.lower() in ("y", "n") else texts.TAG_PROBLEMS["flag"]


def _is_psd(value: str) -> str:
    return "" if value.lower() in texts.PSD else texts.TAG_PROBLEMS["psd"]


def _are_uris(value: str) -> str:
    bad = [uri.strip() for uri in value.split(",") if not _URI.fullmatch(uri.strip())]
    if any(":" not in uri and "@" in uri for uri in bad):
        return texts.TAG_PROBLEMS["mailto"]
    return texts.TAG_PROBLEMS["uri"].format(uri=bad[0]) if bad else ""


def _are_options(value: str) -> str:
    sound = {item.strip().lower() for item in value.split(":")} <= {"0", "1", "d", "s"}
    return "" if sound else texts.TAG_PROBLEMS["fo"]


def _is_percent(value: str) -> str:
    return "" if _PERCENT.fullmatch(value) and int(value) <= 100 else texts.TAG_PROBLEMS["percent"]


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
    """Split as receivers do: the first of a name counts (RFC 9989 section 4.8)."""
    tags: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags
