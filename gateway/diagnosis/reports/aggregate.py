"""DMARC aggregate reports of both schemas (RFC 7489 appendix C, RFC 9990 section 3.1), read leniently.

Element order, letter case and namespaces do not matter; missing values are empty. A report proves nothing, because
anyone can send one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from gateway.diagnosis.hops import read_date
from gateway.diagnosis.reports import texts
from gateway.diagnosis.reports.encoding import decode_document
from gateway.diagnosis.reports.xml_tree import Node, XmlRefused, read_xml
from gateway.model.value import Value

_MOST_RECORDS = 200_000
_MOST_RESULTS = 100
_NUMBER = re.compile(r"\d{1,15}")
_DATE_FORMS = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
"""Dates without separators, by their length: epoch seconds have ten digits."""


class AuthResult(Value):
    """One DKIM or SPF result, before alignment."""

    domain: str
    result: str
    selector: str
    """Of DKIM."""
    note: str
    """The reporter's text for people."""


class Row(Value):
    """One record: mail of one source with equal results."""

    source: str
    count: int
    disposition: str
    dkim: str
    """With alignment: pass or fail."""
    spf: str
    """With alignment: pass or fail."""
    reasons: tuple[tuple[str, str], ...]
    """Reasons for an action other than the policy's: type and comment."""
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
    """The document is broken and was read as far as possible."""
    flaw: str
    """The place and kind of the fault; empty for a sound document."""


class ReportRefused(ValueError):
    """The file is not an aggregate report; the text gives the reason."""


def read_aggregate(octets: bytes) -> AggregateReport:
    """Read one XML document. Raises ReportRefused."""
    rows: list[Row] = []

    def take(node: Node) -> bool:
        if node.name != "record":
            return False
        if len(rows) >= _MOST_RECORDS:
            raise XmlRefused(texts.MANY_RECORDS.format(most=_MOST_RECORDS))
        rows.append(_row(node))
        return True

    text, sound = decode_document(octets)
    if not text.startswith("<"):
        raise ReportRefused(texts.NOT_XML)
    try:
        root, flaw = read_xml(text, "feedback", take, rows.clear)
    except XmlRefused as error:
        raise ReportRefused(str(error)) from None
    return _report(root, tuple(rows), text[:2048], flaw or ("" if sound else texts.FOREIGN_OCTETS))


def _report(root: Node, rows: tuple[Row, ...], start: str, flaw: str) -> AggregateReport:
    metadata = root.find("report_metadata")
    published = root.find("policy_published")
    if metadata is None and published is None and not rows:
        raise ReportRefused(texts.NO_PARTS)
    metadata, published = metadata or Node(""), published or Node("")
    bis = "urn:ietf:params:xml:ns:dmarc-2.0" in start or published.find("testing") is not None
    return AggregateReport(
        schema="RFC 9990" if bis or published.find("discovery_method") is not None else "RFC 7489",
        reporter=metadata.value("org_name"),
        email=metadata.value("email"),
        contact=metadata.value("extra_contact_info"),
        id=metadata.value("report_id"),
        begin=_moment(metadata.value("date_range", "begin")),
        end=_moment(metadata.value("date_range", "end")),
        generator=metadata.value("generator"),
        errors=tuple(node.text.strip() for node in metadata.find_all("error") if node.text.strip())[:_MOST_RESULTS],
        domain=published.value("domain").lower(),
        policy=tuple((node.name, node.text.strip()) for node in published.children if node.name != "domain")[:20],
        rows=rows,
        repaired=bool(flaw),
        flaw=flaw,
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
    """Digits; some reporters write a decimal fraction."""
    found = _NUMBER.match(text)
    return int(found[0]) if found else None


def _moment(text: str) -> int | None:
    """Epoch seconds; some reporters write milliseconds, or a date in one of the usual forms. None for anything else."""
    digits = re.fullmatch(r"(\d+)(?:\.\d*)?", text)
    if digits and len(digits[1]) in _DATE_FORMS:
        try:
            return int(datetime.strptime(digits[1], _DATE_FORMS[len(digits[1])]).replace(tzinfo=UTC).timestamp())
        except ValueError:
            pass
    if digits:
        number = _number(digits[1])
        return number // 1000 if number is not None and len(digits[1]) in (13, 14) else number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        found = read_date(text)
        return None if found is None else int(found)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
