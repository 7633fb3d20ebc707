"""Authentication-Results of any receiver, decoded: the result of each method, with the notes that only big receivers
write.

They are claims of the server that wrote the field, read for people. The live path reads its own results elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.mail.authres import ParsedResult, ParsedResults, parse
from gateway.mail.header import Field, unfold
from gateway.model.envelope import IPText, ip_text
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
    r"sender IP is (?P<a>[0-9A-Fa-f:.]{2,45})"
    r"|(?:does not designate|designates?|record for domain of \S+ by|discourages use of) (?P<b>[0-9A-Fa-f:.]{2,45}) as"
    r"|(?P<c>[0-9A-Fa-f:.]{2,45}) is neither permitted nor denied"
    r"|(?:client-ip|remote-ip)=\"?(?P<d>[0-9A-Fa-f:.]{2,45})",
    re.IGNORECASE,
)
_CHAIN = re.compile(r"\barc\s*=\s*pass\s*\((?P<comment>[^()]{0,400})\)", re.IGNORECASE)
_WORDS = {"hardfail": "fail", "dkim_pass": "pass", "dkim_fail": "fail", "success": "pass", "failure": "fail"}
"""Words of single writers, translated to RFC 8601."""
_RECEIVED = re.compile(r"\s*(?P<result>[A-Za-z]{3,10})\b")
_PAIR = re.compile(r"\b(?P<name>helo|envelope-from|identity)=\"?(?P<value>[^\s;\"]{1,320})", re.IGNORECASE)
_DOMAIN = re.compile(r"domain of (?:transitioning )?(?P<domain>[^\s()]{1,320})", re.IGNORECASE)
_COMMENT = re.compile(
    r"(?:\A|;)[^;=()]{0,80}?\bdkim(?:\s*/\s*1)?\s*=\s*\w+(?:\s*\((?P<comment>[^()]{1,200})\))?", re.IGNORECASE
)
"""Each result of DKIM at the start of its part of the field, with the comment after it, if any."""
_POLICY = re.compile(r"\bp=(?P<policy>none|quarantine|reject)\b", re.IGNORECASE)
_APPLIED = re.compile(r"\b(?:dis|d)=(?P<applied>none|quarantine|reject)\b", re.IGNORECASE)


class StatedVerdict(Value):
    """One method's result."""

    method: str
    result: str
    domain: str
    """The domain of the result; empty when the field does not name one."""
    note: str
    """The writer's additions: selector, comment, reason."""
    identity: str = ""
    """Of SPF: `mailfrom` or `helo`."""

    @property
    def word(self) -> str:
        """The result in the words of RFC 8601."""
        return _WORDS.get(self.result, self.result)

    @property
    def broken(self) -> bool:
        """A signature that does not verify, whatever the writer's word for it."""
        said = self.note.lower()
        hashed = "body hash" in said or "not verify" in said or "bad signature" in said
        return self.method == "dkim" and (self.word in ("fail", "permerror") or (self.word == "neutral" and hashed))


class Verdicts(Value):
    """One field."""

    writer: str
    """The authserv-id; empty when there is none."""
    kind: str
    """Empty for Authentication-Results; `arc`, or `original` for a renamed one."""
    instance: int
    """Of an ARC set; else 0."""
    start: int
    """Start of the field in the header block."""
    results: tuple[StatedVerdict, ...]
    client: IPText | None
    """The address that SPF was judged against, if the writer notes it."""
    action: str
    """Microsoft: the action under the DMARC policy; empty when not given."""
    policy: str
    """The policy published for DMARC, if the writer notes it."""
    compauth: str
    reason: str
    """Microsoft: the reason for compauth's result, three digits."""
    chain: str
    """The writer's statement about the ARC chain that it verified."""

    def result(self, method: str) -> str:
        """The result that counts for the method; empty when it is missing."""
        found = self.best(method)
        return found.word if found else ""

    def domain(self, method: str) -> str:
        """The domain of the result that counts."""
        found = self.best(method)
        return found.domain if found else ""

    def best(self, method: str) -> StatedVerdict | None:
        """The one that counts of several results: a pass; for SPF that of MAIL FROM before that of HELO."""
        found = [one for one in self.results if one.method == method]
        if method == "spf":
            found = [one for one in found if one.identity != "helo"] or found
        return next((one for one in found if one.word == "pass"), next(iter(found), None))


class ReceivedSpf(Value):
    """A Received-SPF field (RFC 7208 section 9.1)."""

    result: str
    domain: str
    client: IPText | None
    helo: str


def read_received_spf(header: Sequence[Field]) -> tuple[ReceivedSpf, ...]:
    """The fields in order, newest first."""
    return tuple(_read_received(field) for field in [one for one in header if one.lower == "received-spf"][:20])


def _read_received(field: Field) -> ReceivedSpf:
    text = unfold(field.value[:_MOST_OCTETS]).encode("utf-8", "replace").decode()
    word, address, domain = _RECEIVED.match(text), _ADDRESS.search(text), _DOMAIN.search(text)
    pairs = {found["name"].lower(): found["value"] for found in _PAIR.finditer(text)}
    name = pairs.get("envelope-from", "") or (domain["domain"] if domain else "")
    return ReceivedSpf(
        word["result"].lower() if word else "", _bare_domain(name), _client(address), pairs.get("helo", "").lower()
    )


def read_verdicts(header: Sequence[Field]) -> Iterator[Verdicts]:
    """The fields in order, newest first, at most a hundred; malformed ones are left out."""
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
    address, chain = _ADDRESS.search(text), _CHAIN.search(text)
    policy, applied = _POLICY.search(text), _APPLIED.search(text)
    comments = [found["comment"] or "" for found in _COMMENT.finditer(text)]
    signatures = sum(one.method == "dkim" for one in parsed.results)
    notes = iter(comments if len(comments) == signatures else [])
    return Verdicts(
        writer=parsed.authserv_id.lower(),
        kind=kind,
        instance=instance,
        start=start,
        results=tuple(_verdict(one, next(notes, "") if one.method == "dkim" else "") for one in parsed.results),
        client=_client(address),
        action=(dmarc.value("", "action").lower() if dmarc else "") or (applied["applied"].lower() if applied else ""),
        policy=policy["policy"].lower() if policy else "",
        compauth=compauth.result if compauth else "",
        reason=compauth.reason if compauth else "",
        chain=chain["comment"] if chain else "",
    )


_DOMAINS = {
    "spf": (("smtp", "mailfrom"), ("smtp", "mfrom"), ("smtp", "helo")),
    "dkim": (("header", "d"), ("header", "i")),
    "dmarc": (("header", "from"),),
    "auth": (("smtp", "auth"),),
}


def _verdict(result: ParsedResult, comment: str) -> StatedVerdict:
    names = _DOMAINS.get(result.method, ())
    at, domain = next(((name, value) for type, name in names if (value := result.value(type, name))), ("", ""))
    selector = result.value("header", "s")
    notes = [f"selector {selector}"] if selector else []
    notes += [comment] if comment else []
    notes += [result.reason] if result.reason and result.method != "compauth" else []
    identity = ("helo" if at == "helo" else "mailfrom" if at else "") if result.method == "spf" else ""
    return StatedVerdict(result.method, result.result, _bare_domain(domain), ", ".join(notes), identity)


def _bare_domain(text: str) -> str:
    """The domain of an address in any writer's form: in brackets, in quotes, or alone."""
    bare = text.strip("<>\"' ").lower()
    return "" if bare == "none" else bare.rpartition("@")[2].strip("<>\"' ")


def _client(found: re.Match[str] | None) -> IPText | None:
    return _ip(next((text for text in found.groups() if text), "")) if found else None


def _ip(text: str) -> IPText | None:
    try:
        return ip_text(text)
    except ValueError:
        return None
