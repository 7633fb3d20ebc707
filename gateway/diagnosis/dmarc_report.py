"""`waypost dmarc report`: who reported what, with the failures in front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.aggregate import AggregateReport, AuthResult, ReportRefused, Row, read_aggregate
from gateway.diagnosis.report_files import unpack
from gateway.model.value import asdict
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json
from gateway.tools.text import show_time

_MOST_SHOWN = 200
"""Rows that are shown to people; JSON has all."""


def read_reports(octets: bytes) -> list[AggregateReport]:
    """The reports in a file of any of the forms they come in. Raises ReportRefused."""
    return [_read(document.octets) for document in unpack(octets)]


def _read(octets: bytes) -> AggregateReport:
    if octets.lstrip()[:1] == b"{":
        raise ReportRefused("it is JSON, as TLS reports are (RFC 8460), and no DMARC report")
    return read_aggregate(octets)


def report_json(report: AggregateReport) -> dict[str, Json]:
    """Everything, for programs."""
    tree: dict[str, Json] = asdict(report)
    tree["policy"] = dict(report.policy)
    tree["errors"] = list(report.errors)
    tree["rows"] = [_row_json(row) for row in report.rows]
    tree["messages"] = {"pass": _count(report, passes=True), "fail": _count(report, passes=False)}
    return safe_json(tree)


def _row_json(row: Row) -> dict[str, Json]:
    tree: dict[str, Json] = asdict(row)
    tree["passes"] = row.passes
    tree["reasons"] = [{"type": type, "comment": comment} for type, comment in row.reasons]
    tree["dkim_results"] = [asdict(one) for one in row.dkim_results]
    tree["spf_results"] = [asdict(one) for one in row.spf_results]
    return tree


def _count(report: AggregateReport, *, passes: bool) -> int:
    return sum(row.count for row in report.rows if row.passes is passes)


def render_report(report: AggregateReport) -> Group:
    """For people: the sources that fail first, each with why, and then those that pass."""
    failed, passed = _count(report, passes=False), _count(report, passes=True)
    parts = [Text(clean(f"DMARC report of {report.reporter or '(no name)'} about {report.domain or '?'}"), "bold")]
    parts += [Text(clean(f"  {line}")) for line in _about(report)]
    parts += [
        Text(),
        Text(
            f"{failed} message{'' if failed == 1 else 's'} failed, {passed} passed", "bold red" if failed else "green"
        ),
    ]
    rows = sorted(report.rows, key=lambda row: (row.passes, -row.count))
    for row in rows[:_MOST_SHOWN]:
        parts += _row_lines(row, report.domain)
    if len(rows) > _MOST_SHOWN:
        parts.append(Text(f"  and {len(rows) - _MOST_SHOWN} more records: --json has all"))
    return Group(*parts)


def _about(report: AggregateReport) -> Iterator[str]:
    if report.begin is not None and report.end is not None:
        yield f"from {_moment(report.begin)} to {_moment(report.end)}"
    yield f"policy: {' '.join(f'{name}={value}' for name, value in report.policy if value) or 'not said'}"
    yield f"{report.schema}, id {report.id or '?'}, by {report.email or '?'}"
    yield from (f"the reporter's error: {error}" for error in report.errors)
    if report.repaired:
        yield "octets that are no UTF-8 were replaced"


def _moment(epoch: int) -> str:
    return show_time(epoch) if epoch < 253_402_300_800 else str(epoch)


def _row_lines(row: Row, domain: str) -> Iterator[Text]:
    style = "" if row.passes else "red"
    author = row.header_from if row.header_from != domain else ""
    yield Text()
    line = f"  {row.source or '(no address)'}  {row.count} x  {'passed' if row.passes else 'FAILED'}"
    yield Text(clean(f"{line}  disposition {row.disposition or '?'}{f'  From {author}' if author else ''}"), style)
    for name, aligned, results in (("DKIM", row.dkim, row.dkim_results), ("SPF", row.spf, row.spf_results)):
        said = "; ".join(_show(one) for one in results) or "none"
        yield Text(clean(f"    {name:<4} {_judge(aligned, results)}: {said}"), "" if aligned == "pass" else style)
    for type, comment in row.reasons:
        yield Text(clean(f"    not as the policy asks: {type or '?'}{f' ({comment})' if comment else ''}"), "yellow")


def _judge(aligned: str, results: Sequence[AuthResult]) -> str:
    if aligned == "pass":
        return "pass"
    if any(one.result == "pass" for one in results):
        return "passed for another domain"
    return aligned or "?"


def _show(one: AuthResult) -> str:
    selector = f" (selector {one.selector})" if one.selector else ""
    return f"{one.domain or '?'}{selector} {one.result or '?'}{f', {one.note}' if one.note else ''}"
