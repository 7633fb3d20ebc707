"""The marks of Microsoft's filters in a message's header, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.diagnosis.headers import texts
from gateway.mail.header import Field, fields, unfold
from gateway.model.value import Value

_LEVEL = re.compile(r"-?\d{1,2}")
_ADDRESS = re.compile(r"ip=\[(?P<address>[0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE)
_ITEM = re.compile(r"(?P<name>[A-Za-z]{1,16}):(?P<value>[^;]{0,200})")
_MOST = 9


class Marks(Value):
    """Levels and words of the filters; None or empty for a missing mark."""

    scl: int | None
    """Spam confidence level."""
    pcl: int | None
    """Phishing confidence level, of older servers."""
    bcl: int | None
    """Bulk complaint level."""
    category: str
    """CAT: the filter's category for it."""
    verdict: str
    """SFV."""
    client: str
    """CIP: the address that connected."""
    skipped: str
    """The address that enhanced filtering found behind listed relays."""
    folder: str
    """OFR: the reason for Outlook.com's choice of folder."""
    auth_as: str
    """AuthAs: the origin that the organisation assigned to it."""


def read_marks(header: Sequence[Field]) -> Marks:
    """The marks of the newest fields of each kind."""
    report = _items(_value(header, "x-forefront-antispam-report"))
    delivery = _items(_value(header, "x-microsoft-antispam-mailbox-delivery"))
    bulk = _items(_value(header, "x-microsoft-antispam"))
    skipped = _ADDRESS.search(_value(header, "x-ms-exchange-skiplistedinternetsender"))
    auth_as = _value(header, "x-ms-exchange-organization-authas") or _value(header, "x-ms-exchange-crosstenant-authas")
    return Marks(
        scl=_level(_value(header, "x-ms-exchange-organization-scl") or report.get("SCL", "")),
        pcl=_level(_value(header, "x-ms-exchange-organization-pcl") or report.get("PCL", bulk.get("PCL", ""))),
        bcl=_level(bulk.get("BCL", "")),
        category=report.get("CAT", ""),
        verdict=report.get("SFV", ""),
        client=report.get("CIP", ""),
        skipped=skipped["address"] if skipped else "",
        folder=delivery.get("OFR", report.get("OFR", "")),
        auth_as=auth_as.strip(),
    )


def explain_reason(code: str) -> str:
    """The meaning of compauth's reason; empty for a code without a known meaning."""
    return next((text for start, text in texts.REASONS.items() if code.startswith(start)), "")


def explain_level(level: int, meanings: dict[int, str]) -> str:
    """The meaning of a level, by the highest level of each meaning."""
    return next((text for most, text in meanings.items() if level <= most), list(meanings.values())[-1])


def explain_marks(marks: Marks) -> Iterator[str]:
    """Each mark with its meaning."""
    for name, level, meanings in (
        ("SCL", marks.scl, texts.SCL),
        ("PCL", marks.pcl, texts.PCL),
        ("BCL", marks.bcl, texts.BCL),
    ):
        if level is not None:
            yield f"{name} {level}: {explain_level(level, meanings)}"
    for name, word, words in (
        ("CAT", marks.category, texts.CATEGORIES),
        ("SFV", marks.verdict, texts.FILTER_VERDICTS),
        ("OFR", marks.folder, texts.FOLDER_RULES),
        ("AuthAs", marks.auth_as, texts.AUTH_AS),
    ):
        if word:
            meaning = words.get(word.upper(), words.get(word.lower(), ""))
            yield f"{name} {word}: {meaning}" if meaning else f"{name} {word}"
    if marks.client:
        yield texts.CONNECTED.format(address=marks.client)


def _items(value: str) -> dict[str, str]:
    return {found["name"].upper(): found["value"].strip() for found in _ITEM.finditer(value)}


def _level(text: str) -> int | None:
    found = _LEVEL.fullmatch(text.strip())
    return min(int(found[0]), _MOST) if found else None


def _value(header: Sequence[Field], name: str) -> str:
    found = fields(header, name)
    return unfold(found[0].value[:4096]).encode("utf-8", "replace").decode() if found else ""
