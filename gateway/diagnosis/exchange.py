"""What Microsoft's filters write into a message's header, in plain words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.mail.header import Field, fields, unfold
from gateway.model.value import Value

_LEVEL = re.compile(r"-?\d{1,2}")
_ADDRESS = re.compile(r"ip=\[(?P<address>[0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE)
_ITEM = re.compile(r"(?P<name>[A-Za-z]{1,16}):(?P<value>[^;]{0,200})")

ACTIONS = {
    "none": "nothing was asked for, or nothing done",
    "quarantine": "the message was marked for quarantine or Junk, as the domain asks",
    "reject": "the message was to be refused, as the domain asks",
    "oreject": "the domain asks to refuse it; the receiver overrode that and delivered it as marked spam at most",
    "o.reject": "the domain asks to refuse it; the receiver overrode that and delivered it as marked spam at most",
    "pct.quarantine": "the domain asks for quarantine for a part of its mail only (pct), and this was not in that part",
    "pct.reject": "the domain asks to refuse a part of its mail only (pct), and this was not in that part",
    "permerror": "the domain's record could not be used",
    "temperror": "DNS gave no answer at that moment",
}
"""Microsoft's `action=` beside dmarc=."""

RESULTS = {
    "bestguesspass": "the domain publishes no DMARC record; with one the message would have passed",
}
"""Words for dmarc= that no standard knows."""

_REASONS = (
    # how the code of compauth's reason begins
    ("000", "DMARC failed, and the domain asks for quarantine or reject"),
    ("001", "no explicit authentication, and nothing else speaks for the sender"),
    ("002", "an administrator has forbidden this sender to be spoofed"),
    ("010", "DMARC failed, and the author's domain is one of the tenant's own"),
    ("130", "DMARC failed, but a trusted sealer's ARC results say that it passed before"),
    ("1", "the message was authenticated"),
    ("2", "implicit signs speak for the sender, but no explicit authentication"),
    ("3", "the message was not checked"),
    ("4", "the check was bypassed: nothing about authenticity follows from it"),
    ("501", "DMARC was not enforced, as it is a non-delivery report"),
    ("502", "DMARC was not enforced, as it is a non-delivery report"),
    ("5", "DMARC was not enforced"),
    ("6", "no explicit authentication, and the author's domain is one of the tenant's own"),
    ("7", "DMARC was not enforced, as the tenant has often received such mail from there"),
    ("9", "the check was bypassed: nothing about authenticity follows from it"),
)
_CONFIDENCE = ((-1, "not filtered: a rule or list lets it through"), (1, "not spam"), (4, "not spam"), (6, "spam"))
_MOST = 9


class Marks(Value):
    """Levels and words of the filters; None or empty where a mark is not there."""

    scl: int | None
    """Spam confidence level."""
    pcl: int | None
    """Phishing confidence level, of older servers."""
    bcl: int | None
    """Bulk complaint level."""
    category: str
    """CAT: what the filter took it for."""
    verdict: str
    """SFV."""
    client: str
    """CIP: the address that connected."""
    skipped: str
    """The address that enhanced filtering found behind listed relays."""


def read_marks(header: Sequence[Field]) -> Marks:
    """The marks of the newest fields of each kind."""
    report = _items(_value(header, "x-forefront-antispam-report"))
    skipped = _ADDRESS.search(_value(header, "x-ms-exchange-skiplistedinternetsender"))
    return Marks(
        scl=_level(_value(header, "x-ms-exchange-organization-scl") or report.get("SCL", "")),
        pcl=_level(_value(header, "x-ms-exchange-organization-pcl") or report.get("PCL", "")),
        bcl=_level(_items(_value(header, "x-microsoft-antispam")).get("BCL", "")),
        category=report.get("CAT", ""),
        verdict=report.get("SFV", ""),
        client=report.get("CIP", ""),
        skipped=skipped["address"] if skipped else "",
    )


def explain_reason(code: str) -> str:
    """What compauth's reason means; empty for a code that nobody has explained."""
    return next((text for start, text in _REASONS if code.startswith(start)), "")


def explain_scl(level: int) -> str:
    """What a spam confidence level means."""
    return next((text for most, text in _CONFIDENCE if level <= most), "certainly spam")


def _items(value: str) -> dict[str, str]:
    return {found["name"].upper(): found["value"].strip() for found in _ITEM.finditer(value)}


def _level(text: str) -> int | None:
    found = _LEVEL.fullmatch(text.strip())
    return min(int(found[0]), _MOST) if found else None


def _value(header: Sequence[Field], name: str) -> str:
    found = fields(header, name)
    return unfold(found[0].value[:4096]).encode("utf-8", "replace").decode() if found else ""
