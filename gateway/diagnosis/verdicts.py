"""Authentication-Results of any receiver, decoded: what each method said, with the notes that only big receivers write.

Claims of the server that wrote the field, read for people. The live path reads its own results elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.mail.authres import ParsedResult, ParsedResults, parse
from gateway.mail.header import Field, unfold
from gateway.model.address import IPText, ip_text
from gateway.model.value import Value

_NAMES = {
    "authentication-results": "",
    "authentication-results-original": "original",
    "x-original-authentication-results": "original",
    "arc-authentication-results": "arc",
}
_MOST_OCTETS = 16_384
_MOST_FIELDS = 100
_INSTANCE = re.compile(r"^\s*i\s*=\s*(\d{1,3})\s*;")
_ADDRESS = re.compile(
    r"sender IP is (?P<exchange>[0-9A-Fa-f:.]{2,45})"
    r"|(?:does not designate|designates?|record for domain of \S+ by) (?P<google>[0-9A-Fa-f:.]{2,45}) as",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"\bdkim\s*=\s*[a-z]+\s*\((?P<comment>[^()]{1,200})\)", re.IGNORECASE)
_POLICY = re.compile(r"\bp=(?P<policy>none|quarantine|reject)\b", re.IGNORECASE)
_APPLIED = re.compile(r"\b(?:dis|d)=(?P<applied>none|quarantine|reject)\b", re.IGNORECASE)


class StatedVerdict(Value):
    """One method's result."""

    method: str
    result: str
    domain: str
    """The domain that it is about; empty when the field does not say."""
    note: str
    """What else the writer says: selector, comment, reason."""


class Verdicts(Value):
    """One field."""

    writer: str
    """The authserv-id; empty where there is none."""
    kind: str
    """Empty for Authentication-Results; `arc`, or `original` for a renamed one."""
    instance: int
    """Of an ARC set; else 0."""
    start: int
    """Where the field stands in the header block."""
    results: tuple[StatedVerdict, ...]
    client: IPText | None
    """The address that SPF was judged against, where the writer notes it."""
    action: str
    """Microsoft: what was done about the DMARC policy; empty when not said."""
    policy: str
    """The policy published for DMARC, where the writer notes it."""
    compauth: str
    reason: str
    """Microsoft: why compauth came out so, three digits."""

    def result(self, method: str) -> str:
        """The best word for the method: `pass` if any of its results is one; empty when it is not there."""
        words = [one.result for one in self.results if one.method == method]
        return "pass" if "pass" in words else next(iter(words), "")

    def domain(self, method: str) -> str:
        """The domain of the method's first result."""
        return next((one.domain for one in self.results if one.method == method), "")


def read_verdicts(header: Sequence[Field]) -> Iterator[Verdicts]:
    """The fields in order, newest first, at most a hundred; what is none is left out."""
    for field in [field for field in header if field.lower in _NAMES][:_MOST_FIELDS]:
        kind = _NAMES[field.lower]
        text = unfold(field.value[:_MOST_OCTETS]).encode("utf-8", "replace").decode()
        instance = _INSTANCE.match(text)
        parsed = parse(text[instance.end() :] if instance else text)
        if parsed is not None and (parsed.results or parsed.authserv_id):
            yield _decode(parsed, text, kind, int(instance[1]) if instance else 0, field.start)


def _decode(parsed: ParsedResults, text: str, kind: str, instance: int, start: int) -> Verdicts:
    dmarc = next((one for one in parsed.results if one.method == "dmarc"), None)
    compauth = next((one for one in parsed.results if one.method == "compauth"), None)
    address = _ADDRESS.search(text)
    policy, applied = _POLICY.search(text), _APPLIED.search(text)
    comments = [found["comment"] for found in _COMMENT.finditer(text)]
    signatures = sum(one.method == "dkim" for one in parsed.results)
    notes = iter(comments if len(comments) == signatures else [])
    return Verdicts(
        writer=parsed.authserv_id.lower(),
        kind=kind,
        instance=instance,
        start=start,
        results=tuple(_verdict(one, next(notes, "") if one.method == "dkim" else "") for one in parsed.results),
        client=_ip(address["exchange"] or address["google"]) if address else None,
        action=(dmarc.value("", "action").lower() if dmarc else "") or (applied["applied"].lower() if applied else ""),
        policy=policy["policy"].lower() if policy else "",
        compauth=compauth.result if compauth else "",
        reason=compauth.reason if compauth else "",
    )


_DOMAINS = {
    "spf": (("smtp", "mailfrom"), ("smtp", "mfrom"), ("smtp", "helo")),
    "dkim": (("header", "d"), ("header", "i")),
    "dmarc": (("header", "from"),),
    "auth": (("smtp", "auth"),),
}


def _verdict(result: ParsedResult, comment: str) -> StatedVerdict:
    names = _DOMAINS.get(result.method, ())
    domain = next((value for type, name in names if (value := result.value(type, name))), "")
    selector = result.value("header", "s")
    notes = [f"selector {selector}"] if selector else []
    notes += [comment] if comment else []
    notes += [result.reason] if result.reason and result.method != "compauth" else []
    return StatedVerdict(
        result.method,
        result.result,
        "" if domain.lower() == "none" else domain.rpartition("@")[2].lower(),
        ", ".join(notes),
    )


def _ip(text: str) -> IPText | None:
    try:
        return ip_text(text)
    except ValueError:
        return None
