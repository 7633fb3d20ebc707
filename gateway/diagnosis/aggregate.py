"""DMARC aggregate reports of both schemas (RFC 7489 appendix C, RFC 9990 section 3.1), read leniently.

Element order, letter case and namespaces do not matter; what a report leaves out is empty. Nothing in it is believed:
anyone can send one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from gateway.diagnosis.xml_tree import Node, XmlRefused, read_xml
from gateway.model.value import Value

_MOST_RECORDS = 200_000
_MOST_RESULTS = 100
_NUMBER = re.compile(r"\d{1,15}")


class AuthResult(Value):
    """One DKIM or SPF result, before alignment."""

    domain: str
    result: str
    selector: str
    """Of DKIM."""
    note: str
    """What the reporter says for people."""


class Row(Value):
    """One record: mail of one source that came out alike."""

    source: str
    count: int
    disposition: str
    dkim: str
    """Aligned: pass or fail."""
    spf: str
    """Aligned: pass or fail."""
    reasons: tuple[tuple[str, str], ...]
    """Why something else was done than the policy asks: type and comment."""
    header_from: str
    envelope_from: str
    envelope_to: str
    dkim_results: tuple[AuthResult, ...]
    spf_results: tuple[AuthResult, ...]

    @property
    def passes(self) -> bool:
        """DMARC passed: one aligned pass is enough."""
        return "pass" in (self.dkim, self.spf)


class AggregateReport(Value):
    """One report. Times are in epoch seconds."""

    schema: Literal["RFC 7489", "RFC 9990"]
    reporter: str
    email: str
    contact: str
    id: str
    begin: int | None
    end: int | None
    generator: str
    errors: tuple[str, ...]
    domain: str
    policy: tuple[tuple[str, str], ...]
    """The policy published, tag by tag, as the reporter saw it."""
    rows: tuple[Row, ...]
    repaired: bool
    """Octets that are no UTF-8 were replaced."""


class ReportRefused(ValueError):
    """The file is no aggregate report; the text says why."""


def read_aggregate(octets: bytes) -> AggregateReport:
    """Read one XML document. Raises ReportRefused."""
    rows: list[Row] = []

    def take(node: Node) -> bool:
        if node.name != "record":
            return False
        if len(rows) >= _MOST_RECORDS:
            raise XmlRefused(f"more than {_MOST_RECORDS} records")
        rows.append(_row(node))
        return True

    text = octets.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text.startswith(b"<"):
        raise ReportRefused("it is no XML")
    repaired = False
    try:
        root = read_xml(text, "feedback", take)
    except XmlRefused as error:
        if "invalid token" not in str(error) or _is_utf8(text):
            raise ReportRefused(f"it {error}") from None
        rows.clear()
        repaired = True
        root = _read_repaired(text, take)
    return _report(root, tuple(rows), octets, repaired)


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_repaired(octets: bytes, take: Callable[[Node], bool]) -> Node:
    try:
        return read_xml(octets.decode("utf-8", "replace").encode(), "feedback", take)
    except XmlRefused as error:
        raise ReportRefused(f"it {error}") from None


def _report(root: Node, rows: tuple[Row, ...], octets: bytes, repaired: bool) -> AggregateReport:
    metadata = root.find("report_metadata")
    published = root.find("policy_published")
    if metadata is None and published is None and not rows:
        raise ReportRefused("it has none of the parts of a report")
    metadata, published = metadata or Node(""), published or Node("")
    bis = b"urn:ietf:params:xml:ns:dmarc-2.0" in octets[:2048] or published.find("testing") is not None
    return AggregateReport(
        schema="RFC 9990" if bis or published.find("discovery_method") is not None else "RFC 7489",
        reporter=metadata.value("org_name"),
        email=metadata.value("email"),
        contact=metadata.value("extra_contact_info"),
        id=metadata.value("report_id"),
        begin=_number(metadata.value("date_range", "begin")),
        end=_number(metadata.value("date_range", "end")),
        generator=metadata.value("generator"),
        errors=tuple(node.text.strip() for node in metadata.find_all("error") if node.text.strip())[:_MOST_RESULTS],
        domain=published.value("domain").lower(),
        policy=tuple((node.name, node.text.strip()) for node in published.children if node.name != "domain")[:20],
        rows=rows,
        repaired=repaired,
    )


def _row(record: Node) -> Row:
    evaluated = (record.find("row") or Node("")).find("policy_evaluated") or Node("")
    results = record.find("auth_results") or Node("")
    reasons = [(node.value("type").lower(), node.value("comment")) for node in evaluated.find_all("reason")]
    return Row(
        source=record.value("row", "source_ip"),
        count=_number(record.value("row", "count")) or 0,
        disposition=evaluated.value("disposition").lower(),
        dkim=evaluated.value("dkim").lower(),
        spf=evaluated.value("spf").lower(),
        reasons=tuple(reason for reason in reasons if any(reason))[:_MOST_RESULTS],
        header_from=record.value("identifiers", "header_from").lower(),
        envelope_from=record.value("identifiers", "envelope_from").lower(),
        envelope_to=record.value("identifiers", "envelope_to").lower(),
        dkim_results=tuple(_result(node) for node in results.find_all("dkim"))[:_MOST_RESULTS],
        spf_results=tuple(_result(node) for node in results.find_all("spf"))[:_MOST_RESULTS],
    )


def _result(node: Node) -> AuthResult:
    return AuthResult(
        domain=node.value("domain").lower(),
        result=node.value("result").lower(),
        selector=node.value("selector"),
        note=node.value("human_result"),
    )


def _number(text: str) -> int | None:
    """Digits; some write them as a decimal fraction."""
    found = _NUMBER.match(text)
    return int(found[0]) if found else None
