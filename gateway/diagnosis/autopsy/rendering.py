"""An autopsy in plain words, for an admin who does not know canonicalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.autopsy import texts
from gateway.diagnosis.autopsy.differences import Difference
from gateway.diagnosis.autopsy.examination import Autopsy, AutopsyStatus, VerifiedBy
from gateway.diagnosis.autopsy.proofs import FailingPart
from gateway.diagnosis.autopsy.search import SearchStep
from gateway.diagnosis.autopsy.specimen import Specimen
from gateway.tools.narrative import clean
from gateway.tools.results import Newlines, render_section

_MOST_PLACES = 5
_MOST_LINES = 5
"""Lines of the file that are shown for one place."""
_MOST_DIFFERENCES = 40
_WIDTH = 96
_SIMPLE_HEADER = ("H03", "H11", "H13")
_SIMPLE_BODY = ("B17", "B20", "B22")
"""Changes that a signature in the relaxed form survives."""


def render_autopsy(found: Autopsy, specimen: Specimen, differences: Sequence[Difference] | None) -> Group:
    """The failing part, the changes, their certainty, the hop, and the remedy."""
    sections = [
        ("signatures", _tell_signatures(found)),
        ("finding", _tell_finding(found, specimen)),
        ("proof", _tell_proof(found)),
        ("culprit", _tell_culprit(found)),
        ("advice", _advise(found)),
        ("differences", _tell_differences(differences)),
    ]
    rows = [row for title, lines in sections for row in render_section(texts.HEADINGS[title], lines)]
    return Group(*(Text(clean(line)) for line in _tell_file(specimen)), *rows)


def _tell_file(specimen: Specimen) -> Iterator[str]:
    yield texts.FILE.format(name=specimen.name, octets=len(specimen.octets), sha256=specimen.sha256)
    if specimen.newlines is Newlines.CONVERTED:
        yield texts.CONVERTED
    elif specimen.newlines is Newlines.MIXED:
        yield texts.MIXED


def _tell_signatures(found: Autopsy) -> Iterator[str]:
    if not found.results:
        yield texts.NO_SIGNATURE
    for number, result in enumerate(found.results, 1):
        why = f", {result.reason}" if result.reason else ""
        yield texts.SIGNATURE.format(
            number=number,
            signer=result.domain or "nobody readable",
            selector=result.selector or "?",
            result=result.result,
            why=why,
        )


def _tell_finding(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    if found.bodiless:
        yield texts.BODILESS
        return
    if found.status is AutopsyStatus.FOUND:
        yield texts.FOUND.format(changes=texts.ANOTHER.join(_name_step(step) for step in found.steps))
    elif found.status is AutopsyStatus.SUSPECTED:
        entries = {one.entry.id: one.entry for one in found.suspicions}.values()
        named = (f"{entry.description} ({entry.id} {entry.name})" for entry in entries)
        yield texts.SUSPECTED.format(changes=", or ".join(named))
    elif found.status is AutopsyStatus.UNKNOWN and found.part in (FailingPart.BODY, FailingPart.HEADER):
        yield texts.UNKNOWN
    if found.part is not None:
        yield texts.PARTS[found.part]
    elif found.status is AutopsyStatus.INTACT:
        yield texts.INTACT
    for step in found.steps:
        yield from _show_places(step, specimen)
    yield from (f"- {one.ground}" for one in found.suspicions)


def _name_step(step: SearchStep) -> str:
    places = texts.PLACES.format(count=len(step.places)) if len(step.places) > 1 else ""
    return f"{step.entry.description}{places} ({step.entry.id} {step.entry.name})"


def _show_places(step: SearchStep, specimen: Specimen) -> Iterator[str]:
    for place in step.places[:_MOST_PLACES]:
        offset, length = specimen.place(*place)
        what = texts.OCTETS.format(length=length) if length else texts.MISSING
        yield texts.PLACE.format(line=specimen.line(place[0]), offset=offset, what=what)
        yield from _show_lines(specimen, *place)
    if len(step.places) > _MOST_PLACES:
        yield texts.MORE_PLACES.format(count=len(step.places) - _MOST_PLACES)


def _show_lines(specimen: Specimen, offset: int, length: int) -> Iterator[str]:
    """The lines of a place, marked, with one before and one after."""
    message = specimen.message
    line_start = message.rfind(b"\n", 0, offset) + 1
    start = message.rfind(b"\n", 0, max(0, line_start - 1)) + 1
    number = specimen.line(start)
    for _ in range(_MOST_LINES):
        end = message.find(b"\n", start) + 1 or len(message)
        is_touched = start < offset + max(length, 1) and end > offset
        text = message[start:end].rstrip(b"\r\n")[:_WIDTH].decode("utf-8", "replace")
        yield f"  {'>' if is_touched else ' '} {number:5} | {text}".rstrip()
        if end == len(message) or start >= offset + max(length, 1):
            return
        start, number = end, number + 1


def _tell_proof(found: Autopsy) -> Iterator[str]:
    signer = found.subject.signature.domain if found.subject else ""
    if found.verified_by is VerifiedBy.BODY_HASH:
        yield texts.PROVEN_BODY.format(signer=signer)
    elif found.verified_by is VerifiedBy.SIGNATURE:
        yield texts.PROVEN_SIGNATURE.format(signer=signer)
    if found.left is not None:
        yield texts.LEFT.get(found.left, "")
    elif found.verified_by is VerifiedBy.BODY_HASH:
        yield texts.HEADER_INTACT
    if found.status in (AutopsyStatus.SUSPECTED, AutopsyStatus.UNKNOWN) and found.trials:
        yield texts.TRIED.format(trials=found.trials, bound="" if found.complete else texts.MORE_PAIRS)


def _tell_culprit(found: Autopsy) -> Iterator[str]:
    if found.culprit is not None:
        said = texts.AFTERWARDS if found.culprit.afterwards else texts.CULPRIT
        yield said.format(name=found.culprit.name)
        yield from (f"- {ground}" for ground in found.culprit.grounds)
        yield texts.HEARSAY


def _advise(found: Autopsy) -> Iterator[str]:
    if found.bodiless:
        return
    yield from _blame_form(found)
    if found.culprit is not None and found.culprit.afterwards:
        yield texts.ADVICE["leave"]
        yield texts.ADVICE["afterwards"]
    elif found.status in (AutopsyStatus.FOUND, AutopsyStatus.SUSPECTED):
        where = found.culprit.name if found.culprit else texts.WHERE
        yield texts.ADVICE["leave"]
        yield texts.ADVICE["stop"].format(where=where)
        yield texts.ADVICE["split"]
        yield texts.ADVICE["until"]
    elif found.part is FailingPart.KEY:
        yield texts.ADVICE["key"]
    elif found.part in (FailingPart.SYNTAX, FailingPart.EXPIRED):
        yield texts.ADVICE["sender"]
    elif found.status is AutopsyStatus.INTACT:
        yield texts.ADVICE["intact"]
    elif not found.results:
        yield texts.ADVICE["unsigned"]
    else:
        yield texts.ADVICE["compare"]


def _blame_form(found: Autopsy) -> Iterator[str]:
    """The simple form, if a relaxed signature would have survived, or may have."""
    signature = found.subject.signature if found.subject else None
    if signature is None:
        return
    ids = {step.entry.id for step in found.steps}
    unknown = found.status is AutopsyStatus.UNKNOWN
    header = ids.intersection(_SIMPLE_HEADER) or (unknown and found.part is FailingPart.HEADER)
    body = ids.intersection(_SIMPLE_BODY) or (unknown and found.part is FailingPart.BODY)
    if signature.header_form == "simple" and header:
        yield texts.ADVICE["simple header"]
    if signature.body_form == "simple" and body:
        yield texts.ADVICE["simple body"]


def _tell_differences(differences: Sequence[Difference] | None) -> Iterator[str]:
    if differences is not None and not differences:
        yield texts.NO_DIFFERENCE
    for one in (differences or ())[:_MOST_DIFFERENCES]:
        yield texts.DIFFERENCE.format(line=one.line, original=one.original_line)
        for mark, lines in (("-", one.original), ("+", one.lines)):
            yield from (f"  {mark} {line[:_WIDTH].decode('utf-8', 'replace').rstrip()}" for line in lines[:_MOST_LINES])
            if len(lines) > _MOST_LINES:
                yield f"  {mark} {texts.MORE_LINES.format(count=len(lines) - _MOST_LINES)}"
    if differences and len(differences) > _MOST_DIFFERENCES:
        yield texts.MORE_DIFFERENCES.format(count=len(differences) - _MOST_DIFFERENCES)
