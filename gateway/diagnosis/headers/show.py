"""The contents of a header, as text for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.headers import texts
from gateway.diagnosis.headers.findings import show_seconds
from gateway.diagnosis.headers.marks import explain_marks
from gateway.diagnosis.headers.reading import Reading, StatedResults
from gateway.diagnosis.headers.summary import HeaderFinding, Summary, Weight, summarise
from gateway.diagnosis.hops import ReceivedHop
from gateway.diagnosis.verdicts import StatedVerdict
from gateway.model.value import asdict
from gateway.tools.narrative import clean
from gateway.tools.results import Json, Newlines, render_section, safe_json

_STYLES = {Weight.PROBLEM: "bold red", Weight.NOTE: "", Weight.GOOD: "green"}
_WORDS = {Weight.PROBLEM: "Problem: ", Weight.NOTE: "", Weight.GOOD: ""}
_RESULTS = {"pass": "green", "fail": "red", "permerror": "red", "softfail": "yellow", "temperror": "yellow"}


def headers_json(reading: Reading, findings: Sequence[HeaderFinding], newlines: Newlines) -> dict[str, Json]:
    """Everything, for programs. Hops are numbered from 1, the oldest first."""
    return safe_json(
        {
            "hops": [_hop_json(number, hop) for number, hop in enumerate(reading.hops, 1)],
            "results": [_judged_json(judged) for judged in reading.judged],
            "marks": dict(asdict(reading.marks)),
            "signatures": [{"domain": one.domain, "selector": one.selector} for one in reading.signatures],
            "arc": [{"instance": s.instance, "domain": s.domain, "cv": s.validation} for s in reading.seals],
            "verdict": _summary_json(summarise(reading)),
            "received_spf": [dict(asdict(one)) for one in reading.received_spf],
            "list": reading.list.name if reading.list else None,
            "forwarded": [dict(asdict(one)) for one in reading.forwarding],
            "author_domains": list(reading.authors),
            "recipient_domains": list(reading.recipients),
            "findings": [
                {"kind": one.kind, "weight": one.weight.value, "text": one.text, "remedies": list(one.remedies)}
                for one in findings
            ],
            "newlines": newlines.value,
        }
    )


def _summary_json(summary: Summary) -> dict[str, Json]:
    return {
        "text": summary.text,
        "author": summary.author or None,
        "dmarc": summary.dmarc or None,
        "alignment": {"spf": summary.spf_aligned, "dkim": summary.dkim_aligned},
    }


def _hop_json(number: int, hop: ReceivedHop) -> dict[str, Json]:
    found = asdict(hop)
    del found["start"]
    return {"number": number, **found}


def _judged_json(judged: StatedResults) -> dict[str, Json]:
    one = judged.verdicts
    return {
        "hop": None if judged.hop is None else judged.hop + 1,
        "kind": one.kind or "results",
        "instance": one.instance or None,
        "writer": one.writer,
        "methods": [asdict(result) for result in one.results],
        "client": one.client,
        "action": one.action,
        "policy": one.policy,
        "compauth": one.compauth,
        "reason": one.reason,
    }


def render_headers(reading: Reading, findings: Sequence[HeaderFinding], newlines: Newlines) -> Group:
    """The story from top to bottom: verdict and remedies first, then their evidence."""
    summary = summarise(reading)
    shown = [one for one in findings if one.kind not in ("no-results", "authenticated")]
    parts = [] if reading.pasted.problem else [Text(clean(summary.text), _verdict_style(summary))]
    parts += [Text(), Text(texts.HEADINGS["findings"], "bold")] if shown else []
    for finding in shown:
        parts.append(Text(f"  {_WORDS[finding.weight]}{clean(finding.text)}", _STYLES[finding.weight]))
        parts += [Text(f"    -> {clean(remedy)}") for remedy in finding.remedies]
    parts += [Text(), Text(_way_title(reading), "bold"), *_way_lines(reading.hops)] if reading.hops else []
    for judged in reading.judged:
        parts += [Text(), Text(clean(_results_title(judged)), "bold"), *_result_lines(judged)]
    parts += render_section(texts.HEADINGS["filter"], _mark_lines(reading))
    parts += render_section("Line ends", iter(["newlines: converted"] if newlines is Newlines.CONVERTED else []))
    return Group(*parts)


def _verdict_style(summary: Summary) -> str:
    return {"pass": "bold green", "fail": "bold red"}.get(summary.dmarc, "bold")


def _way_title(reading: Reading) -> str:
    times = [hop.time for hop in reading.hops if hop.time is not None]
    took = f", {show_seconds(times[-1] - times[0])} in all" if len(times) > 1 else ""
    return f"The way ({len(reading.hops)} hop{'' if len(reading.hops) == 1 else 's'}{took})"


def _way_lines(hops: Sequence[ReceivedHop]) -> list[Text]:
    rows = [[str(number), *_way_cells(hop)] for number, hop in enumerate(hops, 1)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        Text("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for row in rows
    ]


def _way_cells(hop: ReceivedHop) -> Iterator[str]:
    names = " ".join(dict.fromkeys(name for name in (hop.sender, hop.rdns) if name))
    address = f"[{hop.address}]" if hop.address else ""
    yield clean(f"{names} {address}".strip()) or "(not said)"
    yield f"-> {clean(hop.by) or '(not said)'}"
    yield clean(hop.protocol)
    yield "TLS" if hop.tls == "yes" else f"TLS {hop.tls}" if hop.tls else "no TLS" if hop.sender else ""
    yield "" if hop.delay is None else f"{'+' if hop.delay >= 0 else ''}{show_seconds(hop.delay)}"


def _results_title(judged: StatedResults) -> str:
    one = judged.verdicts
    name = {"arc": f"ARC results {one.instance}", "original": "Renamed results"}.get(one.kind, "Results")
    place = f" at hop {judged.hop + 1}" if judged.hop is not None else ""
    return f"{name}{place}" + (f", by {one.writer}" if one.writer else "")


def _result_lines(judged: StatedResults) -> Iterator[Text]:
    for result in judged.verdicts.results:
        notes = [*_notes(judged, result)]
        line = Text(f"  {clean(result.method):<8} ")
        line.append(f"{clean(result.result) or '?':<10}", _RESULTS.get(result.result, ""))
        line.append(clean("  ".join(part for part in (result.domain, *notes) if part)))
        line.rstrip()
        yield line


def _notes(judged: StatedResults, result: StatedVerdict) -> Iterator[str]:
    one = judged.verdicts
    if result.method == "spf" and one.client:
        yield f"judged against {one.client}"
    if result.method == "dmarc":
        yield f"p={one.policy}" if one.policy else ""
        yield f"action={one.action}" if one.action else ""
    if result.method == "compauth":
        yield f"reason {one.reason}" if one.reason else ""
    if result.note:
        yield f"({result.note})"


def _mark_lines(reading: Reading) -> Iterator[str]:
    yield from explain_marks(reading.marks)
