"""DMARC Policy Records (RFC 9989 sections 4.7 and 4.8) and the names a DNS Tree Walk asks for (section 4.10)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.mail.domain import parent
from gateway.model.result import DmarcPolicy, DmarcVerdict
from gateway.model.value import Value

_VERSION = re.compile(r"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
"""RFC 9989 section 4.8: the first tag. Only its value is case-sensitive."""
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+", re.ASCII | re.IGNORECASE)
_MAILBOX_URI = re.compile(r"mailto:[^@]+@[^@]+", re.ASCII | re.IGNORECASE)
_MOST_LABELS = 8
_LOWER = {
    DmarcPolicy.REJECT: DmarcPolicy.QUARANTINE,
    DmarcPolicy.QUARANTINE: DmarcPolicy.NONE,
    DmarcPolicy.NONE: DmarcPolicy.NONE,
}


class DmarcRecord(Value):
    """One record, its defaults filled in."""

    text: str
    policy: DmarcPolicy
    """p: for the name where the record stands."""
    subdomain_policy: DmarcPolicy
    """sp: for names below that exist."""
    nonexistent_policy: DmarcPolicy
    """np: for names below that do not."""
    strict_dkim: bool
    strict_spf: bool
    psd: str
    """`y`, `n` or `u`."""
    testing: bool
    """t=y; also pct=0 without t, which t replaces (RFC 9989 appendix A.6). Any other pct is ignored."""
    verdict: DmarcVerdict | None = None
    """Set when no DMARC processing applies to this record (RFC 9989 section 4.10.1): none or permerror."""
    reason: str = ""

    def apply(self, policy: DmarcPolicy) -> DmarcPolicy:
        """The policy one level lower while testing (RFC 9989 section 4.7, t)."""
        return _LOWER[policy] if self.testing else policy


def select_records(records: Iterable[str]) -> list[DmarcRecord]:
    """The DMARC Policy Records among a name's TXT records; what does not start with the version is dropped. More than
    one counts as none at all (RFC 9989 section 4.10): the caller sees how many there are."""
    return [_parse(record) for record in records if _VERSION.match(record)]


def list_walk(domain: str) -> list[str]:
    """The names a Tree Walk from `domain` visits, itself first: at most eight (RFC 9989 section 4.10)."""
    names = [domain]
    labels = domain.split(".")
    name = ".".join(labels[1 - _MOST_LABELS :]) if len(labels) >= _MOST_LABELS else parent(domain)
    while name:
        names.append(name)
        name = parent(name)
    return names


@lru_cache(maxsize=1024)
def _parse(text: str) -> DmarcRecord:
    tags = _read_tags(text)
    policy = _read_policy(tags.get("p"))
    subdomain = _read_policy(tags.get("sp"))
    nonexistent = _read_policy(tags.get("np"))
    verdict, reason = None, ""
    bad = [tag for tag, value in (("p", policy), ("sp", subdomain), ("np", nonexistent)) if tag in tags and not value]
    if bad or policy is None:
        # RFC 9989 section 4.10.1: with a valid rua as if the record said p=none and no more, else no processing.
        policy = subdomain = nonexistent = DmarcPolicy.NONE
        if not _has_report_address(tags.get("rua", "")):
            verdict = DmarcVerdict.PERMERROR if bad else DmarcVerdict.NONE
            reason = f"invalid {bad[0]} tag" if bad else "neither p nor rua"
    subdomain = subdomain or policy
    testing = tags["t"].lower() == "y" if "t" in tags else tags.get("pct") in {"0", "00", "000"}
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        text=text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text),
        policy=policy,
        subdomain_policy=subdomain,
        nonexistent_policy=nonexistent or subdomain,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        psd=psd if psd in {"y", "n"} else "u",
        testing=testing,
        verdict=verdict,
        reason=reason,
    )


def _read_tags(text: str) -> dict[str, str]:
    """Tags by lower-case name; the first of a name wins, what has no `=` is skipped (RFC 9989 section 4.8)."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip(" \t").lower(), value.strip(" \t"))
    return tags


def _read_policy(value: str | None) -> DmarcPolicy | None:
    try:
        return DmarcPolicy(value.lower()) if value is not None else None
    except ValueError:
        return None


def _has_report_address(value: str) -> bool:
    """At least one syntactically valid URI; an RFC 7489 size suffix is ignored."""
    for part in value.split(","):
        uri = part.strip(" \t").partition("!")[0]
        if _URI.fullmatch(uri) and (uri[:7].lower() != "mailto:" or _MAILBOX_URI.fullmatch(uri)):
            return True
    return False
