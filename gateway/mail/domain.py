"""Domain names as DNS and the authentication checks need them: lower-case A-labels without a final dot."""

from __future__ import annotations

import re
from functools import lru_cache

import idna

_MAX_OCTETS = 253
"""Longest name: 255 octets on the wire (RFC 1035 section 2.3.4), as written without the final dot."""
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
"""Letters, digits and hyphens (RFC 5321 section 4.1.2), and the underscore of names such as `_dmarc`."""
_REGISTRY_LABELS = frozenset(
    (
        *("ac", "asso", "asn", "biz", "co", "com", "coop", "ed", "edu", "firm", "gen", "go", "gob", "gouv", "gov"),
        *("govt", "gv", "idv", "info", "int", "ltd", "me", "mil", "mod", "ne", "net", "nhs", "nom", "or", "org", "plc"),
        *("police", "pro", "res", "sch", "school"),
    )
)
"""Labels below a country code under which a registry, not an owner, assigns names: `co.uk`, `com.au`, `ac.jp`."""
_REVERSE = {"in-addr": 4, "ip6": 10}
"""Labels of a reverse name that stand for one network: an IPv4 /16, an IPv6 /32."""
_DOTS = str.maketrans("。．｡", "...")  # noqa: RUF001 the dots that IDNA takes for a full stop (RFC 3490 section 3.1)


@lru_cache(maxsize=8192)
def a_label(domain: str) -> str | None:
    """The name in lower-case A-labels (RFC 5890 section 2.3.2.1), one final dot removed.

    None for anything that is not a DNS name: an empty label, a label above 63 octets, more than 253 octets in all, an
    address literal, or a U-label that IDNA refuses. Underscores are allowed. Never raises.
    """
    name = domain if domain.isascii() else _encode(domain)
    if name is None:
        return None
    name = name.lower().removesuffix(".")
    if len(name) > _MAX_OCTETS or not _NAME.fullmatch(name):
        return None
    return name


def parent(domain: str) -> str:
    """The name without its leftmost label; empty for a single label."""
    return domain.partition(".")[2]


def is_subdomain(child: str, parent: str) -> bool:
    """True when `child` is `parent` or lies below it. Both are A-labels."""
    return child == parent or (bool(parent) and child.endswith("." + parent))


@lru_cache(maxsize=8192)
def organization_of(domain: str) -> str:
    """The approximate owner of a name. It serves shares of work, counts, and to distinguish the machines of different
    owners, never alignment (RFC 9989 section 4.10 finds the Organizational Domain by asking DNS). Names under a
    registry's suffix such as `co.uk` have an owner each."""
    labels = domain.split(".")
    if labels[-1] == "arpa":
        return ".".join(labels[-_REVERSE.get(labels[-2] if len(labels) > 1 else "", 3) :])
    third = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _REGISTRY_LABELS
    return ".".join(labels[-3 if third else -2 :])


def _encode(domain: str) -> str | None:
    """U-labels to A-labels, label by label: an underscore label may be among them, and IDNA would refuse it."""
    # An A-label is longer than its U-label. A name with more characters than octets allowed can never fit, so IDNA work
    # is bounded.
    if len(domain) > _MAX_OCTETS + 1:
        return None
    labels = domain.translate(_DOTS).split(".")
    try:
        return ".".join(label if label.isascii() else idna.encode(label, uts46=True).decode() for label in labels)
    except UnicodeError:
        return None


_LOOKS_LIKE = {
    "a": "\u0430\u03b1\u0251",
    "b": "\u0432\u042c\u044c",
    "c": "\u0441\u03f2",
    "d": "\u0501",
    "e": "\u0435\u0454",
    "g": "\u0261",
    "h": "\u04bb\u043d",
    "i": "\u0456\u0131\u03b9",
    "j": "\u0458",
    "k": "\u043a\u03ba",
    "l": "1\u04cf",
    "m": "\u043c",
    "n": "\u0578",
    "o": "0\u043e\u03bf\u0585",
    "p": "\u0440\u03c1",
    "s": "\u0455",
    "t": "\u0442\u03c4",
    "v": "\u03bd\u0475",
    "x": "\u0445\u03c7",
    "y": "\u0443",
}
"""Digits, and letters of the Cyrillic, Greek and Armenian alphabets, that a reader takes for a Latin letter."""
_LOOKS = {ord(other): letter for letter, others in _LOOKS_LIKE.items() for other in others}


@lru_cache(maxsize=8192)
def look_of(domain: str) -> str:
    """The name as a reader sees it: two names with one look are easily mistaken for each other."""
    return u_label(domain).translate(_LOOKS).replace("rn", "m").replace("vv", "w")


def u_label(domain: str) -> str:
    """The domain with its A-labels as U-labels; unchanged when it has none or they are broken."""
    try:
        return idna.decode(domain) if "xn--" in domain else domain
    except (idna.IDNAError, UnicodeError):
        return domain
