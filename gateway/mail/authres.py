"""Authentication-Results (RFC 8601): our own field, written strictly; others' fields, read leniently; forged fields in
our name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from gateway.mail.domain import u_label
from gateway.mail.header import Field, find_fields
from gateway.mail.tokens import Token, fold, read_tokens
from gateway.model.ingress import Ingress
from gateway.model.message import Span
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    IprevResult,
    IprevVerdict,
    SpfIdentity,
    SpfResult,
)
from gateway.model.value import Value

NAME = "Authentication-Results"
_MOST_OCTETS = 4000
"""Large receivers limit a field's size; ours stays below 4 KB whatever a message holds."""
_LONGEST_REASON = 100
_LONGEST_VALUE = 253
_TOKEN = re.compile(r"[!#-'*+.0-9A-Z^-~-]+")
"""RFC 2045 section 5.1."""
_IDENTITY = re.compile(r"[!#-'*+.0-9A-Z^-~-]*@[A-Za-z0-9._-]+")
_UNPRINTABLE = re.compile(r"[^ -~]")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SUBDOMAIN_POLICY = re.compile(r";\s*sp\s*=\s*(none|quarantine|reject)\s*(?:;|$)", re.IGNORECASE)


def compose(
    authserv_id: str, authentication: Authentication, ingress: Ingress, disposition: DmarcPolicy | None = None
) -> bytes:
    """Our field, CRLF included. It shows only the domains of the envelope (RFC 7208 section 9.2); text from outside
    stands in a token or a quoted string. `disposition` is the result of DMARC's policy, shown as `d=`."""
    return _compose(NAME, [_value(authserv_id)], lambda brief: _resinfos(authentication, ingress, disposition, brief))


def compose_sealed(instance: int, authserv_id: str, authentication: Authentication, ingress: Ingress) -> bytes:
    """The same results as ARC-Authentication-Results, CRLF included (RFC 8617 section 4.1.1). It has no comments: some
    forwarders rewrite the field without them, which breaks the seal."""

    def results(brief: bool) -> list[list[str]]:
        return [
            [word for word in row if not word.startswith("(")]
            for row in _resinfos(authentication, ingress, None, brief)
        ]

    return _compose("ARC-Authentication-Results", [f"i={instance};", _value(authserv_id)], results)


def _compose(name: str, head: list[str], results: Callable[[bool], list[list[str]]]) -> bytes:
    groups = results(False)
    field = _render(name, head, groups)
    if len(field) > _MOST_OCTETS:
        groups = results(True)
        field = _render(name, head, groups)
    while len(field) > _MOST_OCTETS:
        # The last signatures are cut first: those used for the DMARC pass are usually on top, and the trace has them
        # all.
        groups.pop(max(at for at, group in enumerate(groups) if group[0].startswith("dkim=")))
        field = _render(name, head, groups)
    return field


def _render(name: str, head: list[str], groups: list[list[str]]) -> bytes:
    rows = [head, *groups]
    return fold(name, [[*row[:-1], f"{row[-1]};"] for row in rows[:-1]] + [rows[-1]])


def _resinfos(
    authentication: Authentication, ingress: Ingress, disposition: DmarcPolicy | None, brief: bool
) -> list[list[str]]:
    """One for each method, and one for each DKIM signature (RFC 8601 section 2.7.1). `brief` leaves out
    explanations."""
    rows = [_spf(authentication.spf)]
    rows += [_dkim(one, brief) for one in authentication.dkim] or [["dkim=none"]]
    rows += [_dmarc(authentication.dmarc, disposition), _arc(authentication.arc, ingress)]
    rows += [_iprev(authentication.iprev, ingress)] if authentication.iprev.result is not IprevVerdict.NONE else []
    return [[word for word in row if word and not (brief and word.startswith("reason="))] for row in rows]


def _spf(spf: SpfResult) -> list[str]:
    name = "smtp.mailfrom" if spf.identity is SpfIdentity.MAILFROM else "smtp.helo"
    return [f"spf={spf.result}", _reason(spf.reason), _property(name, spf.domain)]


def _dkim(dkim: DkimResult, brief: bool) -> list[str]:
    return [
        f"dkim={dkim.result}",
        _reason(dkim.reason if dkim.result is not DkimVerdict.PASS else ""),
        _property("header.d", dkim.domain),
        "" if brief else _property("header.i", dkim.identity),
        _property("header.s", dkim.selector),
        _property("header.a", dkim.algorithm[:32]),
        # RFC 6008 section 4: header.b distinguishes signatures of one domain.
        _property("header.b", re.sub(r"\s", "", dkim.signature)[:16]),
    ]


def _dmarc(dmarc: DmarcResult, disposition: DmarcPolicy | None) -> list[str]:
    """The DMARC result with its policy (RFC 9989 section 9.1): the one that applies, after sp, np and t."""
    notes = []
    if dmarc.published:
        notes.append(f"p={dmarc.published}")
        subdomain = _SUBDOMAIN_POLICY.search(dmarc.record)
        notes += [f"sp={subdomain[1].lower()}"] if subdomain else []
        notes += [f"d={disposition}"] if disposition else []
    return [
        f"dmarc={dmarc.result}",
        f"({' '.join(notes)})" if notes else "",
        _reason(dmarc.reason),
        _property("header.from", dmarc.domain),
        _property("policy.dmarc", dmarc.policy or ""),
    ]


def _arc(arc: ArcResult, ingress: Ingress) -> list[str]:
    """RFC 8617 section 10.2."""
    oldest = str(arc.oldest_pass) if arc.result is ArcVerdict.PASS else ""
    client = ingress.client or ""
    return [
        f"arc={arc.result}",
        _reason(arc.reason),
        _property("header.oldest-pass", oldest),
        _property("smtp.remote-ip", client),
    ]


def _iprev(iprev: IprevResult, ingress: Ingress) -> list[str]:
    """RFC 8601 section 2.7.3."""
    return [
        f"iprev={iprev.result}",
        f"({iprev.name})" if _TOKEN.fullmatch(iprev.name) else "",
        _reason(iprev.reason),
        _property("policy.iprev", ingress.client or ""),
    ]


def _reason(text: str) -> str:
    return f"reason={_quote(text[:_LONGEST_REASON])}" if text else ""


def _property(name: str, value: str) -> str:
    return f"{name}={_value(value)}" if value else ""


def _value(text: str) -> str:
    text = text[:_LONGEST_VALUE]
    return text if _TOKEN.fullmatch(text) or _IDENTITY.fullmatch(text) else _quote(text)


def _quote(text: str) -> str:
    """A quoted-string (RFC 5322 section 3.2.4) in printable ASCII."""
    return '"' + _UNPRINTABLE.sub("?", text).replace("\\", "\\\\").replace('"', '\\"') + '"'


class Property(Value):
    """`ptype.property=value`; the type is empty if a writer omits it (Microsoft's `action=`)."""

    type: str
    name: str
    value: str


class ParsedResult(Value):
    """One resinfo."""

    method: str
    result: str
    reason: str
    properties: tuple[Property, ...]

    def value(self, type: str, name: str) -> str:
        """The first property of that name; empty when there is none."""
        return next((one.value for one in self.properties if (one.type, one.name) == (type, name)), "")


class ParsedResults(Value):
    """One Authentication-Results field, as its writer claims it."""

    authserv_id: str
    """Empty if the writer gives none (Microsoft's older form)."""
    results: tuple[ParsedResult, ...]


_MOST_RESULTS = 100
_MOST_TOKENS = 5000
_MOST_MARKS = 10_000
_LONGEST_NAME = 4096
"""Characters of a name that are compared with ours."""


def is_unreadable(header: Iterable[Field]) -> bool:
    """True when the header's results together have more quotes, parentheses and marks than any genuine writer uses:
    reading them would delay other messages."""
    marks = 0
    for field in header:
        if field.lower.endswith("authentication-results"):
            marks += sum(map(field.value.count, (b"(", b")", b'"', b";", b"=")))
    return marks > _MOST_MARKS


def parse(value: str) -> ParsedResults | None:
    """Read as much of a field's value as makes sense; comments and versions are dropped. Linear time, never raises.

    None for a value with more than 100 results or 5,000 words, which no genuine writer uses.
    """
    segments: list[list[Token]] = [[]]
    for number, token in enumerate(read_tokens(value)):
        if number > _MOST_TOKENS:
            return None
        if token.mark and token.text == ";":
            segments.append([])
        else:
            segments[-1].append(token)
    if len(segments) > _MOST_RESULTS:
        return None
    authserv_id = ""
    if not any(token.mark for token in segments[0]):
        head = segments.pop(0)
        authserv_id = head[0].text if head else ""
    found = [_read_result(segment) for segment in segments]
    return ParsedResults(authserv_id, tuple(result for result in found if result))


def _read_result(segment: list[Token]) -> ParsedResult | None:
    """One resinfo; None for `none` and for text that is not a resinfo."""
    pairs = _read_pairs(segment)
    if not pairs:
        return None
    method, result = pairs[0]
    reason = next((value for name, value in pairs[1:] if name == "reason"), "")
    properties = tuple(_property_of(name, value) for name, value in pairs[1:] if name != "reason")
    return ParsedResult(method.partition("/")[0], result.lower(), reason, properties)


def _property_of(name: str, value: str) -> Property:
    type, dot, bare = name.partition(".")
    return Property(type, bare, value) if dot else Property("", name, value)


def _read_pairs(segment: list[Token]) -> list[tuple[str, str]]:
    """`name=value` pairs. A name may have spaces around its `.` and `/`; a value ends at the next space."""
    pairs = []
    name = ""
    at = 0
    while at < len(segment):
        token = segment[at]
        at += 1
        if not token.mark:
            joined = name.endswith((".", "/")) or token.text.startswith((".", "/"))
            name = name + token.text if joined else token.text
            continue
        value = ""
        if at < len(segment):
            value = segment[at].text
            at += 1
            while at < len(segment) and segment[at].glued:
                value += segment[at].text
                at += 1
        pairs.append((name.lower(), value))
        name = ""
    return pairs


def own_spans(header: Sequence[Field], authserv_id: str) -> tuple[Span, ...]:
    """Places of forged Authentication-Results fields in our name: they MUST be removed (RFC 8601 section 5). Ids are
    compared without case, white space, comments and quotes."""
    ours = (authserv_id.lower(), u_label(authserv_id.lower()))
    return tuple(
        Span(field.start, field.end)
        for field in chain(*find_fields(header, NAME))
        if _claims(field.value.decode("utf-8", "surrogateescape"), ours)
    )


def _claims(value: str, ours: tuple[str, ...]) -> bool:
    """True when some reader, strict or lenient, might take the field's authserv-id for ours, given in these spellings.
    A reader that removes comments and quotes first sees `mx(x)."example"` as one name."""
    name = ""
    for token in read_tokens(value):
        # Letters of another width or form, which a reader may fold to ours (UTS 46).
        name = unicodedata.normalize("NFKC", _CONTROL.sub("", name + token.text)[:_LONGEST_NAME]).lower()
        if token.mark or not any(spelling.startswith(name) for spelling in ours):
            return False
        if name in ours:
            return True
    return False
