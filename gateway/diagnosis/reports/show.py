"""`waypost dmarc report`: the reporters and their results, failures first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.reports import texts
from gateway.diagnosis.reports.advice import advise_source, judge_check
from gateway.diagnosis.reports.aggregate import AggregateReport, AuthResult, ReportRefused, Row, read_aggregate
from gateway.diagnosis.reports.files import unpack
from gateway.model.value import Value, asdict
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json, show_time

_MOST_SHOWN = 200
"""Rows that are shown to people; JSON has all."""


class RefusedFile(Value):
    """A file, or a document in one, that is not a report."""

    name: str
    reason: str


class ReportFile(Value):
    """The contents of one file."""

    reports: tuple[AggregateReport, ...]
    refused: tuple[RefusedFile, ...]


def read_reports(octets: bytes, name: str = "") -> ReportFile:
    """The reports in a file of any supported form. Never raises. In an archive or a mail with a report, other files are
    left out, and a broken report is named."""
    try:
        documents = unpack(octets)
    except ReportRefused as error:
        return ReportFile((), (RefusedFile(name, str(error)),))
    reports: list[AggregateReport] = []
    refused: list[RefusedFile] = []
    for document in documents:
        place = f"{name}: {document.name}" if document.name and len(documents) > 1 else name
        try:
            reports.append(_read(document.octets))
        except ReportRefused as error:
            other = str(error) == texts.NOT_XML or str(error).startswith(texts.OTHER_XML.partition("{")[0])
            if not other or len(documents) == 1:
                refused.append(RefusedFile(place, str(error)))
    if not reports and not refused:
        refused.append(RefusedFile(name, texts.EMPTY_ZIP))
    return ReportFile(tuple(reports), tuple(refused))


def _read(octets: bytes) -> AggregateReport:
    if octets.lstrip()[:1] == b"{":
        raise ReportRefused(texts.TLS_REPORT)
    return read_aggregate(octets)


def reports_json(found: ReportFile) -> dict[str, Json]:
    """Everything, for programs."""
    return {
        "reports": [report_json(one) for one in found.reports],
        "refused": [dict(asdict(one)) for one in found.refused],
    }


def report_json(report: AggregateReport) -> dict[str, Json]:
    """One report, for programs."""
    tree: dict[str, Json] = asdict(report)
    tree["policy"] = dict(report.policy)
    tree["errors"] = list(report.errors)
    tree["rows"] = [_row_json(row, report) for row in report.rows]
    tree["messages"] = {"pass": _count(report, passes=True), "fail": _count(report, passes=False)}
    return safe_json(tree)


def _row_json(row: Row, report: AggregateReport) -> dict[str, Json]:
    tree: dict[str, Json] = asdict(row)
    tree["passes"] = row.passes
    tree["reasons"] = [{"type": type, "comment": comment} for type, comment in row.reasons]
    tree["dkim_results"] = [asdict(one) for one in row.dkim_results]
    tree["spf_results"] = [asdict(one) for one in row.spf_results]
    tree["advice"] = list(advise_source(row, report))
    return tree


def _count(report: AggregateReport, *, passes: bool) -> int:
    return sum(row.count for row in report.rows if row.passes is passes)


def render_reports(found: ReportFile) -> Group:
    """For people: all reports, then the files not shown, then the total."""
    parts: list[Group | Text] = []
    for report in found.reports:
        parts += [render_report(report), Text()]
    parts += [
        Text(clean(texts.REFUSED.format(name=one.name or "a file", reason=one.reason)), "yellow")
        for one in found.refused
    ]
    if len(found.reports) > 1:
        failed, passed = (sum(_count(one, passes=passes) for one in found.reports) for passes in (False, True))
        total = texts.TOTAL.format(reports=len(found.reports), failed=failed, passed=passed)
        parts.append(Text(total, "bold red" if failed else "bold green"))
    elif parts and not found.refused:
        parts.pop()
    return Group(*parts)


def render_report(report: AggregateReport) -> Group:
    """For people: the failing sources first, each with the reason and the remedy, then the passing ones."""
    failed, passed = _count(report, passes=False), _count(report, passes=True)
    title = texts.TITLE.format(reporter=report.reporter or "(no name)", domain=report.domain or "?")
    parts = [Text(clean(title), "bold"), *(Text(clean(f"  {line}")) for line in _about(report)), Text()]
    parts.append(Text(texts.COUNTS.format(failed=_messages(failed), passed=passed), "bold red" if failed else "green"))
    rows = sorted(report.rows, key=lambda row: (row.passes, -row.count))
    for row in rows[:_MOST_SHOWN]:
        parts += _row_lines(row, report)
    if len(rows) > _MOST_SHOWN:
        parts.append(Text(f"  {texts.MORE_RECORDS.format(count=len(rows) - _MOST_SHOWN)}"))
    return Group(*parts)


def _messages(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


def _about(report: AggregateReport) -> Iterator[str]:
    if report.begin is not None and report.end is not None:
        yield texts.PERIOD.format(begin=_moment(report.begin), end=_moment(report.end))
    policy = " ".join(f"{name}={value}" for name, value in report.policy if value)
    yield texts.POLICY.format(policy=policy or "not said")
    yield texts.ORIGIN.format(schema=report.schema, id=report.id or "?", email=report.email or "?")
    yield from (texts.REPORTER_ERROR.format(error=error) for error in report.errors)
    if report.flaw:
        yield texts.FLAW.format(flaw=report.flaw)


def _moment(epoch: int) -> str:
    return show_time(epoch) if -62_135_596_800 <= epoch < 253_402_300_800 else str(epoch)


def _row_lines(row: Row, report: AggregateReport) -> Iterator[Text]:
    style = "" if row.passes else "red"
    author = row.header_from or report.domain
    policy = dict(report.policy)
    yield Text()
    line = f"  {row.source or '(no address)'}  {row.count} x  {'passed' if row.passes else 'FAILED'}"
    shown = f"  From {author}" if author != report.domain else ""
    yield Text(clean(f"{line}  disposition {row.disposition or '?'}{shown}"), style)
    for name, tag, aligned, results in (
        ("DKIM", "adkim", row.dkim, row.dkim_results),
        ("SPF", "aspf", row.spf, row.spf_results),
    ):
        said = "; ".join(_show(one) for one in results) or "none"
        word = judge_check(aligned, results, author, tag, policy)
        yield Text(clean(f"    {name:<4} {word}: {said}"), "" if aligned == "pass" else style)
    for type, comment in row.reasons:
        reason = f"{type or '?'}{f' ({comment})' if comment else ''}"
        yield Text(clean(f"    {texts.OVERRIDE.format(reason=reason)}"), "yellow")
    yield from (Text(clean(f"    -> {advice}")) for advice in advise_source(row, report))


def _show(one: AuthResult) -> str:
    selector = f" (selector {one.selector})" if one.selector else ""
    return f"{one.domain or '?'}{selector} {one.result or '?'}{f', {one.note}' if one.note else ''}"
