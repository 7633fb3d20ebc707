"""The provider whose server replied: known by its name, or by marks in its text."""

from __future__ import annotations

import re
from enum import StrEnum


class Provider(StrEnum):
    """Providers that give codes a meaning of their own."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"
    YAHOO = "yahoo"
    APPLE = "apple"
    MIMECAST = "mimecast"
    PROOFPOINT = "proofpoint"
    GMX = "gmx"
    OTHER = "other"

    @property
    def label(self) -> str:
        """The usual name of the provider; empty for OTHER."""
        return _LABELS[self]


_LABELS = {
    Provider.GOOGLE: "Google",
    Provider.MICROSOFT: "Microsoft",
    Provider.YAHOO: "Yahoo",
    Provider.APPLE: "Apple",
    Provider.MIMECAST: "Mimecast",
    Provider.PROOFPOINT: "Proofpoint",
    Provider.GMX: "GMX",
    Provider.OTHER: "",
}
_MARKS = (
    # Google ends each reply with the name of its service, so its mark is tested first: the text may name other domains.
    (Provider.GOOGLE, r"\bg(?:smtp|cdp)\b|support\.google\.com|groups\.google\.com|google\.com/mail"),
    (
        Provider.MICROSOFT,
        r"\.prod\.outlook\.com|protection\.outlook\.com|\.mx\.microsoft\b|\bATTR\d+|Tenant(?:Inbound)?Attribution"
        r"|\(AS\d+\)|sender\.office\.com|office365|\b(?:RESOLVER|ROUTING|STOREDRV|SMTPSEND|TRANSPORT)\.[A-Z]"
        r"|mail\.live\.com|aka\.ms/",
    ),
    (Provider.YAHOO, r"postmaster\.yahoo(?:inc)?\.com|yahoo\.com account|\[(?:TSS?|BL|IPTS)\d+\]"),
    (Provider.APPLE, r"support\.apple\.com|\[(?:CS|HM|HV)\d\d\]"),
    (Provider.MIMECAST, r"mimecast"),
    (Provider.PROOFPOINT, r"proofpoint|ppe?-?hosted\.com"),
    (Provider.GMX, r"postmaster\.(?:gmx|web)\.|\bNemesis ESMTP|\bmxgmx\d"),
)
_HOSTS = (
    (Provider.GOOGLE, r"(?:google|gmail|googlemail)\.com|psmtp\.com"),
    (Provider.MICROSOFT, r"outlook\.com|mx\.microsoft|hotmail\.com|office365\.com"),
    (Provider.YAHOO, r"yahoodns\.net|yahoo\.com|aol\.com"),
    (Provider.APPLE, r"icloud\.com|me\.com|mac\.com"),
    (Provider.MIMECAST, r"mimecast\.(?:com|co\.za)|mimecast-offshore\.com"),
    (Provider.PROOFPOINT, r"pphosted\.com|ppe-hosted\.com|ppops\.net"),
    (Provider.GMX, r"gmx\.(?:net|de|com)|web\.de|kundenserver\.de|1and1\.com"),
)
_ONLY_MICROSOFT = re.compile(
    r"7\.(?:5[147]|6[048]|[2-9]\d\d|1[23]\d)|4\.3[01]\d|4\.62|1\.(?:90|351)|2\.12[12]|3\.190|0\.350"
)
"""Details that no registry has and only Exchange sends."""
_TEXT = tuple((provider, re.compile(marks, re.IGNORECASE)) for provider, marks in _MARKS)
_HOST = tuple((provider, re.compile(rf"(?:.*\.)?(?:{names})", re.IGNORECASE)) for provider, names in _HOSTS)


def recognise(text: str, host: str = "") -> Provider:
    """By the host's name, then by the text's marks, because a text may also name other domains than its writer's."""
    named = recognise_host(host)
    if named is not Provider.OTHER:
        return named
    return next((provider for provider, marks in _TEXT if marks.search(text)), Provider.OTHER)


def recognise_detail(detail: str) -> Provider:
    """By an enhanced code that only one provider uses: the only sign when a reply stands alone."""
    return Provider.MICROSOFT if _ONLY_MICROSOFT.fullmatch(detail) else Provider.OTHER


def recognise_host(host: str) -> Provider:
    """By a host's name alone; its final dot is optional."""
    name = host.removesuffix(".")
    return next((provider for provider, names in _HOST if names.fullmatch(name)), Provider.OTHER)
